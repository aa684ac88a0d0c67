"""Paths that data name stay inside of the source's folder, unless `ingest.outside_paths` lets them out."""

from pathlib import Path

from pipeline.ingest.params import IngestParams
from pipeline.safe_paths import Boundary, Root

ALLOWED_BY = "which ingest.outside_paths=true would allow"


def source_root(folder: Path, params: IngestParams) -> Root:
    """The folder of a source."""
    return Root(folder, None if params.outside_paths else Boundary.around(folder, ALLOWED_BY))
