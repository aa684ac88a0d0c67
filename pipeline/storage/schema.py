"""The files that pass between the stages: their paths, Arrow schemas and JSON keys.

Fractions are 0-1, information is in bits, times in seconds, sizes in bytes.
"""

import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple, NotRequired

import pyarrow as pa

# pydantic accepts that of `typing` from Python 3.12 on.
from typing_extensions import TypedDict


class TrainedArm(StrEnum):
    """The trained arms, in the order of dvc.yaml: `chosen` is clustered by `cluster.method`, a reference by
    the method of its name."""

    CHOSEN = "chosen"
    INSTANCE = "instance"
    LABEL = "label"


class ArmName(StrEnum):
    """The evaluated arms; the references `untrained` and `start` have no clusters and are not trained."""

    CHOSEN = "chosen"
    UNTRAINED = "untrained"
    START = "start"
    INSTANCE = "instance"
    LABEL = "label"


CHOSEN, UNTRAINED, START = str(ArmName.CHOSEN), str(ArmName.UNTRAINED), str(ArmName.START)
NOT_TRAINED = (UNTRAINED, START)
"""Arms without clusters, which a training should exceed."""

ENCODER_WEIGHTS, ENCODER_CONFIG, MODEL_CARD = "encoder.safetensors", "config.json", "README.md"
"""The files in an encoder's folder that other programs load."""

INGEST_SUMMARY = "summary.json"
"""File name of the summary, which lies beside the shards that it counts."""


@dataclass(frozen=True)
class Layout:
    """The paths of the files that pass between stages, below `root`."""

    root: Path = Path("data")

    @property
    def images(self) -> Path:
        return self.root / "images"

    @property
    def rejects(self) -> Path:
        return self.images / "rejects.parquet"

    @property
    def duplicates(self) -> Path:
        return self.images / "duplicates.parquet"

    @property
    def ingest_summary(self) -> Path:
        return self.images / INGEST_SUMMARY

    def clusters(self, arm: str) -> Path:
        return self.root / "clusters" / arm

    def assignments(self, arm: str) -> Path:
        return self.clusters(arm) / "assignments.parquet"

    def statistics(self, arm: str) -> Path:
        return self.clusters(arm) / "statistics.json"

    @property
    def landscape(self) -> Path:
        return self.clusters(CHOSEN) / "landscape.csv"

    @property
    def advice(self) -> Path:
        return self.clusters(CHOSEN) / "advice.json"

    def encoder(self, arm: str) -> Path:
        return self.root / "encoders" / arm

    @property
    def frozen_features(self) -> Path:
        return self.root / "frozen_features.parquet"

    def evaluation(self, arm: str) -> Path:
        return self.root / "evaluations" / arm

    @property
    def report(self) -> Path:
        return self.root / "report"


def images_schema(attribute_names: list[str], with_text: bool = False) -> pa.Schema:
    """Returns the schema of the images. Its metadata lets Hugging Face `datasets` decode the image column.

    `with_text`: whether there is a column of captions or titles.
    """
    string = {"dtype": "string", "_type": "Value"}
    # Parquet has no struct without fields; a source without attributes has a column of nulls.
    struct = pa.struct([pa.field(name, pa.string()) for name in attribute_names])
    attributes = struct if attribute_names else pa.null()
    features: dict[str, Any] = {
        "id": string,
        "image": {"_type": "Image"},
        "label": string,
        "hashtags": [string],
        **({"text": string} if with_text else {}),
        "attributes": dict.fromkeys(attribute_names, string) or {"dtype": "null", "_type": "Value"},
        "hierarchy": [string],
        "width": {"dtype": "int32", "_type": "Value"},
        "height": {"dtype": "int32", "_type": "Value"},
    }
    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("image", pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])),
            pa.field("label", pa.string()),
            pa.field("hashtags", pa.list_(pa.string())),
            *([pa.field("text", pa.string())] if with_text else []),
            pa.field("attributes", attributes),
            pa.field("hierarchy", pa.list_(pa.string())),
            pa.field("width", pa.int32()),
            pa.field("height", pa.int32()),
        ],
        metadata={"huggingface": json.dumps({"info": {"features": features}})},
    )


YES, NO = "yes", "no"
"""The cells of a binary attribute that an image has or lacks; null if unknown."""

REJECTS_SCHEMA = pa.schema([("where", pa.string()), ("reason", pa.string())])

DUPLICATES_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("of", pa.string()),
        ("kind", pa.string()),
        ("distance", pa.int8()),
        ("split", pa.string()),
        ("of_split", pa.string()),
    ]
)
"""`data/images/duplicates.parquet`: image `id` repeats image `of`, `exact` or `near`; `distance` counts the
bits in which their perceptual hashes differ. Within a split, `of` is the nearest of the images before it; in
the other split, the nearest image."""

ASSIGNMENTS_SCHEMA = pa.schema(
    [pa.field("id", pa.string(), nullable=False), pa.field("cluster", pa.int64(), nullable=False)]
)

MAP_SCHEMA = pa.schema([("id", pa.string()), ("x", pa.float32()), ("y", pa.float32())])
"""`data/evaluations/<arm>/map.parquet`: positions of some train images in a plane, near if similar."""

PREDICTIONS_SCHEMA = pa.schema([("id", pa.string()), ("label", pa.string()), ("predicted", pa.string())])
"""`data/evaluations/<arm>/predictions.parquet`: one row per labelled test image."""

NEAREST_SCHEMA = pa.schema(
    [("query", pa.string()), ("rank", pa.int32()), ("id", pa.string()), ("cosine", pa.float32())]
)
"""`data/evaluations/<arm>/nearest.parquet`: the train images nearest to some test images, nearest first."""

RECLUSTER_METADATA = b"recluster"
"""Key in the assignments' schema metadata: how training recomputes these clusters, as JSON."""

HISTORY_COLUMNS = ["epoch", "loss", "learning_rate", "rankme", "alignment", "uniformity"]
TIMING_COLUMNS = ["epoch", "seconds", "images_per_second"]
TRAJECTORY_COLUMNS = [
    "epoch",
    "clusters",
    "singletons",
    "largest_share",
    "cluster_entropy_bits",
    "moved_share",
]
INFORMED_TRAJECTORY_COLUMNS = [*TRAJECTORY_COLUMNS, "mutual_information_bits", "conditional_entropy_bits"]
LANDSCAPE_COLUMNS = ["method", "name", "nested", "mutual_information_bits", "conditional_entropy_bits"]
"""The columns that other stages rely on."""
PER_CLASS_COLUMNS = ["label", "train_images", "test_images", "recall", "precision"]


class ValueRange(NamedTuple):
    """The values that are mapped to black and white."""

    low: float
    high: float


class IngestSummary(TypedDict):
    """`data/images/summary.json`."""

    source: str
    images: dict[str, int]
    """Number of images per split."""
    rejected: int
    labels: list[str]
    """Sorted class names."""
    unlabelled: dict[str, int]
    attributes: list[str]
    hierarchy_depth: int
    images_with_hashtags: int
    images_with_text: NotRequired[int]
    """Only with `ingest.columns.text`: the shards then have a column `text`."""
    duplicates: int
    """Images whose content equals that of an earlier row of the same split."""
    leaks: int
    """Test images whose content equals that of a train image."""
    near_duplicates: int | None
    """Images that nearly repeat an earlier row of the same split; null if not searched for."""
    near_leaks: int | None
    """Test images that nearly repeat a train image, and equal none."""
    mean: list[float]
    """Means of red, green and blue over the train pixels, 0-1."""
    std: list[float]
    bytes: int
    value_range: list[float] | None
    """`ingest.value_range`."""
    notes: list[str]


class ClusterStatistics(TypedDict):
    """The keys of `data/clusters/<arm>/statistics.json` that other stages rely on; those about labels are
    null without labels."""

    method: str
    clusters: int
    singletons: int
    largest_share: float
    cluster_entropy_bits: float
    label_entropy_bits: float | None
    mutual_information_bits: float | None
    conditional_entropy_bits: float | None
    adjusted_mutual_information: float | None
    normalized_mutual_information: float | None
    notes: NotRequired[list[str]]
    """Automatic choices of the method, one phrase each."""
    made_of: NotRequired[dict[str, list[str]]]
    """`columns` and `hashtags` that the clusters are made from: all images of a cluster agree in them."""


class Range(TypedDict):
    estimate: float
    low: float
    high: float


class AdvisedClustering(TypedDict):
    """The keys of a candidate in `advice.json` that other stages rely on."""

    name: str
    changes: dict[str, Any]
    """Of params.yaml, by which it is trained on."""
    clusters: int
    mutual_information_bits: float
    conditional_entropy_bits: float
    gain: Range
    """Expected share of what labels add to self-supervision, with a 90 % interval."""
    as_good_as_best: bool
    names_the_label: bool
    is_column: bool
    """Whether it is a single column, whose name is then the candidate's."""


class AdviceRecord(TypedDict):
    """The keys of `data/clusters/chosen/advice.json` that other stages rely on."""

    sentences: list[str]
    """What to cluster by and what to leave out; why there is no advice, if there is none."""
    findings: list[dict[str, str]]
    """Why the advice may be wrong: `code` and `sentence`."""
    command: str | None
    """Trains on the best candidate; null if none is expected to help."""
    ranked: list[AdvisedClustering]
    """The best first."""


class EncoderRecord(TypedDict):
    """The keys of `data/encoders/<arm>/config.json` that other stages rely on."""

    encoder: str
    """Name in `pipeline.encoders.registry`."""
    stem_stride: int | None
    """Null for networks of timm."""
    feature_dim: int
    image_size: int
    mean: list[float]
    std: list[float]
    value_range: list[float] | None
    """Values that are mapped to black and white in images of more than 8 bits; null: those of each image."""
    weights_sha256: str
    """Checksum of the `encoder.safetensors` beside it."""
    epochs: int
    """0 if it was not trained."""
    train_images: int | None
    """Null if unknown, as for weights that others trained."""
    pretrain: NotRequired[dict[str, Any]]
    """The parameters of its training, if it was trained."""
    start: NotRequired[dict[str, Any]]
    """The weights that it started from, if any: `weights` as in params.yaml, its `sha256`, and `notes`."""


class Baselines(TypedDict):
    """Accuracies that follow from the labels alone, as fractions of the test images."""

    chance_top1: float
    """Accuracy of guessing uniformly among the labels of train."""
    majority_top1: float
    """Accuracy of always predicting the label that most train images have."""
    reachable_top1: float
    """Test images whose label some train image has; an upper bound for any classifier."""


class FewerLabels(TypedDict):
    """Linear top-1 accuracy with a share of each class's train labels."""

    top1: float
    top1_low: float
    top1_high: float
    train_images: int
    selection_rows: int
    """Number of train rows on which the protocol chose its hyperparameter."""


class EvaluationMetrics(TypedDict):
    """`data/evaluations/<arm>/metrics.json`; the metrics are null if there is nothing to measure."""

    protocol: str
    top1: float | None
    top5: float | None
    """Also null with at most five classes, since five guesses then name them all."""
    knn_top1: float | None
    top1_low: float | None
    """95 % interval (Wilson)."""
    top1_high: float | None
    baselines: Baselines | None
    classes: int
    train_images: int
    test_images: int
    regularisation: float | None
    """Chosen by the protocol `lbfgs`."""
    learning_rate: float | None
    """Chosen by the protocol `sgd`."""
    selection_top1: float | None
    """Top-1 on the train rows on which the protocol chose; studies choose settings by it, not by test."""
    selection_rows: int | None
    """Number of these rows; 0 if no class has two images, so that `selection_top1` is null."""
    top1_at: dict[str, FewerLabels]
    """Results by the shares of `evaluate.label_fractions`, such as "0.01"."""
    encoder: str | None
    """`evaluate.transfer_from`, if it replaced the arm's own encoder."""
    weights_sha256: str | None
    """Checksum of the `encoder.safetensors` that was evaluated."""
    reason: str | None
    """Why there are no metrics, as a sentence."""
