"""The section `cluster` of params.yaml: one block a method that has choices."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from pipeline.config.base import (
    ClusterCount,
    Fraction,
    ImageCount,
    Iterations,
    OwnPath,
    Section,
    UniqueNames,
)

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


MOST_LEVELS = 1000
"""Of a tree: WordNet has twenty, and every image keeps the whole path."""

JoinedValues = Annotated[int, Field(ge=1, le=10_000)]
LabelCount = Annotated[int, Field(le=10**6)]


class MethodSection(Section):
    """The choices of one method."""

    remade: ClassVar[bool] = False
    """Whether pretraining remakes the clusters from its own features."""

    def check_chosen(self) -> None:
        """Raises `ValueError` if the method can't run with these choices."""


class AttributesParams(MethodSection):
    top: JoinedValues | None = Field(
        default=None,
        description="how many `column=value` attributes, ranked by entropy, are joined; null: up to 12",
    )
    columns: UniqueNames = Field(
        default=[],
        description="whole columns to join instead; empty: the `top` attributes over all columns",
    )
    label_columns: Literal["leave_out", "keep"] = Field(
        default="leave_out",
        description="columns that determine the label, where `columns` names none",
    )
    bins: int = Field(
        default=4,
        ge=2,
        le=1000,
        description="a column of numbers with more than 20 different values is cut into so many equal parts",
    )


class HashtagsParams(MethodSection):
    mode: Literal["joint", "topics"] = Field(
        default="joint", description="joint: which of the top tags an image has; topics: k-means of TF-IDF"
    )
    top: JoinedValues | None = Field(
        default=None, description="how many hashtags, ranked by entropy, are joined; null: up to 8"
    )
    stop_words: list[str] = Field(default_factory=list, description="hashtags that are not looked at")
    min_df: ImageCount = Field(default=1, description="images that a hashtag must stand on to count")
    max_df: Fraction = Field(default=1.0, description="share of the images above which a hashtag is ignored")
    clusters: ClusterCount = Field(default=50, description="of `topics`")
    components: int = Field(
        default=50, ge=1, le=1000, description="of `topics`: dimensions of the truncated SVD"
    )


class HierarchyParams(MethodSection):
    level: int = Field(default=1, ge=1, le=MOST_LEVELS, description="1 is the root's column")
    edges: OwnPath | None = Field(
        default=None,
        description="a table of child and parent; the images' last hierarchy column holds leaves",
    )
    several_parents: Literal["refuse", "first"] = "refuse"


class ColumnParams(MethodSection):
    name: str | None = Field(default=None, description="the attribute column whose values are the clusters")

    def check_chosen(self) -> None:
        if self.name is None:
            raise ValueError("cluster.method=column needs cluster.column.name: set it to an attribute column")


class KMeansParams(MethodSection):
    remade: ClassVar[bool] = True

    clusters: ClusterCount = 100
    max_iter: Iterations = 20
    n_init: int = Field(default=5, ge=1, le=100, description="the run of lowest inertia is kept")
    min_points: ImageCount = Field(
        default=10, description="images a cluster on average; fewer clusters if need be"
    )


class RandomParams(MethodSection):
    clusters: ClusterCount = 100


class CoarsenParams(MethodSection):
    clusters: LabelCount = Field(default=8, ge=1, description="labels left after merging pairs at random")


class SubdivideParams(MethodSection):
    depth: int = Field(default=1, ge=0, le=30, description="each label is halved so many times")


class PermuteParams(MethodSection):
    labels: LabelCount = Field(
        default=2, ge=0, description="labels among whose images the clusters are shuffled"
    )


class ClusterParams(Section):
    method: Method = "attributes"
    missing: Literal["instance", "own", "drop"] = Field(
        default="instance",
        description="images of which nothing is known: each alone, all in one cluster, or not trained on",
    )
    min_size: ImageCount = Field(default=1, description="clusters of fewer images are small")
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

    @property
    def chosen(self) -> MethodSection:
        return self.block(self.method)

    def block(self, method: str) -> MethodSection:
        """The parameters of `method`; `instance` and `label` have none, so they share an empty block."""
        section: MethodSection = getattr(self, method, MethodSection())
        return section

    @model_validator(mode="after")
    def _the_chosen_method_can_run(self) -> Self:
        self.chosen.check_chosen()
        return self

    @model_validator(mode="after")
    def _small_clusters_need_a_policy(self) -> Self:
        if self.small == "keep" and self.min_size > 1:
            raise ValueError(
                f"cluster.min_size={self.min_size} has no effect with cluster.small=keep: set small to "
                "instance or nearest"
            )
        if self.small != "keep" and self.chosen.remade:
            raise ValueError(
                f"cluster.small={self.small} has no effect on clusters that are remade "
                f"(cluster.method={self.method}): set it to keep"
            )
        if self.small != "keep" and self.min_size == 1:
            raise ValueError(
                f"cluster.small={self.small} has no effect with cluster.min_size=1: raise min_size"
            )
        return self
