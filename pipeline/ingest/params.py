"""The section `ingest` of params.yaml."""

from typing import Literal, Self

from pydantic import Field, model_validator

from pipeline.section import Fraction, PositiveInt, Section, UniqueNames

# The names by which a manifest's columns are found when nothing else is said.
CONVENTIONAL_COLUMNS = {"image": "image", "label": "label", "split": "split", "hashtags": "hashtags"}


class ColumnMap(Section):
    """Which column of a manifest holds what; null: there is none."""

    image: str = CONVENTIONAL_COLUMNS["image"]
    label: str | None = CONVENTIONAL_COLUMNS["label"]
    split: str | None = CONVENTIONAL_COLUMNS["split"]
    hashtags: str | None = CONVENTIONAL_COLUMNS["hashtags"]
    attributes: UniqueNames = Field(default=[], description="empty: every column that is left")
    hierarchy: UniqueNames = Field(default=[], description="root to leaf")


class SyntheticParams(Section):
    """The embedded data set of rendered posts."""

    images: PositiveInt = 4500


class IngestParams(Section):
    source: Literal["synthetic", "manifest"] = "synthetic"
    path: str | None = Field(default=None, description="the source's folder or manifest file")
    image_size: int = Field(default=32, ge=8, le=2048, description="pixels of the shorter side")
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

    @model_validator(mode="after")
    def _a_manifest_has_a_path(self) -> Self:
        if self.source == "manifest" and self.path is None:
            raise ValueError("ingest.source=manifest needs ingest.path: set it to the manifest file")
        return self
