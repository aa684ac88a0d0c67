"""The section `cluster` of params.yaml: one block per method with parameters."""

from typing import Annotated, Literal, Self

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
    "text",
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


MOST_LEVELS = 100
"""Of a tree: WordNet has twenty, and every image stores its whole path."""

JoinedValues = Annotated[int, Field(ge=1, le=10_000)]
LabelCount = Annotated[int, Field(le=10**6)]


class MethodSection(Section):
    """The parameters of one method."""

    @property
    def recomputed(self) -> bool:
        """Whether pretraining recomputes the clusters from its features."""
        return False

    def check_chosen(self) -> None:
        """Raises `ValueError` if the method cannot run with these parameters."""


class AttributesParams(MethodSection):
    top: JoinedValues | None = Field(
        default=None,
        description="`column=value` attributes, ranked by entropy, to join; null: up to 12",
    )
    columns: UniqueNames = Field(
        default=[],
        description="whole columns to join instead; empty: the `top` attributes of all columns",
    )
    label_columns: Literal["leave_out", "keep"] = Field(
        default="leave_out",
        description="whether to use columns that determine the label, if `columns` is empty",
    )
    bins: int = Field(
        default=4,
        ge=2,
        le=1000,
        description="number of equal parts for a column of numbers with more than 20 distinct values",
    )


class WordsParams(MethodSection):
    """Which words count, and the topics that they make."""

    stop_words: list[str] = Field(default_factory=list, description="words to ignore")
    min_df: ImageCount = Field(default=1, description="least number of images with a word")
    max_df: Fraction = Field(default=1.0, description="largest share of the images with a word")
    clusters: ClusterCount = Field(default=50, description="number of topics, by k-means of TF-IDF")
    components: int = Field(default=50, ge=1, le=1000, description="dimensions of the truncated SVD")


class TextParams(WordsParams):
    """Topics of captions or titles."""

    min_df: ImageCount = Field(default=2, description="least number of images with a word")
    max_df: Fraction = Field(default=0.5, description="largest share of the images with a word")


class HashtagsParams(WordsParams):
    mode: Literal["joint", "topics"] = Field(
        default="joint", description="joint: combinations of the top tags; topics: k-means of TF-IDF"
    )
    top: JoinedValues | None = Field(
        default=None, description="number of hashtags, ranked by entropy, to join; null: up to 8"
    )


class HierarchyParams(MethodSection):
    level: int = Field(default=1, ge=1, le=MOST_LEVELS, description="1 is the root")
    edges: OwnPath | None = Field(
        default=None,
        description="a table of child and parent; the last hierarchy column of the images holds leaves",
    )
    several_parents: Literal["refuse", "first"] = "refuse"


class ColumnParams(MethodSection):
    name: str | None = Field(default=None, description="the attribute column whose values are the clusters")

    def check_chosen(self) -> None:
        if self.name is None:
            raise ValueError("cluster.method=column needs cluster.column.name: set it to an attribute column")


class KMeansParams(MethodSection):
    clusters: ClusterCount = 100
    max_iter: Iterations = 20
    n_init: int = Field(default=5, ge=1, le=100, description="the run of lowest inertia is kept")
    min_points: ImageCount = Field(
        default=10, description="least mean number of images per cluster; reduces the number of clusters"
    )
    vectors: OwnPath | None = Field(
        default=None,
        description="vectors of the images to cluster, by cosine: .parquet with `id` and `vector`, as "
        "clinfonce embed writes it, or .npy in the order of data/images; null: the pixels at first, "
        "then the encoder's own features. Not a DVC dependency: `dvc repro -f cluster@chosen` reads a "
        "changed file",
    )

    @property
    def recomputed(self) -> bool:
        return self.vectors is None


class RandomParams(MethodSection):
    clusters: ClusterCount = 100


class CoarsenParams(MethodSection):
    clusters: LabelCount = Field(default=8, ge=1, description="labels after merging random pairs")


class SubdivideParams(MethodSection):
    depth: int = Field(default=1, ge=0, le=30, description="number of times that each label is halved")


class PermuteParams(MethodSection):
    labels: LabelCount = Field(default=2, ge=0, description="number of labels whose images are shuffled")


class ClusterParams(Section):
    method: Method = "attributes"
    missing: Literal["instance", "own", "drop"] = Field(
        default="instance",
        description="images without a value to cluster by: one cluster each, one for all, or not trained on",
    )
    min_size: ImageCount = Field(default=1, description="clusters of fewer images are small")
    small: Literal["keep", "instance", "nearest"] = Field(
        default="keep",
        description="small clusters: keep them, one cluster per image, or merge into the nearest large one",
    )
    attributes: AttributesParams = AttributesParams()
    hashtags: HashtagsParams = HashtagsParams()
    text: TextParams = TextParams()
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
        """The parameters of `method`; empty for `instance` and `label`."""
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
        if self.small != "keep" and self.chosen.recomputed:
            raise ValueError(
                f"cluster.small={self.small} has no effect on clusters that pretraining recomputes "
                f"(cluster.method={self.method}): set it to keep"
            )
        if self.small != "keep" and self.min_size == 1:
            raise ValueError(
                f"cluster.small={self.small} has no effect with cluster.min_size=1: raise min_size"
            )
        return self
