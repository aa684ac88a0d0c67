"""Results per class: gains and losses against self-supervision, and confusions."""

from dataclasses import dataclass

import pandas as pd

from pipeline.report.arms import Arm

SHOWN = 10


@dataclass(frozen=True)
class ClassChange:
    label: str
    test_images: int
    before: float | None
    """Recall in the instance arm."""
    after: float | None
    """Recall in the chosen arm."""

    @property
    def gain(self) -> float:
        return 0.0 if self.before is None or self.after is None else self.after - self.before


@dataclass(frozen=True)
class Confusion:
    label: str
    predicted: str
    images: int
    share: float
    """Share of the test images of `label`."""


def class_changes(chosen: Arm, instance: Arm | None) -> list[ClassChange]:
    """Returns every class with test images, largest gain first, ties by name."""
    if chosen.per_class.empty:
        return []
    before = {} if instance is None or instance.per_class.empty else _recalls(instance.per_class)
    after = _recalls(chosen.per_class)
    images = dict(zip(chosen.per_class["label"], chosen.per_class["test_images"], strict=True))
    changes = [
        ClassChange(label, int(images[label]), before.get(label), recall)
        for label, recall in after.items()
        if images[label] > 0
    ]
    return sorted(changes, key=lambda change: (-change.gain, change.label))


def worst_confusions(predictions: pd.DataFrame) -> list[Confusion]:
    """Returns the pairs (label, predicted) with the most test images, largest first."""
    if predictions.empty:
        return []
    of_label = predictions["label"].value_counts()
    wrong = predictions[predictions["label"] != predictions["predicted"]]
    pairs = wrong.groupby(["label", "predicted"], observed=True).size().reset_index(name="images")
    pairs = pairs.sort_values(["images", "label", "predicted"], ascending=[False, True, True]).head(SHOWN)
    return [
        Confusion(label, predicted, int(images), int(images) / int(of_label[label]))
        for label, predicted, images in pairs.itertuples(index=False)
    ]


def _recalls(per_class: pd.DataFrame) -> dict[str, float | None]:
    pairs = zip(per_class["label"], per_class["recall"], strict=True)
    return {label: None if pd.isna(recall) else float(recall) for label, recall in pairs}
