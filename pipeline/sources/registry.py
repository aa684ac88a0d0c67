"""The sources by the names that `ingest.source` takes. A new source is one file and one line here."""

from collections.abc import Callable

from pipeline.ingest.params import IngestParams
from pipeline.sources.base import Source
from pipeline.sources.manifest import ManifestSource
from pipeline.sources.synthetic import SyntheticSource

SOURCES: dict[str, Callable[[IngestParams, int], Source]] = {
    "synthetic": SyntheticSource,
    "manifest": ManifestSource.open,
}


def open_source(params: IngestParams, seed: int) -> Source:
    return SOURCES[params.source](params, seed)
