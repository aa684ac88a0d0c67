"""Single changes of the training recipe, measured on a held-out part of train; test images are never read.

uv run python -m benchmarks.recipe --data posts=PROJECT/data --data fashion=PROJECT/data

Each `--data` names a data set and the folder with its `images/` and `clusters/chosen/`. Some of its train
images are trained on, and others are held out; `instance`, `chosen` and `label` are trained on each, so that
no kind of clusters is favoured. Results are appended to `recipe.jsonl`, and those that it contains are not
run again. Several processes may share the file if their changes differ.
"""

import os
import tempfile
import time
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import torch
import typer

from benchmarks.harness import append_result, markdown, read_results
from pipeline.clustering.run import cluster
from pipeline.config.evaluate import EvaluateParams
from pipeline.config.params import Params, check_params
from pipeline.config.pretrain import PretrainParams
from pipeline.dataset.assignments import read_assignments, write_assignments
from pipeline.dataset.dataset import ImageSplit
from pipeline.evaluation.run import evaluate
from pipeline.ingest.shard_writer import write_shard
from pipeline.storage.files import write_json
from pipeline.storage.schema import CHOSEN, UNTRAINED, IngestSummary, Layout, TrainedArm, images_schema
from pipeline.storage.validation import read_json
from pipeline.training.context import TrainingContext
from pipeline.training.run import train
from pipeline.training.untrained import write_untrained

SEED, BATCH = 0, 128
BASE = {"learning_rate": 2e-3}
"""The recipe that is changed, where it differs from the current defaults."""
CHANGES: dict[str, dict[str, Any]] = {
    "none": {},
    "crops from 0.85": {"augment": {"crop_scale_min": 0.85}},
    "crops from 0.4": {"augment": {"crop_scale_min": 0.4}},
    "jitter 0.4, hue 0.1, gray 0.2": {
        "augment": {
            "brightness": 0.4,
            "contrast": 0.4,
            "saturation": 0.4,
            "hue": 0.1,
            "grayscale_probability": 0.2,
        }
    },
    "temperature 0.1": {"temperature": 0.1},
    "temperature 0.5": {"temperature": 0.5},
    "rate 0.008": {"learning_rate": 8e-3},
    "rate 0.004": {"learning_rate": 4e-3},
    "rate 0.001": {"learning_rate": 1e-3},
    "batch 64": {"batch_size": 64},
    "batch 256, rate 0.004": {"batch_size": 256, "learning_rate": 4e-3},
    "AdamW": {"optimizer": "adamw"},
    "decay 0.01": {"weight_decay": 1e-2},
    "warm-up 0.3": {"warmup_fraction": 0.3},
    "loss L_in": {"form": "in"},
    "projection to 64": {"projection_dim": 64},
}


def search(
    data: Annotated[list[str], typer.Option(help="NAME=FOLDER; several times")],
    change: Annotated[list[str] | None, typer.Option(help="of the changes; all")] = None,
    train_images: int = 2400,
    held_out: int = 600,
    epochs: int = 6,
    results: Path = Path("recipe.jsonl"),
) -> None:
    """Trains what `results` lacks, and prints a table of all that it has."""
    torch.set_num_threads(1)
    budget = {"train_images": train_images, "epochs": epochs}
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["CLINFONCE_STATE_DIR"] = str(Path(scratch) / "states")
        layouts = {}
        for name, folder in (named.split("=", 1) for named in data):
            layouts[name] = Layout(Path(scratch) / name)
            write_chunk(Layout(Path(folder)), layouts[name], train_images, held_out)
        for name, layout in layouts.items():
            write_untrained(Params().ingest.image_size, SEED, layout)
            row = {"change": UNTRAINED, "data": name, "arm": UNTRAINED} | budget
            record(results, row, layout, None)
        for changed in change or list(CHANGES):
            for name, layout in layouts.items():
                for arm in TrainedArm:
                    row = {"change": changed, "data": name, "arm": str(arm)} | budget
                    params = check_params({"pretrain": BASE | {"epochs": epochs} | CHANGES[changed]})
                    record(results, row, layout, params.pretrain)
    print(markdown(table(read_results(results))))


def write_chunk(source: Layout, part: Layout, train_images: int, held_out: int) -> None:
    """Writes `held_out` train images of `source` as the test images of `part`, and others to train on."""
    summary = read_json(source.ingest_summary, IngestSummary)
    schema = images_schema(summary["attributes"])
    table = ImageSplit(source.images, "train").columns(schema.names)
    order = np.random.default_rng(1234).permutation(len(table))
    rows = {"test": order[:held_out], "train": order[held_out:][:train_images]}
    part.images.mkdir(parents=True)
    for split, positions in rows.items():
        few = table.take(np.sort(positions)).replace_schema_metadata(schema.metadata)
        write_shard([few], schema, part.images / f"{split}-00000-of-00001.parquet")
    counts = {split: len(positions) for split, positions in rows.items()}
    write_json(part.ingest_summary, summary | {"images": counts})
    assignments = read_assignments(source.assignments(CHOSEN))
    cluster_of = dict(zip(assignments.ids, assignments.clusters_N, strict=True))
    ids = ImageSplit(part.images, "train").columns(["id"]).column("id").to_pylist()
    part.clusters(CHOSEN).mkdir(parents=True)
    clusters_N = np.array([cluster_of[image] for image in ids])
    write_assignments(part.assignments(CHOSEN), pa.array(ids), clusters_N, assignments.recluster)
    for reference in (TrainedArm.INSTANCE, TrainedArm.LABEL):
        cluster(Params().cluster, str(reference), BATCH, SEED, part)


def record(results: Path, row: dict[str, Any], layout: Layout, pretrain: PretrainParams | None) -> None:
    """Appends `row` with its measurements, after training with `pretrain`, unless it exists."""
    if any(row.items() <= known.items() for known in read_results(results)):
        return
    began = time.process_time()
    if pretrain is not None:
        size = Params().ingest.image_size
        train(pretrain, TrainingContext(row["arm"], SEED, size, torch.device("cpu")), layout)
    seconds = time.process_time() - began
    metrics = evaluate(EvaluateParams(), row["arm"], SEED, layout)
    measured = {"seconds": seconds, "top1": metrics["top1"], "knn": metrics["knn_top1"]}
    append_result(results, row | measured)


def table(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Returns one row per change and one column per data set: `linear / k-NN` of each arm, and means."""
    names = list(dict.fromkeys(row["data"] for row in rows))
    by_change: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_change.setdefault(row["change"], []).append(row)
    return [
        {"change": changed, "mean": _mean(own), **{name: _cell(own, name) for name in names}}
        for changed, own in by_change.items()
    ]


def _mean(rows: list[dict[str, Any]]) -> str:
    return f"{100 * mean(row['top1'] for row in rows):.1f} / {100 * mean(row['knn'] for row in rows):.1f}"


def _cell(rows: list[dict[str, Any]], name: str) -> str:
    order = [UNTRAINED, "instance", CHOSEN, "label"]
    found = sorted((row for row in rows if row["data"] == name), key=lambda row: order.index(row["arm"]))
    return ", ".join(f"{100 * row['top1']:.1f} / {100 * row['knn']:.1f}" for row in found)


if __name__ == "__main__":
    typer.run(search)
