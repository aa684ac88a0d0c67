"""The files that the data name, inside the source's folder unless `ingest.allow_outside_paths` is true."""

from pathlib import Path

from pipeline.config.ingest import IngestParams
from pipeline.tables.cells import FOLDED, Notices, folded
from pipeline.untrusted.safe_paths import Boundary, Root, SafePath

ALLOWED_BY = "which needs ingest.allow_outside_paths=true"


def source_root(folder: Path, params: IngestParams) -> Root:
    """Returns the root of a source, bounded by its folder unless `ingest.allow_outside_paths` is true."""
    return Root(folder, None if params.allow_outside_paths else Boundary.around(folder, ALLOWED_BY))


def named_file(root: Root, written: str, notices: Notices) -> tuple[str, SafePath]:
    """Returns the file that the path `written` names, and its path in `root`.

    This is the path as written or, if no such file exists, one that looks the same, which `notices` count.
    Raises `UnsafePath`.
    """
    file = root.file(written)
    looks = folded(written)
    if looks != written and not file.is_there() and (alike := root.file(looks)).is_there():
        notices[FOLDED] += 1
        return looks, alike
    return written, file
