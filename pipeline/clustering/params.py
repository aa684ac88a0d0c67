"""The section `cluster` of params.yaml: one block a method that has choices."""

from typing import Literal, Self

from pydantic import Field, model_validator

from pipeline.section import Fraction, PositiveInt, Section, UniqueNames

Method = Literal[
    "attributes",
    "hashtags",
    "hierarchy",
    "column",
    "kmeans",
    "random",
    "instance",
    "label",
    "coarsen",
    "subdivide",
    "permute",
]


class AttributesParams(Section):
    top: PositiveInt | None = Field(
        default=None,
        description="how many `column=value` attributes, ranked by entropy, are joined; null: up to 12",
    )
    columns: UniqueNames = Field(
        default=[],
        description="whole columns to join instead; empty: the `top` attributes over all columns",
    )
    bins: int = Field(
        default=4,
        ge=2,
        description="a column of numbers with more than 20 different values is cut into so many equal parts",
    )


class HashtagsParams(Section):
    mode: Literal["joint", "topics"] = Field(
        default="joint", description="joint: which of the top tags an image has; topics: k-means of TF-IDF"
    )
    top: PositiveInt | None = Field(
        default=None, description="how many hashtags, ranked by entropy, are joined; null: up to 8"
    )
    stop: list[str] = Field(default_factory=list, description="hashtags that are not looked at")
    min_df: PositiveInt = Field(default=1, description="images that a hashtag must stand on to count")
    max_df: Fraction = Field(default=1.0, description="share of the images above which a hashtag is ignored")
    clusters: int = Field(default=50, ge=2, description="of `topics`")
    components: PositiveInt = Field(default=50, description="of `topics`: dimensions of the truncated SVD")


class HierarchyParams(Section):
    level: PositiveInt = Field(default=1, description="1 is the root's column")
    edges: str | None = Field(
        default=None,
        description="a table of child and parent; the images' last hierarchy column holds leaves",
    )
    several_parents: Literal["refuse", "first"] = "refuse"


class ColumnParams(Section):
    name: str | None = Field(default=None, description="the attribute column whose values are the clusters")


class KMeansParams(Section):
    clusters: int = Field(default=100, ge=2)
    iterations: PositiveInt = 20
    restarts: PositiveInt = Field(default=5, description="the run of lowest inertia is kept")
    min_points: PositiveInt = Field(
        default=10, description="images a cluster on average; fewer clusters if need be"
    )


class RandomParams(Section):
    clusters: int = Field(default=100, ge=2)


class CoarsenParams(Section):
    clusters: PositiveInt = Field(default=8, description="labels left after merging pairs at random")


class SubdivideParams(Section):
    depth: int = Field(default=1, ge=0, le=30, description="each label is halved so many times")


class PermuteParams(Section):
    labels: int = Field(default=2, ge=0, description="labels among whose images the clusters are shuffled")


class ClusterParams(Section):
    method: Method = "attributes"
    missing: Literal["instance", "own", "drop"] = Field(
        default="instance",
        description="images of which nothing is known: each alone, all in one cluster, or not trained on",
    )
    min_size: PositiveInt = Field(default=1, description="clusters of fewer images are small")
    small: Literal["keep", "instance", "nearest"] = Field(
        default="keep",
        description="what becomes of small clusters: each image alone, or the nearest large one",
    )
    attributes: AttributesParams = AttributesParams()
    hashtags: HashtagsParams = HashtagsParams()
    hierarchy: HierarchyParams = HierarchyParams()
    column: ColumnParams = ColumnParams()
    kmeans: KMeansParams = KMeansParams()
    random: RandomParams = RandomParams()
    coarsen: CoarsenParams = CoarsenParams()
    subdivide: SubdivideParams = SubdivideParams()
    permute: PermuteParams = PermuteParams()

    @model_validator(mode="after")
    def _a_column_has_a_name(self) -> Self:
        if self.method == "column" and self.column.name is None:
            raise ValueError("cluster.method=column needs cluster.column.name: set it to an attribute column")
        return self

    @model_validator(mode="after")
    def _small_clusters_are_told_apart_and_treated(self) -> Self:
        if self.small == "keep" and self.min_size > 1:
            raise ValueError(
                f"cluster.min_size={self.min_size} has no effect with cluster.small=keep: set small to "
                "instance or nearest"
            )
        if self.small != "keep" and self.method == "kmeans":
            raise ValueError(
                f"cluster.small={self.small} has no effect on clusters that are remade "
                "(cluster.method=kmeans): set it to keep, and choose cluster.kmeans.min_points"
            )
        if self.small != "keep" and self.min_size == 1:
            raise ValueError(
                f"cluster.small={self.small} has no effect with cluster.min_size=1: raise min_size"
            )
        return self
