"""Forecasts of `clinfonce advise` against trainings: the points of studies, and the fit of docs/advice.md.

    python -m benchmarks.advice points --root CHECKOUT --data studies/data/posts_columns.yaml \\
        --ingested data/images --images "rendered posts"
    python -m benchmarks.advice fit

The first command, after `clinfonce study run studies/advice.yaml --data ...` in CHECKOUT, measures the
clusterings of this study on images that ingest wrote and adds a line per clustering to
docs/studies/advice-points.csv; `--report FILE` takes the accuracies from a study's report instead. The second
predicts each set of images from the others, and prints the weights and the table.
"""

import argparse
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import nnls

from pipeline.advice.predictors import NAMES, Labelled, predictors_of
from pipeline.clustering.registry import METHODS
from pipeline.config.params import PARAMS_FILE, check_params, read_values
from pipeline.dataset.dataset import ImageDataset, ImageSplit
from pipeline.experiments.rank_correlation import rank_correlation
from pipeline.experiments.study import Study, planned, read_study, set_parameter, study_name
from pipeline.experiments.study_results import StudyResult, existing_results
from pipeline.statistics.contingency import Contingency
from pipeline.statistics.information import Information
from pipeline.statistics.values import encoded
from pipeline.storage.schema import UNTRAINED

POINTS = Path("docs/studies/advice-points.csv")
ENDS = ("instance", "label")
"""Experiments between which forecasts are made."""
BASELINES = ("mutual_information_bits", "clusters", "normalized_mutual_information")
MOST_MISSED = 0.9
"""Share of the forecasts that the interval is to hold."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    points = commands.add_parser("points")
    source = points.add_mutually_exclusive_group(required=True)
    source.add_argument("--root", type=Path, help="the checkout in which the study was run")
    source.add_argument("--report", type=Path, help="the report of a study, as in docs/studies")
    points.add_argument("--study", type=Path, default=Path("studies/advice.yaml"))
    points.add_argument("--data", type=Path, help="such as studies/data/posts_columns.yaml")
    points.add_argument("--ingested", type=Path, required=True, help="data/images of this set of images")
    points.add_argument("--images", required=True, help="name of this set of images in the table")
    commands.add_parser("fit")
    given = parser.parse_args()
    if given.command == "points":
        study, name = read_study(given.study, given.data), study_name(given.study, given.data)
        accuracies = of_report(given.report) if given.report else of_experiments(study, name, given.root)
        add_points(study, accuracies, given.ingested, given.images)
    else:
        fit()


# --- points of a study --------------------------------------------------------------------------------------


Accuracies = dict[str, dict[str, float]]
"""By experiment: the number of seeds and the mean accuracies, 0-1."""


def of_experiments(study: Study, name: str, root: Path) -> Accuracies:
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
    values = read_values(PARAMS_FILE)
    for key, value in changes.items():
        set_parameter(values, key, value)
    params = check_params(values)
    clusters_N = METHODS[params.cluster.method].fit(train, params.cluster.chosen, params.seed).labels_N
    labels_N = encoded(train.labels)[0]
    information = Information(Contingency.of_codes(clusters_N, labels_N))
    return {
        "clusters": int(clusters_N.max()) + 1,
        "mutual_information_bits": information.mutual_information_bits,
        "conditional_entropy_bits": information.conditional_entropy_bits,
        "normalized_mutual_information": information.normalized_mutual_information or 0.0,
        **asdict(predictors_of(clusters_N, Labelled(labels_N, params.pretrain.batch_size, len(train)))),
    }


# --- the fit ------------------------------------------------------------------------------------------------


def fit() -> None:
    points = pd.read_csv(POINTS)
    points = pd.concat([_with_gain(of_images) for _, of_images in points.groupby("images", sort=False)])
    sets = list(dict.fromkeys(points["images"]))
    print("| left out | " + " | ".join(["forecast", *NAMES, *BASELINES, "regret", "regret by chance"]) + " |")
    missed = []
    for left_out in sets:
        rest, test = points[points["images"] != left_out], points[points["images"] == left_out]
        test = test[~test["clustering"].isin(ENDS)]
        weights = fitted(rest) if len(sets) > 1 else np.full(len(NAMES), 1 / len(NAMES))
        forecasts = test[list(NAMES)].to_numpy() @ weights
        missed += list(np.abs(forecasts - test["gain"]))
        shown = [forecasts, *(test[name] for name in (*NAMES, *BASELINES))]
        correlations = [_rho(values, test["top1"]) for values in shown]
        top1 = test["top1"].to_numpy()
        regret, by_chance = top1.max() - top1[np.argmax(forecasts)], top1.max() - top1.mean()
        print(
            f"| {left_out} | " + " | ".join(correlations) + f" | {100 * regret:.1f} | {100 * by_chance:.1f} |"
        )
        print("  weights", dict(zip(NAMES, weights.round(3), strict=True)))
    print(f"half width of the 90 % interval: {np.quantile(missed, MOST_MISSED):.3f}")
    print("weights of all sets:", dict(zip(NAMES, fitted(points).round(4), strict=True)))


def _with_gain(points: pd.DataFrame) -> pd.DataFrame:
    low, high = (points.loc[points["clustering"] == end, "top1"].iloc[0] for end in ENDS)
    return points.assign(gain=(points["top1"] - low) / (high - low))


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
    main()
