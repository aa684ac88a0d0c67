"""The section `ingest` of params.yaml."""

from math import inf
from reprlib import repr as shortened
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from pipeline.config.base import Fraction, ImageSize, OwnPath, PathText, Section, UniqueNames

# Default names of the columns of a table.
CONVENTIONAL_COLUMNS = {"image": "image", "label": "label", "split": "split", "hashtags": "hashtags"}


class ColumnMap(Section):
    """The columns of a table by role; null: none."""

    image: str = CONVENTIONAL_COLUMNS["image"]
    label: str | None = CONVENTIONAL_COLUMNS["label"]
    split: str | None = CONVENTIONAL_COLUMNS["split"]
    hashtags: str | None = CONVENTIONAL_COLUMNS["hashtags"]
    text: str | None = Field(default=None, description="captions or titles, for cluster.method=text")
    attributes: UniqueNames = Field(default=[], description="empty: all other columns")
    hierarchy: UniqueNames = Field(default=[], description="root to leaf")


class SyntheticParams(Section):
    """The embedded data set of rendered posts."""

    images: int = Field(default=4500, ge=1, le=10**7)


class ImageNetParams(Section):
    classes: OwnPath | None = Field(default=None, description="file of wnids, one per line; null: all")
    edges: OwnPath | None = Field(
        default=None, description="table of child and parent wnids for the hierarchy"
    )


class TablesParams(Section):
    """The tables released by the authors of Cl-InfoNCE."""

    images: OwnPath | None = Field(default=None, description="folder of the images; null: that of the tables")
    train: PathText = "meta_data_train.csv"
    test: PathText = "meta_data_val.csv"


class TorchvisionParams(Section):
    dataset: Literal["CIFAR10", "CIFAR100", "FashionMNIST", "Flowers102", "CelebA"] = "CIFAR100"
    download: bool = Field(default=True, description="download missing files to ingest.path")


SourceName = Literal[
    "synthetic",
    "manifest",
    "folder",
    "huggingface",
    "webdataset",
    "torchvision",
    "imagenet",
    "cub200",
    "ut_zappos50k",
    "wider_attribute",
    "clinfonce_tables",
]


MOST_RENDERED = 1 << 40
"""Bytes of pixels."""


def low_and_high(values: list[float]) -> list[float]:
    """The values of `ingest.value_range`. Raises `ValueError` unless they are a range."""
    if len(values) != 2 or not 0 < values[1] - values[0] < inf:
        raise ValueError(f"must be a low and a higher number, such as [0, 4095], not {shortened(values)}")
    return values


PixelValue = Annotated[float, Field(ge=-1e12, le=1e12)]
"""For images of any depth; 32 bits end at four billion."""
LowAndHigh = Annotated[list[PixelValue], AfterValidator(low_and_high)]


class IngestParams(Section):
    source: SourceName = "synthetic"
    path: OwnPath | None = Field(default=None, description="the source's folder or file")
    allow_outside_paths: bool = Field(
        default=False, description="allow paths and links to lead outside the source's folder"
    )
    image_size: ImageSize = Field(default=32, description="pixels of the shorter side")
    value_range: LowAndHigh | None = Field(
        default=None,
        description="[low, high]: values of black and white in images of more than 8 bits; "
        "null: by the values of each image",
    )
    max_reject_fraction: Fraction = Field(default=0.01, description="largest share of refused inputs")
    test_fraction: float = Field(
        default=0.2, gt=0.0, lt=1.0, description="share of test images, if the source has no split"
    )
    near_duplicates: bool = Field(default=True, description="search for near duplicates")
    leaks: Literal["keep", "drop_train"] = Field(
        default="keep", description="train images that are also in test, exactly or nearly"
    )
    columns: ColumnMap = ColumnMap()
    synthetic: SyntheticParams = SyntheticParams()
    imagenet: ImageNetParams = ImageNetParams()
    torchvision: TorchvisionParams = TorchvisionParams()
    clinfonce_tables: TablesParams = TablesParams()

    @model_validator(mode="after")
    def _rendering_fits_in_memory(self) -> Self:
        rendered = 3 * self.synthetic.images * self.image_size**2
        if rendered > MOST_RENDERED:
            raise ValueError(
                f"ingest.synthetic.images={self.synthetic.images} of ingest.image_size={self.image_size} "
                f"pixels are {rendered / 2**40:,.0f} TiB, above {MOST_RENDERED >> 40}: lower one of them"
            )
        return self
