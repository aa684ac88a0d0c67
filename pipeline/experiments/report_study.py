"""Implementation of `clinfonce study report`: mean and spread of experiments, in table and picture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np

from pipeline.experiments.rank_correlation import RankCorrelation, rank_correlation
from pipeline.experiments.study import Study, planned, read_study, study_name, tries
from pipeline.experiments.study_results import StudyResult, chosen_by_search, existing_results
from pipeline.presentation.label_placement import name_points, room_around
from pipeline.presentation.markdown import escaped
from pipeline.presentation.plotting import Figure, styled
from pipeline.runtime.console import SafeConsole
from pipeline.runtime.errors import shown
from pipeline.runtime.sanitize import for_terminal
from pipeline.storage.files import write_atomically, write_text
from pipeline.storage.schema import START, UNTRAINED

BACKTICK = "\\x60"
STYLE = {"svg.fonttype": "none", "svg.hashsalt": "clinfonce"}
"""Keeps text as text, and makes the names of shapes reproducible."""


@dataclass(frozen=True)
class Line:
    """Results of one experiment over its seeds; fractions 0-1, information in bits."""

    experiment: str
    top1: list[float]
    knn_top1: list[float]
    clusters: float
    mutual_information_bits: float
    conditional_entropy_bits: float

    @property
    def mean(self) -> float:
        return fmean(self.top1)


FLOORS = {UNTRAINED: "untrained filters", START: "weights as they came"}


@dataclass(frozen=True)
class Floor:
    """Accuracies over the seeds of a reference that is not trained, which a meaningful result exceeds."""

    name: str
    top1: list[float]
    knn_top1: list[float]


def report_study(path: Path, data: Path | None, root: Path, folder: Path, console: SafeConsole) -> None:
    """Writes `<study>.md` and `<study>.svg` into `folder`, and prints the table."""
    study, name = read_study(path, data), study_name(path, data)
    searched = existing_results(tries(study, name, root), root)
    found = chosen_by_search(searched.values())
    results = existing_results(planned(study, name, root, found), root)
    requested = len(study.seeds) * len(study.experiments)
    lines, floors = summarised(study, results), floors_of(results)
    picture = folder / f"{name}.svg" if lines else None
    command = f"clinfonce study run {path}" + (f" --data {data}" if data else "")
    text = study_markdown(study, command, lines, floors, results, requested, found, picture)
    if picture is not None:
        draw = draw_plane if study.picture == "plane" else draw_rows
        with styled(STYLE):
            figure = draw(lines, floors)
            write_atomically(picture, lambda temporary: save_svg(figure, temporary))
    write_text(folder / f"{name}.md", text)
    console.echo(*text.removesuffix("\n").split("\n"))


def summarised(study: Study, results: Mapping[str, StudyResult]) -> list[Line]:
    """Summarizes the experiments in the order of the study, without those that lack an accuracy."""
    lines = []
    for experiment in study.experiments:
        of_seeds = [one.figures for one in results.values() if one.planned.experiment == experiment]
        measured = [figures for figures in of_seeds if figures.get("top1") is not None]
        if measured:
            lines.append(
                Line(
                    experiment,
                    [figures["top1"] for figures in measured],
                    [figures["knn_top1"] for figures in measured],
                    fmean(figures["clusters"] for figures in measured),
                    fmean(figures["mutual_information_bits"] for figures in measured),
                    fmean(figures["conditional_entropy_bits"] for figures in measured),
                )
            )
    return lines


def floors_of(results: Mapping[str, StudyResult]) -> list[Floor]:
    """Returns the accuracies of the references that are not trained, as far as experiments have them."""
    floors = []
    for arm, name in FLOORS.items():
        of_seed = {one.planned.seed: one.floors[arm] for one in results.values() if arm in one.floors}
        measured = [of_seed[seed] for seed in sorted(of_seed) if of_seed[seed].get("top1") is not None]
        if measured:
            top1, knn_top1 = ([figures[key] for figures in measured] for key in ("top1", "knn_top1"))
            floors.append(Floor(name, top1, knn_top1))
    return floors


def study_markdown(
    study: Study,
    command: str,
    lines: Sequence[Line],
    floors: Sequence[Floor],
    results: Mapping[str, StudyResult],
    requested: int,
    found: Mapping[str, Mapping[str, Any]],
    picture: Path | None,
) -> str:
    parts = [f"# {escaped(study.title)}", escaped(study.question)]
    if lines:
        parts.append(_table(lines, floors))
        if picture is not None:
            parts.append(f"![Top-1 of each experiment]({picture.name})")
    if study.picture == "plane":
        parts += _correlations(lines)
    starts = sorted({one.start for one in results.values()})
    origin = f"{len(results)} of {requested} experiments are there"
    if starts:
        origin += f", made from commit{'s' if len(starts) > 1 else ''} {', '.join(starts)}"
    parts.append(f"{origin}. {_code(command)} makes what is missing.")
    if study.base:
        shared = "; ".join(_code(f"{key}={value}") for key, value in study.base.items())
        parts.append(f"All experiments share {shared}; seeds {', '.join(map(str, study.seeds))}.")
    if study.search:
        tried = "; ".join(
            f"{_code(key)} {', '.join(escaped(shown(value)) for value in values)}"
            for key, values in study.search.items()
        )
        alone = f" and {_listed(study.search_base)}" if study.search_base else ""
        parts.append(
            f"Tried for each experiment with seed {study.seeds[0]}{alone}, all with all: {tried}. Kept is "
            "what was best on the part of train on which evaluation chooses; test played no part."
        )
        parts.append("\n".join(f"- {experiment}: {_listed(values)}" for experiment, values in found.items()))
    return "\n\n".join(parts) + "\n"


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(_code(f"{key}={value}") for key, value in values.items())


def _code(text: str) -> str:
    """Formats text as Markdown code, which has no escapes of its own."""
    return f"`{for_terminal(' '.join(shown(text).split())).replace('`', BACKTICK)}`"


def _table(lines: Sequence[Line], floors: Sequence[Floor]) -> str:
    rows = [
        "| experiment | seeds | top-1, % | nearest neighbours, % | clusters | I(Z;T) | H(Z\\|T) |",
        "|---|---|---|---|---|---|---|",
    ]
    rows += [
        f"| {line.experiment} | {len(line.top1)} | {spread(line.top1)} | {spread(line.knn_top1)} | "
        f"{line.clusters:,.0f} | {line.mutual_information_bits:.2f} | {line.conditional_entropy_bits:.2f} |"
        for line in lines
    ]
    for floor in floors:
        accuracies = f"{spread(floor.top1)} | {spread(floor.knn_top1)}"
        rows.append(f"| *{floor.name}* | {len(floor.top1)} | {accuracies} | | | |")
    return "\n".join(rows)


def spread(values: Sequence[float]) -> str:
    """Formats mean and standard deviation in percent; for one seed, there is no deviation."""
    mean = f"{100 * fmean(values):.1f}"
    return f"{mean} ± {100 * stdev(values):.1f}" if len(values) > 1 else mean


def _correlations(lines: Sequence[Line]) -> list[str]:
    """States how well each statistic, and their difference, orders the experiments by accuracy."""
    accuracy = [line.mean for line in lines]
    information = [line.mutual_information_bits for line in lines]
    noise = [line.conditional_entropy_bits for line in lines]
    difference = [i - h for i, h in zip(information, noise, strict=True)]
    pairs = {"I(Z;T)": information, "H(Z|T)": noise, "I(Z;T) - H(Z|T)": difference}
    found = {name: rank_correlation(values, accuracy) for name, values in pairs.items()}
    return [
        f"Rank correlation of {escaped(name)} with top-1: {_text(correlation)}"
        for name, correlation in found.items()
        if correlation is not None
    ]


def _text(correlation: RankCorrelation) -> str:
    interval = (
        "" if correlation.low is None else f", 95 % interval {correlation.low:.2f} to {correlation.high:.2f}"
    )
    return f"{correlation.rho:.2f} over {correlation.points} experiments{interval}."


def draw_rows(lines: Sequence[Line], floors: Sequence[Floor]) -> Figure:
    """Draws one row per experiment: a dot per seed, a line at the mean; floors across all."""
    figure = Figure(figsize=(7, 0.8 + 0.34 * len(lines)), layout="constrained")
    axes = figure.subplots()
    for row, line in enumerate(reversed(lines)):
        axes.plot([100 * value for value in line.top1], [row] * len(line.top1), "o", color="C0", alpha=0.6)
        axes.plot([100 * line.mean] * 2, [row - 0.3, row + 0.3], color="C1", linewidth=2)
    for place, floor in enumerate(floors):
        axes.axvline(100 * fmean(floor.top1), color="#555", linestyle=("--", ":")[place], linewidth=1)
        axes.annotate(
            floor.name,
            (100 * fmean(floor.top1), 1),
            (4, 2 + 10 * place),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            fontsize=8,
            color="#555",
        )
    axes.set_yticks(range(len(lines)), [line.experiment for line in reversed(lines)])
    axes.set_xlabel("linear top-1, %: a dot a seed, the line is their mean")
    axes.grid(axis="x", alpha=0.3)
    return figure


def draw_plane(lines: Sequence[Line], floors: Sequence[Floor]) -> Figure:
    """Draws one point per experiment over H(Z|T) and I(Z;T), colored by accuracy."""
    figure = Figure(figsize=(7, 4.6), layout="constrained")
    axes = figure.subplots()
    x = np.array([line.conditional_entropy_bits for line in lines])
    y = np.array([line.mutual_information_bits for line in lines])
    points = axes.scatter(x, y, c=[100 * line.mean for line in lines], s=70, cmap="viridis", zorder=2)
    axes.set_xlabel("H(Z|T), bits: what the clusters separate beyond the labels")
    axes.set_ylabel("I(Z;T), bits: what they know of the labels")
    axes.grid(alpha=0.3)
    axes.margins(y=0.2)
    room_around(x.tolist(), axes)
    names = [f"{line.experiment} {100 * line.mean:.1f}" for line in lines]
    name_points(axes, list(zip(names, ["black"] * len(lines), x, y, strict=True)))
    above = "".join(f"; {floor.name}: {100 * fmean(floor.top1):.1f}" for floor in floors)
    figure.colorbar(points, label=f"linear top-1, %{above}")
    return figure


def save_svg(figure: Figure, path: Path) -> None:
    """Saves the figure; the same figure gives the same bytes."""
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
