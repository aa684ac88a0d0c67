"""The section `cluster` of params.yaml: one block a method that has choices."""

from typing import Literal, Self

from pydantic import Field, model_validator

from pipeline.section import PositiveInt, Section

Method = Literal["instance", "label", "attributes", "hashtags", "hierarchy", "column", "kmeans", "random"]


class AttributesParams(Section):
    top: PositiveInt = Field(
        default=12, description="how many `column=value` attributes, ranked by entropy, are joined"
    )
    columns: list[str] = Field(
        default_factory=list,
        description="whole columns to join instead; empty: the `top` attributes over all columns",
    )


class HashtagsParams(Section):
    top: PositiveInt = Field(default=8, description="how many hashtags, ranked by entropy, are joined")
    mode: Literal["joint"] = Field(default="joint", description="joint: which of the top tags are present")


class HierarchyParams(Section):
    level: PositiveInt = Field(default=1, description="1 is the level below the root's column")


class ColumnParams(Section):
    name: str | None = Field(default=None, description="the attribute column whose values are the clusters")


class KMeansParams(Section):
    clusters: int = Field(default=100, ge=2)
    iterations: PositiveInt = 20
    restarts: PositiveInt = Field(default=5, description="the run of lowest inertia is kept")


class RandomParams(Section):
    clusters: int = Field(default=100, ge=2)


class ClusterParams(Section):
    method: Method = "attributes"
    attributes: AttributesParams = AttributesParams()
    hashtags: HashtagsParams = HashtagsParams()
    hierarchy: HierarchyParams = HierarchyParams()
    column: ColumnParams = ColumnParams()
    kmeans: KMeansParams = KMeansParams()
    random: RandomParams = RandomParams()

    @model_validator(mode="after")
    def _a_column_has_a_name(self) -> Self:
        if self.method == "column" and self.column.name is None:
            raise ValueError("cluster.method=column needs cluster.column.name: set it to an attribute column")
        return self
