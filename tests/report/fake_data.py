"""A small but whole `data/` folder, as the stages before the report leave it, and its report."""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from PIL import Image

from pipeline.config.params import Params, check_params
from pipeline.report.run import build_report
from pipeline.storage.checksums import checksummed_writer, write_checksummed
from pipeline.storage.schema import (
    ASSIGNMENTS_SCHEMA,
    DUPLICATES_SCHEMA,
    LANDSCAPE_COLUMNS,
    MAP_SCHEMA,
    NEAREST_SCHEMA,
    NOT_TRAINED,
    PREDICTIONS_SCHEMA,
    REJECTS_SCHEMA,
    Layout,
    images_schema,
)

LABELS = ["boot", "loafer", "pump", "sandal", "slipper", "sneaker"]
TOP1 = {"chosen": 0.75, "untrained": 0.6, "start": 0.66, "instance": 0.69, "label": 0.77}
CLUSTERS = {"chosen": 6, "instance": 240, "label": 6}
BASELINES = {"chance_top1": 1 / 6, "majority_top1": 0.2, "reachable_top1": 1.0}
BITS = {"chosen": (1.9, 0.6), "instance": (2.58, 5.3), "label": (2.58, 0.0)}


@dataclass
class FakeData:
    """What varies between the folders; `write` makes one."""

    method: str = "attributes"
    references: Sequence[str] = ("instance", "label")
    labels: Sequence[str] = tuple(LABELS)
    labelled: bool = True
    top1: dict[str, float] = field(default_factory=lambda: dict(TOP1))
    test_images: int = 600
    train_images: int = 240
    hashtag: str = "summer"
    rejects: Sequence[tuple[str, str]] = ()
    leaks: int = 0
    reclustered: bool = False
    landscape: bool = False
    columns: int = 2
    """Attribute columns in the landscape."""
    losses_rise: bool = False
    label_fractions: Sequence[float] = ()
    transfer_from: str | None = None
    mapped: int = 60
    baselines: dict[str, float] = field(default_factory=lambda: dict(BASELINES))
    statistics_findings: Sequence[dict[str, str]] = ()

    def write(self, root: Path) -> Layout:
        layout = Layout(root)
        self._write_images(layout)
        for arm in ["chosen", *self.references]:
            for folder in (layout.encoder(arm), layout.evaluation(arm)):
                folder.mkdir(parents=True)
            if arm not in NOT_TRAINED:
                self._write_clusters(layout, arm)
            self._write_encoder(layout, arm)
            self._write_evaluation(layout, arm)
        return layout

    def _label(self, index: int) -> str | None:
        return self.labels[index % len(self.labels)] if self.labelled else None

    def _write_images(self, layout: Layout) -> None:
        layout.images.mkdir(parents=True)
        schema = images_schema(["colour", "season"])
        train = [self._image_row(f"{index:04d}", index) for index in range(self.train_images)]
        half = len(train) // 2
        for number, part in enumerate([train[:half], train[half:]]):
            table = pa.Table.from_pylist(part, schema=schema)
            with checksummed_writer(layout.images / f"train-{number:05d}-of-00002.parquet", schema) as writer:
                writer.write_table(table, row_group_size=64)
        test = [self._image_row(f"t{index:04d}", index) for index in range(self.test_images)]
        write_checksummed(
            pa.Table.from_pylist(test, schema=schema), layout.images / "test-00000-of-00001.parquet"
        )
        where, reasons = zip(*self.rejects, strict=True) if self.rejects else ((), ())
        write_checksummed(
            pa.table({"where": where, "reason": reasons}, schema=REJECTS_SCHEMA), layout.rejects
        )
        write_checksummed(DUPLICATES_SCHEMA.empty_table(), layout.duplicates)
        unlabelled = {"train": 0, "test": 0}
        if not self.labelled:
            unlabelled = {"train": self.train_images, "test": self.test_images}
        summary = {
            "source": "manifest",
            "images": {"train": self.train_images, "test": self.test_images},
            "rejected": len(self.rejects),
            "labels": list(self.labels) if self.labelled else [],
            "unlabelled": unlabelled,
            "attributes": ["colour", "season"],
            "hierarchy_depth": 0,
            "images_with_hashtags": self.train_images // 2,
            "duplicates": 0,
            "leaks": self.leaks,
            "near_duplicates": 0,
            "near_leaks": 0,
            "mean": [0.5, 0.5, 0.5],
            "std": [0.2, 0.2, 0.2],
            "value_range": None,
            "bytes": 1234,
            "notes": ["no split column: a fifth became test"],
        }
        layout.ingest_summary.write_text(json.dumps(summary), encoding="utf-8")

    def _image_row(self, id_: str, index: int) -> dict[str, Any]:
        return {
            "id": id_,
            "image": {"bytes": _png(index), "path": f"{index}.png"},
            "label": self._label(index),
            "hashtags": [self.hashtag] if index % 2 else [],
            "attributes": {"colour": ["red", "blue"][index % 2], "season": None},
            "hierarchy": [],
            "width": 16,
            "height": 16,
        }

    def _advice(self) -> dict[str, Any]:
        if not self.labelled:
            return {"sentences": ["Without labels no advice."], "findings": [], "command": None, "ranked": []}
        gains = {"colour x season": 0.6, "colour": 0.55, "season": -0.2, "class_id": 0.9}
        return {
            "sentences": ["Cluster by colour x season: expected to give 60 %.", "Leave out season."],
            "findings": [{"code": "few_labels", "sentence": "Only 40 images have a label."}],
            "command": "dvc exp run -S cluster.method=attributes",
            "ranked": [
                {
                    "name": name,
                    "changes": {"cluster.method": "attributes"},
                    "clusters": 4,
                    "mutual_information_bits": 1.5,
                    "conditional_entropy_bits": 0.25,
                    "gain": {"estimate": gain, "low": gain - 0.5, "high": gain + 0.5},
                    "as_good_as_best": 0.5 < gain < 0.8,
                    "names_the_label": name == "class_id",
                    "is_column": " x " not in name,
                }
                for name, gain in gains.items()
            ],
        }

    def _write_clusters(self, layout: Layout, arm: str) -> None:
        mutual, conditional = BITS[arm] if self.labelled else (None, None)
        statistics = {
            "method": self.method if arm == "chosen" else arm,
            "clusters": CLUSTERS[arm],
            "singletons": 0,
            "largest_share": 0.3,
            "cluster_entropy_bits": 2.5,
            "label_entropy_bits": 2.58 if self.labelled else None,
            "mutual_information_bits": mutual,
            "conditional_entropy_bits": conditional,
            "adjusted_mutual_information": 0.6 if self.labelled else None,
            "normalized_mutual_information": 0.7 if self.labelled else None,
            "findings": list(self.statistics_findings) if arm == "chosen" else [],
        }
        layout.clusters(arm).mkdir(parents=True)
        layout.statistics(arm).write_text(json.dumps(statistics), encoding="utf-8")
        ids = [f"{index:04d}" for index in range(self.train_images)]
        clusters = [min(index % 9, CLUSTERS[arm] - 1) for index in range(self.train_images)]
        write_checksummed(
            pa.table({"id": ids, "cluster": clusters}, schema=ASSIGNMENTS_SCHEMA), layout.assignments(arm)
        )
        if arm == "chosen":
            layout.advice.write_text(json.dumps(self._advice()), encoding="utf-8")
        if self.landscape and arm == "chosen":
            points = [("attributes", f"attributes: top {k}", True, 0.5 * k, 0.2 * k * k) for k in range(1, 5)]
            places = np.random.default_rng(0).uniform(0, [2.0, 5.0], (self.columns, 2)).round(3)
            points += [("column", f"column number {n}", False, *place) for n, place in enumerate(places)]
            points += [
                ("label", "label", False, 2.58, 0.0),
                ("instance", "instance", False, 2.58, 5.3),
            ]
            pd.DataFrame(points, columns=LANDSCAPE_COLUMNS).to_csv(
                layout.clusters(arm) / "landscape.csv", index=False
            )

    def _write_encoder(self, layout: Layout, arm: str) -> None:
        falling = [5.2 - 0.4 * epoch + 0.02 * epoch**2 + 0.3 * len(arm) for epoch in range(1, 9)]
        losses = falling[::-1] if self.losses_rise else falling
        if arm in NOT_TRAINED:
            losses = []
        epochs = range(1, len(losses) + 1)
        signs = {"rankme": 30.0, "alignment": 0.5, "uniformity": -2.0}
        pd.DataFrame({"epoch": epochs, "loss": losses, "learning_rate": 0.1, **signs}).to_csv(
            layout.encoder(arm) / "history.csv", index=False
        )
        pd.DataFrame({"epoch": epochs, "seconds": 12.5, "images_per_second": 830.0}).to_csv(
            layout.encoder(arm) / "timing.csv", index=False
        )
        config = {
            "encoder": "resnet18",
            "stem_stride": 4,
            "feature_dim": 512,
            "image_size": 16,
            "mean": [0.5, 0.5, 0.5],
            "std": [0.2, 0.2, 0.2],
            "value_range": None,
            "weights_sha256": "0" * 64,
            "epochs": len(epochs),
            "device": "cpu",
            "precision": "float32",
            "train_images": self.train_images,
            "versions": {"torch": "2.15.0"},
        }
        (layout.encoder(arm) / "config.json").write_text(json.dumps(config), encoding="utf-8")

    def _write_map(self, folder: Path) -> None:
        """Images on a line; the first test images are the queries, train images near 100 the neighbours."""
        placed = [{"id": f"{n:04d}", "x": float(n), "y": 0.5 * n} for n in range(self.mapped)]
        write_checksummed(pa.Table.from_pylist(placed, schema=MAP_SCHEMA), folder / "map.parquet")
        kind = "t" if self.test_images else ""
        near = [
            {"query": f"{kind}{query:04d}", "rank": rank, "id": f"{100 + rank:04d}", "cosine": 1 - 0.1 * rank}
            for query in range(3)
            for rank in range(1, 5)
        ]
        write_checksummed(pa.Table.from_pylist(near, schema=NEAREST_SCHEMA), folder / "nearest.parquet")

    def _write_evaluation(self, layout: Layout, arm: str) -> None:
        folder = layout.evaluation(arm)
        self._write_map(folder)
        if not self.labelled:
            metrics: dict[str, Any] = dict.fromkeys(["top1", "top5", "knn_top1", "top1_low", "top1_high"])
            metrics |= {
                "baselines": None,
                "classes": 0,
                "regularisation": None,
                "reason": "no image has a label.",
            }
        else:
            predictions = self._predictions(arm)
            write_checksummed(
                pa.Table.from_pandas(predictions, PREDICTIONS_SCHEMA), folder / "predictions.parquet"
            )
            right = predictions["label"] == predictions["predicted"]
            low, high = wilson(int(right.sum()), len(right))
            metrics = {
                "top1": float(right.mean()),
                "top5": 0.95,
                "knn_top1": 0.6,
                "top1_low": low,
                "top1_high": high,
                "baselines": self.baselines,
            }
            metrics |= {"classes": len(self.labels), "regularisation": 0.1, "reason": None}
            recall = right.groupby(predictions["label"]).mean()
            pd.DataFrame(
                {
                    "label": self.labels,
                    "train_images": self.train_images // len(self.labels),
                    "test_images": [int((predictions["label"] == label).sum()) for label in self.labels],
                    "recall": [recall.get(label) for label in self.labels],
                    "precision": 0.5,
                }
            ).to_csv(folder / "per_class.csv", index=False)
        fewer = {"top1": 0.5, "top1_low": 0.4, "top1_high": 0.6, "train_images": 12, "selection_rows": 9}
        metrics["top1_at"] = {str(share): fewer for share in self.label_fractions if self.labelled}
        metrics["selection_top1"] = 0.55 if self.labelled else None
        metrics["selection_rows"] = 120 if self.labelled else None
        metrics |= {
            "learning_rate": None,
            "weights_sha256": None,
            "encoder": self.transfer_from if arm == "chosen" else None,
        }
        metrics |= {"protocol": "lbfgs", "train_images": self.train_images, "test_images": self.test_images}
        (folder / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
        if self.reclustered and arm == "chosen":
            self._write_trajectory(layout)

    def _write_trajectory(self, layout: Layout) -> None:
        table = pd.DataFrame({"epoch": range(1, 6), "clusters": range(20, 25), "singletons": 0})
        table["largest_share"], table["cluster_entropy_bits"] = 0.2, 4.0
        table["moved_share"] = [None, 0.5, 0.4, 0.2, 0.1]
        table["mutual_information_bits"] = [1.0, 1.4, 1.6, 1.7, 1.75] if self.labelled else None
        table["conditional_entropy_bits"] = [3.0, 2.6, 2.4, 2.3, 2.25] if self.labelled else None
        table.to_csv(layout.evaluation("chosen") / "trajectory.csv", index=False)

    def _predictions(self, arm: str) -> pd.DataFrame:
        """Exactly `top1` of the test images are right; which ones is drawn, equally for every arm."""
        order = np.random.default_rng(0).permutation(self.test_images)
        right = np.zeros(self.test_images, dtype=bool)
        right[order[: round(self.top1[arm] * self.test_images)]] = True
        labels = [self.labels[index % len(self.labels)] for index in range(self.test_images)]
        wrong = [self.labels[(index + 1) % len(self.labels)] for index in range(self.test_images)]
        predicted = [label if ok else other for label, other, ok in zip(labels, wrong, right, strict=True)]
        ids = [f"t{index:04d}" for index in range(self.test_images)]
        return pd.DataFrame({"id": ids, "label": labels, "predicted": predicted})


def wilson(right: int, images: int) -> tuple[float, float]:
    z, share = 1.96, right / images
    centre, scale = share + z * z / (2 * images), 1 + z * z / images
    half = z * sqrt(share * (1 - share) / images + z * z / (4 * images**2))
    return (centre - half) / scale, (centre + half) / scale


def _png(index: int) -> bytes:
    """A 16 x 16 picture that differs from every other index."""
    pixels = np.zeros((16, 16, 3), dtype=np.uint8)
    pixels[..., 0], pixels[..., 1] = (40 * index) % 256, (7 * index) % 256
    pixels[4:12, 4:12, 2] = index % 256
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def params_of(data: FakeData) -> Params:
    cluster: dict[str, Any] = {"method": data.method}
    if data.method == "column":
        cluster["column"] = {"name": "tag"}
    return check_params({"cluster": cluster, "report": {"references": list(data.references)}})


def built(data: FakeData, root: Path) -> Layout:
    """The folder, with its report."""
    layout = data.write(root)
    build_report(params_of(data), layout)
    return layout


XSS = "<img src=x onerror=alert(1)>"
VARIANTS = {
    "three arms": FakeData(landscape=True, rejects=[("a.jpg", "truncated")], leaks=2),
    "re-clustered": FakeData(method="kmeans", reclustered=True, references=["instance"]),
    "re-clustered without labels": FakeData(method="kmeans", reclustered=True, labelled=False),
    "fewer labels": FakeData(label_fractions=[0.01, 0.1]),
    "no labels": FakeData(labelled=False),
    "single arm": FakeData(references=[]),
    "many classes": FakeData(labels=[f"class {n}" for n in range(40)], test_images=1200),
    "strangers' strings": FakeData(
        labels=[XSS, "</script>", "a|b", "$x$", "шапка", "6"],
        hashtag=XSS,
        rejects=[(XSS, "</script>|")],
        statistics_findings=[{"code": "c", "sentence": XSS}],
    ),
}
