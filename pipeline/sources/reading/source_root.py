"""Paths in the data stay inside the source's folder, unless `ingest.allow_outside_paths` is true."""

from pathlib import Path

from pipeline.config.ingest import IngestParams
from pipeline.untrusted.safe_paths import Boundary, Root

ALLOWED_BY = "which needs ingest.allow_outside_paths=true"


def source_root(folder: Path, params: IngestParams) -> Root:
    """Returns the root of a source, bounded by its folder unless `ingest.allow_outside_paths` is true."""
    return Root(folder, None if params.allow_outside_paths else Boundary.around(folder, ALLOWED_BY))
