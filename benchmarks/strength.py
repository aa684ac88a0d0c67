"""Accuracy against processor seconds: the default recipe, the previous one, lightly's SimCLR, no training.

uv run --group bench python -m benchmarks.strength            # in a project whose `dvc repro` has run

The schedule of each training covers exactly its epochs, so that its rates fall to zero. Results are appended
to `strength.jsonl`, and those that it contains are not run again.
"""

import io
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from benchmarks.harness import append_result, machine, markdown, read_results
from pipeline.augment.normalize import Normalizer
from pipeline.clustering.run import cluster
from pipeline.config.evaluate import EvaluateParams
from pipeline.config.params import Params, load_params
from pipeline.dataset.dataset import ImageSplit
from pipeline.dataset.pixels import load_pixels
from pipeline.encoders.base import Encoder
from pipeline.evaluation.features import TrainedEncoder, features_of
from pipeline.evaluation.knn import knn_predict
from pipeline.evaluation.lbfgs import fit_by_lbfgs
from pipeline.evaluation.run import evaluate
from pipeline.runtime.seeding import derived_seed
from pipeline.storage.schema import IngestSummary, Layout
from pipeline.storage.validation import read_json
from pipeline.training.context import TrainingContext
from pipeline.training.run import train
from pipeline.training.untrained import write_untrained

CPU = torch.device("cpu")
BEFORE = {
    "encoder": "resnet18",
    "stem_stride": 4,
    "optimizer": "adamw",
    "augment": {
        "crop_scale_min": 0.4,
        "brightness": 0.4,
        "contrast": 0.4,
        "saturation": 0.4,
        "hue": 0.1,
        "grayscale_probability": 0.2,
    },
}
"""The defaults until November 2026, where they differed."""
RECIPES: dict[str, dict[str, Any]] = {"patch_resnet": {}, "ResNet-18, recipe before": BEFORE}
ARMS = ("instance", "label")
LIGHTLY, UNTRAINED_FILTERS = "lightly's SimCLR, as shipped", "untrained filters"
LIGHTLY_BATCH, LIGHTLY_TEMPERATURE, LIGHTLY_RATE = 256, 0.5, 0.06
"""Settings of lightly's own example on CIFAR-10."""


def measure(
    epochs: Annotated[list[int], typer.Option(help="lengths of the trainings")] = [1, 3, 9, 27],  # noqa: B006
    lightly: bool = True,
    folder: Path = Path("strength"),
) -> None:
    """Writes `strength.jsonl` and `strength.svg` into `folder`, and prints the table."""
    folder.mkdir(exist_ok=True)
    results = folder / "strength.jsonl"
    known = read_results(results)
    params, seed = load_params(), 0
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["CLINFONCE_STATE_DIR"] = str(Path(scratch) / "states")
        layout = Layout(Path(scratch))
        layout.images.symlink_to(Layout().images.resolve())
        for what, run in _runs(params, seed, layout, sorted(epochs), lightly):
            if not any(what.items() <= row.items() for row in known):
                seconds, top1, knn = run()
                known.append(what | {"seconds": seconds, "top1": top1, "knn": knn})
                append_result(results, known[-1])
    _draw(known, folder / "strength.svg")
    print(f"\n{machine()}\n\n{markdown(_rows(known))}")


Result = tuple[float, float, float]
"""Processor seconds without the evaluation, linear top-1, k-NN top-1."""


def _runs(
    params: Params, seed: int, layout: Layout, epochs: list[int], lightly: bool
) -> Iterator[tuple[dict[str, Any], Callable[[], Result]]]:
    def untrained() -> Result:
        began = time.process_time()
        write_untrained(params.ingest.image_size, seed, layout)
        return time.process_time() - began, *_evaluated(layout, "untrained", seed)

    def trained(recipe: str, arm: str, count: int) -> Result:
        pretrain = params.pretrain.model_validate(RECIPES[recipe] | {"epochs": count})
        began = time.process_time()
        train(pretrain, TrainingContext(arm, seed, params.ingest.image_size, CPU), layout)
        return time.process_time() - began, *_evaluated(layout, arm, seed)

    yield {"recipe": UNTRAINED_FILTERS, "arm": "untrained", "epochs": 0}, untrained
    for arm in ARMS:
        cluster(params.cluster, arm, params.pretrain.batch_size, seed, layout)
    for count in epochs:
        for recipe in RECIPES:
            for arm in ARMS:
                what = {"recipe": recipe, "arm": arm, "epochs": count}
                yield what, partial(trained, recipe, arm, count)
        if lightly:
            what = {"recipe": LIGHTLY, "arm": "instance", "epochs": count}
            yield what, partial(_lightly, layout, params.ingest.image_size, count)


def _evaluated(layout: Layout, arm: str, seed: int) -> tuple[float, float]:
    metrics = evaluate(EvaluateParams(), arm, seed, layout)
    return float(metrics["top1"] or 0), float(metrics["knn_top1"] or 0)


def _lightly(layout: Layout, size: int, epochs: int) -> Result:
    """Trains lightly's SimCLR example on these images, unchanged in what matters; evaluates it like ours."""
    import torchvision
    from lightly.loss import NTXentLoss
    from lightly.models.modules import SimCLRProjectionHead
    from lightly.transforms import SimCLRTransform
    from torch.utils.data import DataLoader

    from benchmarks.contenders import TwoViews

    images = ImageSplit(layout.images, "train").columns(["image"]).column("image").to_pylist()
    backbone = torchvision.models.resnet18()
    backbone.fc = torch.nn.Identity()
    network = torch.nn.Sequential(backbone, SimCLRProjectionHead(512, 2048, 2048))
    views = TwoViews(
        [image["bytes"] for image in images], SimCLRTransform(input_size=size, gaussian_blur=0.0)
    )
    loader = DataLoader(views, batch_size=LIGHTLY_BATCH, shuffle=True, drop_last=True)
    loss, optimizer = NTXentLoss(LIGHTLY_TEMPERATURE), torch.optim.SGD(network.parameters(), lr=LIGHTLY_RATE)
    began = time.process_time()
    for _ in range(epochs):
        for first, second in loader:
            optimizer.zero_grad()
            loss(network(first), network(second)).backward()
            optimizer.step()
    seconds = time.process_time() - began
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]  # of its transform
    trained = TrainedEncoder(Encoder(backbone.eval(), 512), size, Normalizer(mean, std, CPU))
    return seconds, *_probed(trained, layout)


def _probed(trained: TrainedEncoder, layout: Layout) -> tuple[float, float]:
    """Returns linear and k-NN top-1, as `evaluate` measures them."""
    params = EvaluateParams()
    names = sorted(read_json(layout.ingest_summary, IngestSummary)["labels"])
    number_of = {name: number for number, name in enumerate(names)}
    features, labels = {}, {}
    for split in ("train", "test"):
        features[split] = features_of(trained, load_pixels(ImageSplit(layout.images, split)), CPU)
        output = ImageSplit(layout.images, split).columns(["label"]).column("label").to_pylist()
        labels[split] = torch.tensor([number_of[label] for label in output])
    data = features["train"], labels["train"]
    probe = fit_by_lbfgs(*data, len(names), params, derived_seed(0, "evaluate", "selection"))
    linear = probe.logits(features["test"]).argmax(dim=1)
    nearest = knn_predict(*data, features["test"], len(names), params.neighbours)
    top1, knn = (float((found == labels["test"]).double().mean()) for found in (linear, nearest))
    return top1, knn


def _rows(known: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "recipe": row["recipe"],
            "arm": row["arm"],
            "epochs": row["epochs"],
            "processor s": round(row["seconds"]),
            "linear, %": f"{100 * row['top1']:.1f}",
            "k-NN, %": f"{100 * row['knn']:.1f}",
        }
        for row in known
    ]


def _draw(known: list[dict[str, Any]], path: Path) -> None:
    figure = Figure(figsize=(9.5, 4.2), layout="constrained")
    axes = figure.add_subplot()
    colours = {"patch_resnet": "#005fa8", "ResNet-18, recipe before": "#ab4e00", LIGHTLY: "#585f69"}
    for recipe, colour in colours.items():
        for arm, line in (("label", "-"), ("instance", "--")):
            rows = [row for row in known if (row["recipe"], row["arm"]) == (recipe, arm)]
            rows.sort(key=lambda row: row["seconds"])
            if rows:
                seconds, top1 = [row["seconds"] for row in rows], [100 * row["top1"] for row in rows]
                axes.plot(seconds, top1, line, marker="o", color=colour, label=f"{recipe}: {arm}")
    for row in known:
        if row["recipe"] == UNTRAINED_FILTERS:
            axes.axhline(100 * row["top1"], color="#a8325a", linestyle="-.", label=UNTRAINED_FILTERS)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.set_xlabel("processor seconds of the training")
    axes.set_ylabel("linear top-1 in %")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    path.write_text(buffer.getvalue())


if __name__ == "__main__":
    typer.run(measure)
