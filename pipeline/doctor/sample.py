"""A sample of the source, prepared in a worker process. This module imports nothing that starts threads."""

from collections.abc import Sequence

from pipeline.ingest.decoding import ImageRefused
from pipeline.ingest.prepare import prepare_image
from pipeline.sources.base import Refusal, SourceRow
from pipeline.untrusted.isolation.limits import limited


def reasons(rows: Sequence[SourceRow | Refusal], size: int) -> list[str | None]:
    """Returns why each row is refused; None if it is not."""
    return [_reason(row, size) for row in limited(rows)]


def _reason(row: SourceRow | Refusal, size: int) -> str | None:
    if isinstance(row, Refusal):
        return row.reason
    try:
        prepare_image(row.image, size)
    except ImageRefused as why:
        return str(why)
    return None
