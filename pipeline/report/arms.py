"""Reads what the earlier stages wrote for an arm."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.runtime.sanitize import from_spreadsheet
from pipeline.storage.schema import (
    CHOSEN,
    HISTORY_COLUMNS,
    INFORMED_TRAJECTORY_COLUMNS,
    MAP_SCHEMA,
    NEAREST_SCHEMA,
    NOT_TRAINED,
    PER_CLASS_COLUMNS,
    PREDICTIONS_SCHEMA,
    TIMING_COLUMNS,
    ClusterStatistics,
    EncoderRecord,
    EvaluationMetrics,
    Layout,
)
from pipeline.storage.validation import check_csv, check_rows, read_json, read_parquet, reading
from pipeline.training.collapse import Collapse, collapse

MAP, NEAREST, PREDICTIONS = "map.parquet", "nearest.parquet", "predictions.parquet"


@dataclass(frozen=True)
class Arm:
    name: str
    """A name in `schema.ArmName`."""
    statistics: Mapping[str, Any]
    """Statistics of the clusters; only the method's name for arms that are not trained, which have none."""
    metrics: EvaluationMetrics
    per_class: pd.DataFrame
    """Columns: `schema.PER_CLASS_COLUMNS`; no rows if no image has a label."""
    predictions: pd.DataFrame
    """`id`, `label` and `predicted`, one row per test image; no rows if no image has a label."""
    history: pd.DataFrame
    """Columns: `schema.HISTORY_COLUMNS`; no rows if nothing was trained."""
    placed: pd.DataFrame
    """Columns: `schema.MAP_SCHEMA`; no rows if there are too few images for a map."""
    nearest: pd.DataFrame
    """Columns: `schema.NEAREST_SCHEMA`."""
    timing: pd.DataFrame
    """Columns: `schema.TIMING_COLUMNS`."""
    config: Mapping[str, Any]
    trajectory: pd.DataFrame | None
    """One row per re-clustering; None if the method does not re-cluster."""

    @property
    def method(self) -> str:
        return str(self.statistics["method"])

    @property
    def top1(self) -> float | None:
        return self.metrics["top1"]

    @property
    def trained(self) -> bool:
        return self.name not in NOT_TRAINED

    @property
    def collapse(self) -> Collapse | None:
        """The collapse in which the training ended, if any."""
        return None if self.history.empty else collapse({str(k): v for k, v in self.history.iloc[-1].items()})

    @property
    def clusters(self) -> int | None:
        clusters = self._last_cluster_statistic("clusters")
        return None if clusters is None else int(clusters)

    @property
    def cluster_entropy_bits(self) -> float | None:
        return self._last_cluster_statistic("cluster_entropy_bits")

    @property
    def largest_share(self) -> float | None:
        return self._last_cluster_statistic("largest_share")

    @property
    def mutual_information_bits(self) -> float | None:
        return self._last_cluster_statistic("mutual_information_bits")

    @property
    def conditional_entropy_bits(self) -> float | None:
        return self._last_cluster_statistic("conditional_entropy_bits")

    @property
    def reclustered_after(self) -> int | None:
        """The number of epochs before the last re-clustering; None without re-clustering."""
        return None if self.trajectory is None else int(self.trajectory["epoch"].iloc[-1])

    def correct(self) -> "pd.Series[bool]":
        """Returns whether the linear probe predicts the label of each test image, indexed by image id."""
        right = self.predictions["label"] == self.predictions["predicted"]
        return pd.Series(right.to_numpy(dtype=bool), index=self.predictions["id"].to_numpy())

    def main_metrics(self) -> dict[str, Any]:
        """Returns the values of an arm in `report/metrics.json` and `points.csv`."""
        return {
            "method": self.method,
            "clusters": self.clusters,
            "mutual_information_bits": self.mutual_information_bits,
            "conditional_entropy_bits": self.conditional_entropy_bits,
            "top1": self.top1,
            "top5": self.metrics["top5"],
            "knn_top1": self.metrics["knn_top1"],
        }

    def further_metrics(self) -> dict[str, Any]:
        """Returns further values for `report/metrics.json`: `top1_at` only with
        `evaluate.label_fractions`."""
        top1_at = {fraction: found["top1"] for fraction, found in self.metrics["top1_at"].items()}
        further = {
            "top1_low": self.metrics["top1_low"],
            "top1_high": self.metrics["top1_high"],
            "selection_top1": self.metrics["selection_top1"],
            # Multiplied by the epochs, this is the training budget by which experiments are compared.
            "train_images": self.config.get("train_images"),
        }
        return further | ({"top1_at": top1_at} if top1_at else {})

    def _last_cluster_statistic(self, key: str) -> float | None:
        """Returns the statistic `key` of the clusters of the last epoch."""
        if self.trajectory is None:
            value = self.statistics.get(key)
        else:
            value = self.trajectory[key].iloc[-1] if key in self.trajectory else None
        return None if value is None or pd.isna(value) else float(value)


def paired(first: Arm, second: Arm) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Returns the correctness of two arms on their common test images, in the same order."""
    both = pd.concat([first.correct(), second.correct()], axis=1, join="inner")
    return both.iloc[:, 0].to_numpy(dtype=bool), both.iloc[:, 1].to_numpy(dtype=bool)


def read_arms(layout: Layout, references: list[str]) -> list[Arm]:
    """Reads the chosen arm and then `references`, in this order."""
    return [read_arm(layout, name) for name in [CHOSEN, *references]]


def read_arm(layout: Layout, name: str) -> Arm:
    """Reads what the earlier stages wrote for an arm.

    Raises `UserError` naming the file that is damaged or that an earlier stage has not written.
    """
    encoder, evaluation = layout.encoder(name), layout.evaluation(name)
    metrics = read_json(evaluation / "metrics.json", EvaluationMetrics)
    config = read_json(encoder / "config.json", EncoderRecord)
    measured = metrics["top1"] is not None
    trajectory = read_table(evaluation / "trajectory.csv", INFORMED_TRAJECTORY_COLUMNS, needed=False)
    arm = Arm(
        name=name,
        statistics=_read_statistics(layout, name),
        metrics=metrics,
        per_class=read_table(
            evaluation / "per_class.csv", PER_CLASS_COLUMNS, needed=measured, text=("label",)
        ),
        predictions=_read_predictions(evaluation / PREDICTIONS, needed=measured),
        history=read_table(encoder / "history.csv", HISTORY_COLUMNS),
        placed=read_parquet(evaluation / MAP, MAP_SCHEMA).to_pandas(),
        nearest=read_parquet(evaluation / NEAREST, NEAREST_SCHEMA).to_pandas(),
        timing=read_table(encoder / "timing.csv", TIMING_COLUMNS),
        config=config,
        trajectory=None if trajectory.empty else trajectory,
    )
    for file, table in (("history.csv", arm.history), ("timing.csv", arm.timing)):
        check_rows(encoder / file, len(table), config["epochs"], encoder / "config.json")
    if measured:
        counted_in = evaluation / "metrics.json"
        check_rows(evaluation / PREDICTIONS, len(arm.predictions), metrics["test_images"], counted_in)
    return arm


def _read_statistics(layout: Layout, name: str) -> Mapping[str, Any]:
    return {"method": name} if name in NOT_TRAINED else read_json(layout.statistics(name), ClusterStatistics)


def read_table(
    path: Path, columns: Sequence[str], needed: bool = True, text: tuple[str, ...] = ()
) -> pd.DataFrame:
    """Reads a CSV file with at least `columns`; returns no rows if it is absent and not needed.

    The columns in `text` are read verbatim: a label may be "NA", "007" or "null".
    """
    if not needed and not path.exists():
        return pd.DataFrame()
    check_csv(path, columns)
    with reading(path):
        header = pd.read_csv(path, nrows=0).columns
        empty_is_missing = {column: [""] for column in header if column not in text}
        table: pd.DataFrame = pd.read_csv(
            path, dtype=dict.fromkeys(text, str), keep_default_na=False, na_values=empty_is_missing
        )
    for column in text:
        table[column] = table[column].map(from_spreadsheet)
    return table


def _read_predictions(path: Path, *, needed: bool) -> pd.DataFrame:
    if not needed and not path.exists():
        return pd.DataFrame(columns=PREDICTIONS_SCHEMA.names)
    found: pd.DataFrame = read_parquet(path, PREDICTIONS_SCHEMA, PREDICTIONS_SCHEMA.names).to_pandas()
    return found
