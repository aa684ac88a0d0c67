"""The sources by their names in `ingest.source`. A new source needs one file and one line here."""

from collections.abc import Callable

from pipeline.config.ingest import IngestParams
from pipeline.runtime.errors import UserError
from pipeline.sources.base import Source
from pipeline.sources.clinfonce_tables import ClInfoNceTablesSource
from pipeline.sources.cub200 import Cub200Source
from pipeline.sources.folder import FolderSource
from pipeline.sources.huggingface import HuggingFaceSource
from pipeline.sources.imagenet import ImageNetSource
from pipeline.sources.manifest import ManifestSource
from pipeline.sources.synthetic.source import SyntheticSource
from pipeline.sources.torchvision import TorchvisionSource
from pipeline.sources.ut_zappos50k import UtZappos50kSource
from pipeline.sources.webdataset import WebDatasetSource
from pipeline.sources.wider_attribute import WiderAttributeSource
from pipeline.tables.delimited import check_names
from pipeline.tables.records import MOST_COLUMNS

SOURCES: dict[str, Callable[[IngestParams, int], Source]] = {
    "synthetic": SyntheticSource,
    "manifest": ManifestSource.open,
    "folder": FolderSource.open,
    "huggingface": HuggingFaceSource.open,
    "webdataset": WebDatasetSource.open,
    "torchvision": TorchvisionSource.open,
    "imagenet": ImageNetSource.open,
    "cub200": Cub200Source.open,
    "ut_zappos50k": UtZappos50kSource.open,
    "wider_attribute": WiderAttributeSource.open,
    "clinfonce_tables": ClInfoNceTablesSource.open,
}


def open_source(params: IngestParams, seed: int) -> Source:
    """Opens a source. Raises `UserError` if it is unreadable, or has too many or duplicate attributes."""
    source = SOURCES[params.source](params, seed)
    if (count := len(source.attribute_names)) > MOST_COLUMNS:
        raise UserError(
            f"{params.path} (ingest.path) has {count:,} attribute columns, more than the limit of "
            f"{MOST_COLUMNS:,}: name those to use in ingest.columns.attributes, or remove some"
        )
    check_names(source.attribute_names, f"{params.path} (ingest.path)")
    return source
