"""The section `ingest` of params.yaml."""

from math import inf
from reprlib import repr as shortened
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from pipeline.config.base import Fraction, OwnPath, PathText, Section, UniqueNames

# The names by which a table's columns are found when nothing else is said.
CONVENTIONAL_COLUMNS = {"image": "image", "label": "label", "split": "split", "hashtags": "hashtags"}


class ColumnMap(Section):
    """Which column of a table holds what; null: there is none."""

    image: str = CONVENTIONAL_COLUMNS["image"]
    label: str | None = CONVENTIONAL_COLUMNS["label"]
    split: str | None = CONVENTIONAL_COLUMNS["split"]
    hashtags: str | None = CONVENTIONAL_COLUMNS["hashtags"]
    attributes: UniqueNames = Field(default=[], description="empty: every column that is left")
    hierarchy: UniqueNames = Field(default=[], description="root to leaf")


class SyntheticParams(Section):
    """The embedded data set of rendered posts."""

    images: int = Field(default=4500, ge=1, le=10**7)


class ImageNetParams(Section):
    classes: OwnPath | None = Field(
        default=None, description="a file of wnids, one per line; null: all folders"
    )
    edges: OwnPath | None = Field(
        default=None, description="a table of child and parent wnids, which gives the hierarchy"
    )


class TablesParams(Section):
    """The tables that the authors of Cl-InfoNCE released."""

    images: OwnPath | None = Field(default=None, description="the images' folder; null: that of the tables")
    train: PathText = "meta_data_train.csv"
    test: PathText = "meta_data_val.csv"


class TorchvisionParams(Section):
    dataset: Literal["CIFAR10", "CIFAR100", "FashionMNIST", "Flowers102", "CelebA"] = "CIFAR100"
    download: bool = Field(default=True, description="into ingest.path, where it is not there yet")


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


SMALLEST_IMAGE_SIZE = 8
LARGEST_IMAGE_SIZE = 2048
MOST_RENDERED = 1 << 40
"""Bytes of pixels."""


def low_and_high(values: list[float]) -> list[float]:
    """The values of `ingest.value_range`. Raises `ValueError` where they are no range."""
    if len(values) != 2 or not 0 < values[1] - values[0] < inf:
        raise ValueError(f"must be a low and a higher number, such as [0, 4095], not {shortened(values)}")
    return values


PixelValue = Annotated[float, Field(ge=-1e12, le=1e12)]
"""Of images of any depth: those of 32 bits end at four billion."""
LowAndHigh = Annotated[list[PixelValue], AfterValidator(low_and_high)]


class IngestParams(Section):
    source: SourceName = "synthetic"
    path: OwnPath | None = Field(default=None, description="the source's folder or file")
    allow_outside_paths: bool = Field(
        default=False, description="whether paths and links may lead out of the source's folder"
    )
    image_size: int = Field(
        default=32,
        ge=SMALLEST_IMAGE_SIZE,
        le=LARGEST_IMAGE_SIZE,
        description="pixels of the shorter side",
    )
    value_range: LowAndHigh | None = Field(
        default=None,
        description="[low, high]: the values that become black and white in images of more than 8 bits; "
        "null: by the values of each",
    )
    max_reject_fraction: Fraction = Field(
        default=0.01, description="share of inputs that may be refused before ingest stops"
    )
    test_fraction: float = Field(
        default=0.2, gt=0.0, lt=1.0, description="share of test images where the source names no split"
    )
    near_duplicates: bool = Field(
        default=True, description="whether images that nearly repeat another one are looked for"
    )
    leaks: Literal["keep", "drop_train"] = Field(
        default="keep", description="what becomes of train images that are also in test, exactly or nearly"
    )
    columns: ColumnMap = ColumnMap()
    synthetic: SyntheticParams = SyntheticParams()
    imagenet: ImageNetParams = ImageNetParams()
    torchvision: TorchvisionParams = TorchvisionParams()
    clinfonce_tables: TablesParams = TablesParams()

    @model_validator(mode="after")
    def _what_is_rendered_has_room(self) -> Self:
        rendered = 3 * self.synthetic.images * self.image_size**2
        if rendered > MOST_RENDERED:
            raise ValueError(
                f"ingest.synthetic.images={self.synthetic.images} of ingest.image_size={self.image_size} "
                f"pixels are {rendered / 2**40:,.0f} TiB, and at most {MOST_RENDERED >> 40} are rendered: "
                "lower one of them"
            )
        return self
