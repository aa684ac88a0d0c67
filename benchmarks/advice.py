"""Forecasts of `clinfonce advise` against trainings: the points of studies, and the table of docs/advice.md.

    python -m benchmarks.advice --root CHECKOUT --data studies/data/posts_columns.yaml \\
        --ingested data/images --images "rendered posts"
    python -m benchmarks.advice --fit
    python -m benchmarks.advice --own
    python -m benchmarks.advice --few 200 --data studies/data/posts_columns.yaml \\
        --ingested data/images --images "rendered posts"
    python -m benchmarks.advice --table rows.parquet

The first, after `clinfonce study run studies/advice.yaml --data ...` in CHECKOUT, measures the clusterings of
this study on images that ingest wrote and adds a line per clustering to docs/studies/advice-points.csv; with
`--report FILE` it takes the accuracies from a study's report. `--fit` predicts each set of images from the
others, and prints the table. `--own` predicts the clusterings of a set from some that were trained on it, as
`clinfonce compare` does, and says how many intervals hold. `--few` draws a few labels and says how often the
pick is within a point of the best. `--table` writes 10 million rows of 20 columns, or, as .csv, 12,000 rows
of 300 columns of 0 and 1, for `time clinfonce advise FILE`.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import typer
from numpy.typing import NDArray
from scipy.optimize import nnls

from pipeline.advice.forecast import gain_of, score_of
from pipeline.advice.own_results import LEAST_GAP, accuracy_forecasts
from pipeline.advice.predictors import NAMES, Labelled, Predictors, predictors_of
from pipeline.clustering.registry import METHODS
from pipeline.config.params import PARAMS_FILE, check_params, read_values
from pipeline.dataset.dataset import ImageDataset, ImageSplit
from pipeline.experiments.rank_correlation import rank_correlation
from pipeline.experiments.study import Study, planned, read_study, set_parameter, study_name
from pipeline.experiments.study_results import StudyResult, existing_results
from pipeline.statistics.contingency import UNKNOWN, Codes, Contingency
from pipeline.statistics.information import Information
from pipeline.statistics.values import encoded
from pipeline.storage.schema import UNTRAINED

POINTS = Path("docs/studies/advice-points.csv")
ENDS = ("instance", "label")
"""Experiments between which forecasts are made."""
BASELINES = ("mutual_information_bits", "clusters", "normalized_mutual_information")
DRAWS = 50
OWN = (0, 2, 4, 6)
TEST_IMAGES = {"rendered posts": 902, "fashion products": 2196, "CIFAR-100": 5000}
MOST_MISSED = 0.9
"""Share of the forecasts that the interval is to hold."""


def main(
    study: Path = Path("studies/advice.yaml"),
    data: Path | None = None,
    ingested: Path = Path("data/images"),
    images: str = "rendered posts",
    root: Path | None = None,
    report: Path | None = None,
    few: int | None = None,
    fit: bool = False,
    own: bool = False,
    table: Path | None = None,
) -> None:
    if fit:
        print_fit()
    elif own:
        print_own_results()
    elif table is not None:
        write_table(table)
    elif few is not None:
        few_labels(read_study(study, data), ingested, images, few)
    else:
        defined = read_study(study, data)
        accuracies = of_report(report) if report else of_experiments(defined, study_name(study, data), root)
        add_points(defined, accuracies, ingested, images)


# --- points of a study --------------------------------------------------------------------------------------


Accuracies = dict[str, dict[str, float]]
"""By experiment: the number of seeds and the mean accuracies, 0-1."""


def of_experiments(study: Study, name: str, root: Path | None) -> Accuracies:
    if root is None:
        raise typer.BadParameter("give --root or --report, --fit, --few or --table")
    by_experiment: dict[str, list[StudyResult]] = {}
    for one in existing_results(planned(study, name, root), root).values():
        by_experiment.setdefault(one.planned.experiment, []).append(one)
    return {
        experiment: {
            "seeds": len(done),
            "top1": fmean(one.figures["top1"] for one in done),
            "knn_top1": fmean(one.figures["knn_top1"] for one in done),
            "untrained_top1": fmean(one.floors[UNTRAINED]["top1"] for one in done),
        }
        for experiment, done in by_experiment.items()
    }


def of_report(report: Path) -> Accuracies:
    rows = re.findall(
        r"^\| \*?([\w ]+?)\*? \| (\d+) \| ([\d.]+) ± [\d.]+ \| ([\d.]+) ±", report.read_text(), re.MULTILINE
    )
    found = {
        name: {"seeds": int(seeds), "top1": float(top1) / 100, "knn_top1": float(knn) / 100}
        for name, seeds, top1, knn in rows
    }
    floor = found.pop("untrained filters")["top1"]
    return {name: accuracies | {"untrained_top1": floor} for name, accuracies in found.items()}


def add_points(study: Study, accuracies: Accuracies, ingested: Path, images: str) -> None:
    train = ImageDataset(ingested).train
    rows: list[dict[str, Any]] = [
        {"images": images, "clustering": name} | accuracies[name] | _measured(train, study.base | changes)
        for name, changes in study.experiments.items()
        if name in accuracies
    ]
    before = pd.read_csv(POINTS).to_dict("records") if POINTS.exists() else []
    names = {(row["images"], row["clustering"]) for row in rows}
    others = [row for row in before if (row["images"], row["clustering"]) not in names]
    pd.DataFrame([*others, *rows]).to_csv(POINTS, index=False, float_format="%.5f")
    print(f"{len(rows)} points of {images} in {POINTS}")


def _measured(train: ImageSplit, changes: Mapping[str, Any]) -> dict[str, float]:
    clusters_N, batch_size = _clusters(train, changes)
    labels_N = encoded(train.labels)[0]
    information = Information(Contingency.of_codes(clusters_N, labels_N))
    return {
        "clusters": int(clusters_N.max()) + 1,
        "mutual_information_bits": information.mutual_information_bits,
        "conditional_entropy_bits": information.conditional_entropy_bits,
        "normalized_mutual_information": information.normalized_mutual_information or 0.0,
        **asdict(predictors_of(clusters_N, Labelled(labels_N, batch_size, len(train)))),
    }


def _clusters(train: ImageSplit, changes: Mapping[str, Any]) -> tuple[Codes, int]:
    values = read_values(PARAMS_FILE)
    for key, value in changes.items():
        set_parameter(values, key, value)
    params = check_params(values)
    clusters = METHODS[params.cluster.method].fit(train, params.cluster.chosen, params.seed)
    return clusters.labels_N, params.pretrain.batch_size


# --- few labels ---------------------------------------------------------------------------------------------


def few_labels(study: Study, ingested: Path, images: str, labels: int) -> None:
    points = pd.read_csv(POINTS)
    top1 = points[points["images"] == images].set_index("clustering")["top1"]
    train = ImageDataset(ingested).train
    all_labels_N = encoded(train.labels)[0]
    names = [name for name in study.experiments if name in top1.index and name not in ENDS]
    clusters = {name: _clusters(train, study.base | study.experiments[name]) for name in names}
    regrets = []
    for draw in range(DRAWS):
        chosen = np.random.default_rng(draw).permutation(len(train))[:labels]
        labels_N = np.full(len(train), UNKNOWN)
        labels_N[chosen] = all_labels_N[chosen]
        scores = {
            name: score_of(predictors_of(codes_N, Labelled(labels_N, batch_size, len(train))))
            for name, (codes_N, batch_size) in clusters.items()
        }
        regrets.append(top1[names].max() - top1[max(scores, key=scores.__getitem__)])
    within = np.mean(np.array(regrets) <= 0.01 + 1e-9)
    print(
        f"{images}, {labels} labels of {len(train):,}: the pick among {len(names)} is within a point of the "
        f"best in {100 * within:.0f} % of {DRAWS} draws, mean regret {100 * np.mean(regrets):.1f} points"
    )


# --- large tables -------------------------------------------------------------------------------------------


def write_table(file: Path) -> None:
    generator = np.random.default_rng(0)
    if file.suffix == ".csv":
        labels_N = generator.integers(0, 30, 12_000)
        traits_LA = generator.random((30, 300)) < 0.3
        values_NA = traits_LA[labels_N] ^ (generator.random((12_000, 300)) < 0.15)
        table = pd.DataFrame(values_NA.astype(int), columns=[f"a{place}" for place in range(300)])
        table.insert(0, "label", labels_N)
        table.to_csv(file, index=False)
        return
    parts = (_part(generator, 500_000) for _ in range(20))
    first = next(parts)
    with pq.ParquetWriter(file, first.schema) as writer:
        for part in chain([first], parts):
            writer.write_table(part, row_group_size=250_000)


def _part(generator: np.random.Generator, rows: int) -> pa.Table:
    """Columns of 2 to 5,000 values, half of them as text, half of whose cells follow from the label."""
    labels_N = generator.integers(0, 100, rows)
    columns = {"label": pa.array([f"class {label}" for label in range(100)]).take(pa.array(labels_N))}
    for place in range(20):
        values = (2, 5, 10, 50, 200, 1000, 5000)[place % 7]
        follows_N = generator.random(rows) < 0.5
        codes_N = np.where(follows_N, (7 * labels_N + place) % values, generator.integers(0, values, rows))
        words = pa.array([f"value {value}" for value in range(values)])
        columns[f"c{place}"] = words.take(pa.array(codes_N)) if place % 2 else pa.array(codes_N)
    return pa.table(columns)


# --- the fit ------------------------------------------------------------------------------------------------


def print_fit() -> None:
    points = pd.read_csv(POINTS)
    points = pd.concat([_with_gain(of_images) for _, of_images in points.groupby("images", sort=False)])
    points["mean"] = [score_of(Predictors(*row)) for row in points[list(NAMES)].to_numpy()]
    tested = points[~points["clustering"].isin(ENDS)]
    sets = list(dict.fromkeys(points["images"]))
    print(
        "| left out | points | mean of three | fitted | "
        + " | ".join([*NAMES, *BASELINES])
        + " | regret: mean | fitted | by chance |"
    )
    print("| --- |" + " --: |" * (6 + len(NAMES) + len(BASELINES)))
    missed = []
    for left_out in sets:
        test = tested[tested["images"] == left_out]
        weights = fitted(points[points["images"] != left_out])
        by_fit = test[list(NAMES)].to_numpy() @ weights
        if test["gap"].iloc[0] >= LEAST_GAP:
            missed += list(np.abs(gain_of(test["mean"].to_numpy()) - test["gain"]))
        rhos = [
            _rho(values, test["top1"])
            for values in (test["mean"], by_fit, *(test[n] for n in (*NAMES, *BASELINES)))
        ]
        top1 = test["top1"].to_numpy()
        regrets = [top1.max() - top1[np.argmax(scores)] for scores in (test["mean"], by_fit)]
        shown = [f"{100 * regret:.1f}" for regret in (*regrets, top1.max() - top1.mean())]
        print(f"| {left_out} | {len(test)} | " + " | ".join([*rhos, *shown]) + " |")
        print(f"weights: {dict(zip(NAMES, weights.round(2).tolist(), strict=True))}")
    print(f"half width of the {100 * MOST_MISSED:.0f} % interval: {np.quantile(missed, MOST_MISSED):.2f}")


def print_own_results() -> None:
    points = pd.read_csv(POINTS)
    points["mean"] = gain_of(np.array([score_of(Predictors(*row)) for row in points[list(NAMES)].to_numpy()]))
    print("| images | trained, beside the references | intervals that hold | half width | missed by |")
    print("| --- |" + " --: |" * 4)
    for images, of_images in points.groupby("images", sort=False):
        for trained in OWN:
            held, widths, missed = _of_own_results(of_images, trained, TEST_IMAGES[str(images)])
            if held:
                shown = [f"{100 * fmean(held):.0f} %", *(f"{100 * fmean(v):.1f}" for v in (widths, missed))]
                print(f"| {images} | {trained} | " + " | ".join(shown) + " |")


def _of_own_results(
    points: pd.DataFrame, trained: int, test_images: int
) -> tuple[list[bool], list[float], list[float]]:
    """Returns for each clustering left out, over random choices of those that were trained: whether the
    interval holds, its half width, and how far the forecast is off, in fractions."""
    is_end = points["clustering"].isin(ENDS).to_numpy()
    ends, others = points[is_end], points[~is_end]
    held, widths, missed = [], [], []
    for draw in range(DRAWS):
        order = np.random.default_rng(draw).permutation(len(others))
        known = pd.concat([ends, others.iloc[order[:trained]]])
        left = others.iloc[order[trained:]]
        variance = float((known["top1"] * (1 - known["top1"]) / test_images).mean())
        forecasts = accuracy_forecasts(list(known["mean"]), list(known["top1"]), variance, list(left["mean"]))
        for forecast, top1 in zip(forecasts or [], left["top1"], strict=forecasts is not None):
            held.append(bool(forecast.low <= top1 <= forecast.high))
            widths.append((forecast.high - forecast.low) / 2)
            missed.append(abs(forecast.estimate - top1))
    return held, widths, missed


def _with_gain(points: pd.DataFrame) -> pd.DataFrame:
    low, high = (points.loc[points["clustering"] == end, "top1"].iloc[0] for end in ENDS)
    return points.assign(gain=(points["top1"] - low) / (high - low), gap=high - low)


def fitted(points: pd.DataFrame) -> NDArray[np.float64]:
    """Returns the weights, each at least 0, by least squares; sets of images count alike."""
    # Self-supervision is 0 for all but one predictor, and its gain is 0 by definition.
    points = points[points["clustering"] != "instance"]
    sizes = points.groupby("images")["gain"].transform("size").to_numpy()
    factors = 1 / np.sqrt(sizes)
    weights: NDArray[np.float64] = nnls(
        points[list(NAMES)].to_numpy() * factors[:, None], points["gain"].to_numpy() * factors
    )[0]
    return weights


def _rho(values: object, top1: pd.Series) -> str:
    found = rank_correlation(list(values), list(top1))  # type: ignore[call-overload]
    return "" if found is None else f"{found.rho:.2f}"


if __name__ == "__main__":
    typer.run(main)
