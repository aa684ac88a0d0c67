"""What passes between the stages: where each file lies, its Arrow schema or JSON keys.

Fractions are 0-1, information is in bits, times in seconds, sizes in bytes.
"""

import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple, NotRequired

import pyarrow as pa

# pydantic checks those of `typing` from Python 3.12 on.
from typing_extensions import TypedDict


class TrainedArm(StrEnum):
    """As dvc.yaml lists them: `chosen` is clustered by `cluster.method`, a reference by the method of its
    name."""

    CHOSEN = "chosen"
    INSTANCE = "instance"
    LABEL = "label"


class ArmName(StrEnum):
    """Whatever is evaluated; the reference `untrained` has neither clusters nor a training."""

    CHOSEN = "chosen"
    UNTRAINED = "untrained"
    INSTANCE = "instance"
    LABEL = "label"


CHOSEN, UNTRAINED = str(ArmName.CHOSEN), str(ArmName.UNTRAINED)

ENCODER_WEIGHTS, ENCODER_CONFIG, MODEL_CARD = "encoder.safetensors", "config.json", "README.md"
"""The files in an encoder's folder by which others take it up."""

INGEST_SUMMARY = "summary.json"
"""Beside the shards that it counts."""


@dataclass(frozen=True)
class Layout:
    """Where each border file lies below `root`."""

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

    def encoder(self, arm: str) -> Path:
        return self.root / "encoders" / arm

    def evaluation(self, arm: str) -> Path:
        return self.root / "evaluations" / arm

    @property
    def report(self) -> Path:
        return self.root / "report"


def images_schema(attribute_names: list[str]) -> pa.Schema:
    """The images' schema. Its metadata lets Hugging Face `datasets` decode the image column by itself."""
    text = {"dtype": "string", "_type": "Value"}
    # Parquet has no struct without fields; a source without attributes gives a column of nulls.
    struct = pa.struct([pa.field(name, pa.string()) for name in attribute_names])
    attributes = struct if attribute_names else pa.null()
    features: dict[str, Any] = {
        "id": text,
        "image": {"_type": "Image"},
        "label": text,
        "hashtags": [text],
        "attributes": dict.fromkeys(attribute_names, text) or {"dtype": "null", "_type": "Value"},
        "hierarchy": [text],
        "width": {"dtype": "int32", "_type": "Value"},
        "height": {"dtype": "int32", "_type": "Value"},
    }
    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("image", pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])),
            pa.field("label", pa.string()),
            pa.field("hashtags", pa.list_(pa.string())),
            pa.field("attributes", attributes),
            pa.field("hierarchy", pa.list_(pa.string())),
            pa.field("width", pa.int32()),
            pa.field("height", pa.int32()),
        ],
        metadata={"huggingface": json.dumps({"info": {"features": features}})},
    )


YES, NO = "yes", "no"
"""The cells of a binary attribute: it holds, or it does not. Null is not known."""

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
bits in which their perceptual hashes differ. In its own split it names the nearest one that comes before
it, in the other the nearest."""

ASSIGNMENTS_SCHEMA = pa.schema(
    [pa.field("id", pa.string(), nullable=False), pa.field("cluster", pa.int64(), nullable=False)]
)

MAP_SCHEMA = pa.schema([("id", pa.string()), ("x", pa.float32()), ("y", pa.float32())])
"""`data/evaluations/<arm>/map.parquet`: where some train images lie in a plane in which near means alike."""

PREDICTIONS_SCHEMA = pa.schema([("id", pa.string()), ("label", pa.string()), ("predicted", pa.string())])
"""`data/evaluations/<arm>/predictions.parquet`: a row a labelled test image."""

NEAREST_SCHEMA = pa.schema(
    [("query", pa.string()), ("rank", pa.int32()), ("id", pa.string()), ("cosine", pa.float32())]
)
"""`data/evaluations/<arm>/nearest.parquet`: the train images nearest to some test images, best first."""

RECLUSTER_METADATA = b"recluster"
"""Key in the assignments' schema metadata: how a training remakes these clusters, as JSON."""

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
"""As far as others count on them."""
PER_CLASS_COLUMNS = ["label", "train_images", "test_images", "recall", "precision"]


class ValueRange(NamedTuple):
    """The values that became black and white."""

    low: float
    high: float


class IngestSummary(TypedDict):
    """`data/images/summary.json`."""

    source: str
    images: dict[str, int]
    """Images a split."""
    rejected: int
    labels: list[str]
    """Sorted class names."""
    unlabelled: dict[str, int]
    attributes: list[str]
    hierarchy_depth: int
    images_with_hashtags: int
    duplicates: int
    """Images whose content equals that of an earlier row of the same split."""
    leaks: int
    """Test images whose content equals that of a train image."""
    near_duplicates: int | None
    """Images that nearly repeat an earlier row of the same split; null: nobody looked."""
    near_leaks: int | None
    """Test images that nearly repeat a train image, and have no equal there."""
    mean: list[float]
    """Red, green, blue over the train pixels, 0-1."""
    std: list[float]
    bytes: int
    value_range: list[float] | None
    """`ingest.value_range`."""
    notes: list[str]


class ClusterStatistics(TypedDict):
    """`data/clusters/<arm>/statistics.json`, as far as others count on it; figures of labels are null
    without any."""

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
    """What the method decided by itself, one phrase each."""
    made_of: NotRequired[dict[str, list[str]]]
    """`columns` and `hashtags` that the clusters are made from: all images of a cluster agree in them."""


class EncoderRecord(TypedDict):
    """`data/encoders/<arm>/config.json`, as far as others count on it."""

    encoder: str
    """By its name in `pipeline.encoders.registry`."""
    stem_stride: int
    feature_dim: int
    image_size: int
    mean: list[float]
    std: list[float]
    value_range: list[float] | None
    """Values that become black and white in images of more than 8 bits; null: by the values of each."""
    weights_sha256: str
    """Of the `encoder.safetensors` beside it."""
    epochs: int
    """0: it was not trained."""
    train_images: int
    pretrain: NotRequired[dict[str, Any]]
    """The parameters of its training, where there was one."""


class Baselines(TypedDict):
    """Accuracies that follow from the labels alone, as fractions of the test images."""

    chance_top1: float
    """Of guessing evenly among the labels that train has."""
    majority_top1: float
    """Of always naming the label that most train images have."""
    reachable_top1: float
    """Test images whose label some train image has: no classifier exceeds it."""


class FewerLabels(TypedDict):
    """Linear top-1 with a share of each class's train labels."""

    top1: float
    top1_low: float
    top1_high: float
    train_images: int
    selection_rows: int
    """Train rows on which the protocol chose its number."""


class EvaluationMetrics(TypedDict):
    """`data/evaluations/<arm>/metrics.json`; the figures are null where there is nothing to measure."""

    protocol: str
    top1: float | None
    top5: float | None
    """Null also where there are at most five classes, of which five guesses name all."""
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
    """On the rows of train on which the protocol chose; by it, and not by test, studies choose settings."""
    selection_rows: int | None
    """How many these are; 0 where no class has two images, so that `selection_top1` is null."""
    top1_at: dict[str, FewerLabels]
    """By the shares of `evaluate.label_fractions`, such as "0.01"."""
    encoder: str | None
    """`evaluate.transfer_from`, where the arm's own encoder gave way to it."""
    weights_sha256: str | None
    """Of the `encoder.safetensors` that was measured."""
    reason: str | None
    """Why there are no figures, as a sentence."""
