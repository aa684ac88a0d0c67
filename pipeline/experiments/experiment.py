"""A successful experiment, and those that are compared with it."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.config.params import Params
from pipeline.storage.schema import Baselines

Value = str | float | None

ACCURACIES = ("top1", "top1_low", "top1_high", "top5", "knn_top1")
OF_CLUSTERS = ("clusters", "mutual_information_bits", "conditional_entropy_bits")
FIGURES = (*ACCURACIES, *OF_CLUSTERS)


_CUT = {
    "ingest.synthetic.images": "{} rendered",
    "ingest.image_size": "{} pixels",
    "ingest.columns.label": "labels: {}",
    "ingest.columns.split": "splits: {}",
    "ingest.test_fraction": "test {}",
}
"""Parameters of `ingest` that determine the train and test images and their labels, and their wording."""


@dataclass(frozen=True)
class Budget:
    """Training budget in images seen, without what an objective costs per image."""

    epochs: float
    train_images: float | None
    """None: not recorded, as in reports of earlier versions."""

    @property
    def size(self) -> tuple[float, float]:
        """Number of images seen, including repetitions (0 if unknown), and of epochs."""
        return (self.epochs * (self.train_images or 0), self.epochs)


@dataclass(frozen=True)
class Experiment:
    name: str
    rev: str
    params: Mapping[str, Value]
    method: str
    figures: Mapping[str, float | None]
    """Values of `FIGURES` for the chosen arm."""
    gap_closed: float | None
    gap_closed_interval: tuple[float, float] | None
    """95 % interval; None if the report states no share, for example because the references are too close."""
    baselines: Baselines | None
    references: Mapping[str, float | None]
    """Top-1 of the references, by their names."""
    train_images: float | None = None
    """Number of images that the chosen arm was trained on, if its report recorded it."""
    images_hash: str | None = None
    """DVC's hash of data/images, which differs if the tables at the same path differ. None: not recorded."""

    @property
    def top1(self) -> float | None:
        return self.figures["top1"]

    @property
    def clusters(self) -> tuple[object, ...]:
        """Key of the clusters; different clusterings with equal values share it."""
        return self.method, *(self.figures[name] for name in OF_CLUSTERS)

    @property
    def images(self) -> str:
        """Description of the images; experiments that differ in it are not compared."""
        source, path = self.params.get("ingest.source"), self.params.get("ingest.path")
        split = self.params.get("ingest.columns.split")
        sources = [_place(path) if isinstance(path, str) else f"{source or 'images'}"]
        for key, words in _CUT.items():
            # Rendered images have labels but no splits; a manifest's columns give both.
            of_rendered = "columns" not in key
            of_manifest = "synthetic" not in key and not (split and key == "ingest.test_fraction")
            value = self.params.get(key) if (of_rendered if path is None else of_manifest) else None
            sources += [words.format(value)] if isinstance(value, str) else []
            sources += [words.format(f"{value:g}")] if isinstance(value, float) else []
        return ", ".join(sources)

    @property
    def budget(self) -> Budget | None:
        """Training budget; None if the experiment trained nothing itself, or no record of it exists."""
        epochs = self.params.get("pretrain.epochs")
        if not isinstance(epochs, float) or self.params.get("evaluate.transfer_from") is not None:
            return None
        return Budget(epochs, self.train_images) if epochs >= 1 else None


@dataclass(frozen=True)
class Group:
    """Experiments on the same images, best top-1 first; those without an accuracy last."""

    images: str
    experiments: list[Experiment]

    def differing(self) -> list[str]:
        """Returns the parameters that are not the same in all experiments, in the order of params.yaml."""
        return differing(self.experiments)

    def by_budget(self) -> dict[Budget, list[Experiment]]:
        """Returns the experiments by budget, smallest first.

        Those of a budget are in the order of accuracy, without those that have none.
        """
        found: dict[Budget, list[Experiment]] = {}
        for experiment in self.experiments:
            if experiment.budget is not None and experiment.top1 is not None:
                found.setdefault(experiment.budget, []).append(experiment)
        return dict(sorted(found.items(), key=lambda item: item[0].size))


@dataclass(frozen=True)
class Comparison:
    groups: list[Group]
    """Group with the most experiments first."""
    failed: Mapping[str, str]
    """Reasons by the experiment's name; empty if unknown."""
    unfinished: int
    """Number of queued or running experiments."""
    stale: list[str]
    """Names of rows whose values were not computed with their parameters."""
    empty: int
    """Number of rows without a report."""

    @property
    def experiments(self) -> list[Experiment]:
        """The experiments of all groups, in their order."""
        return [experiment for group in self.groups for experiment in group.experiments]


def _place(path: str) -> str:
    """Returns the same text for all spellings of a path: relative inside the project, else absolute."""
    from_here = os.path.relpath(path)
    return os.path.abspath(path) if from_here.split(os.sep)[0] == os.pardir else from_here


def differing(experiments: Sequence[Experiment]) -> list[str]:
    """Returns the parameters that are not the same in all of `experiments`, in the order of params.yaml."""
    keys = dict.fromkeys(key for experiment in experiments for key in experiment.params)
    order = {section: place for place, section in enumerate(Params.model_fields)}
    found = [key for key in keys if len({e.params.get(key) for e in experiments}) > 1]
    return sorted(found, key=lambda key: order[key.split(".")[0]])


def of_ingest(experiments: Sequence[Experiment]) -> list[str]:
    """Returns the parameters of ingest that differ, among experiments on images from one place."""
    keys = differing(experiments)
    return [key for key in keys if key == "seed" or (key.startswith("ingest.") and key != "ingest.path")]


def differences(experiment: Experiment, keys: Sequence[str]) -> dict[str, Value]:
    """Returns the values of `keys` that matter, without those of clustering methods that were not chosen."""
    method = experiment.params.get("cluster.method")

    def matters(key: str) -> bool:
        section, *block = key.split(".")
        return section != "cluster" or len(block) < 2 or block[0] == method

    return {key: experiment.params.get(key) for key in keys if matters(key)}
