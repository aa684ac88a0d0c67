"""Draws the pictures of docs/choosing-clusters.md: what I(Z;T) and H(Z|T) see in clusters.

uv run python docs/site/draw_reading.py schema
uv run python docs/site/draw_reading.py columns ../shared/data/fashion-products/manifest.csv

The figures in them are computed by pipeline.statistics. `columns` reads a table's train rows.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import matplotlib
import numpy as np
import pandas as pd
import typer
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from pipeline.statistics.contingency import Contingency
from pipeline.statistics.information import Information

IMAGES = Path(__file__).resolve().parents[1] / "images"
INK, FAINT = "#1a1c20", "#8a9099"
COLOURS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442"]
"""Okabe and Ito's: they can be told apart by colour-blind readers."""
OTHERS = "#d5d9de"
MARKERS = ["o", "^", "s", "D"]
LARGEST_CLUSTERS = 7

# Sixteen images in rows of four: the label of each, and the cluster of each.
SCHEMA = {
    "the labels themselves": ("aaaa bbbb cccc dddd", "0000 1111 2222 3333"),
    "labels joined": ("aaaa bbbb cccc dddd", "0000 0000 1111 1111"),
    "labels split": ("aaaa bbbb cccc dddd", "0011 2233 4455 6677"),
    "some of both, as tags are": ("aaab abbb cccd cddd", "0000 1111 2222 3333"),
    "as good as chance": ("abcd abcd abcd abcd", "0000 1111 2222 3333"),
    "each image alone": ("aaaa bbbb cccc dddd", "0123 4567 89AB CDEF"),
}

app = typer.Typer(add_completion=False, help=__doc__)


@app.command()
def schema() -> None:
    """Six ways to cluster the same sixteen images."""
    figure = _figure(7.6, 5.9)
    for axes, (title, texts) in zip(figure.subplots(2, 3).flat, SCHEMA.items(), strict=True):
        labels_44, clusters_44 = (np.array([list(row) for row in text.split()]) for text in texts)
        _draw_clusters(axes, labels_44, clusters_44)
        codes = (np.unique(names, return_inverse=True)[1].ravel() for names in (clusters_44, labels_44))
        _title(axes, title, *codes)
    _save(figure, "reading-schema.svg")


@app.command()
def columns(
    table: Annotated[Path, typer.Argument(help="a manifest with a column `split`")],
    label: Annotated[str, typer.Option(help="column of the labels T")] = "label",
    cluster: Annotated[list[str] | None, typer.Option(help="columns of clusters Z")] = None,
) -> None:
    """The largest clusters of four columns as bars, coloured by label."""
    rows = pd.read_csv(table, dtype=str)
    rows = rows[rows["split"] == "train"]
    frequent = list(rows[label].value_counts().index[: len(COLOURS)])
    figure = _figure(7.6, 6.6)
    requested = cluster or ["subCategory", "usage", "gender", "baseColour"]
    for axes, column in zip(figure.subplots(2, 2).flat, requested, strict=True):
        known = rows.dropna(subset=[column, label])
        _draw_bars(axes, known[column], known[label], frequent)
        _title(axes, column, pd.factorize(known[column])[0], pd.factorize(known[label])[0])
    handles, names = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    _save(figure, "reading-fashion.svg")


def _draw_clusters(axes: Axes, labels_44: np.ndarray, clusters_44: np.ndarray) -> None:
    """A mark an image, by its label, and a box around those of each cluster."""
    for name in np.unique(clusters_44):
        rows, columns = np.nonzero(clusters_44 == name)
        corner = (columns.min() - 0.42, rows.min() - 0.36)
        size = (np.ptp(columns) + 0.84, np.ptp(rows) + 0.72)
        style = "round,pad=0,rounding_size=0.2"
        axes.add_patch(FancyBboxPatch(corner, *size, boxstyle=style, facecolor="#f3f4f6", edgecolor=FAINT))
    for kind, label in enumerate("abcd"):
        rows, columns = np.nonzero(labels_44 == label)
        axes.plot(columns, rows, MARKERS[kind], color=COLOURS[kind], markersize=8)
    axes.set(xlim=(-0.5, 3.5), ylim=(3.5, -0.5), aspect="equal")
    axes.set_axis_off()


def _draw_bars(axes: Axes, clusters: pd.Series, labels: pd.Series, frequent: Sequence[str]) -> None:
    """A bar a cluster, the largest on top; all that are smaller together are left to a note."""
    sizes = clusters.value_counts()
    shown = list(sizes.index[:LARGEST_CLUSTERS])
    started = np.zeros(len(shown))
    groups = [(name, labels == name) for name in frequent] + [("other labels", ~labels.isin(frequent))]
    for (name, chosen), colour in zip(groups, [*COLOURS, OTHERS], strict=True):
        counts = clusters[chosen].value_counts().reindex(shown, fill_value=0).to_numpy()
        axes.barh(range(len(shown)), counts, left=started, color=colour, label=name, height=0.72)
        started += counts
    axes.set_yticks(range(len(shown)), [str(name) for name in shown])
    axes.invert_yaxis()
    axes.set_xlabel("images", color=FAINT)
    axes.tick_params(colors=INK, length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    if len(sizes) > len(shown):
        note = f"and {len(sizes) - len(shown)} smaller clusters"
        axes.text(0.98, 0.04, note, transform=axes.transAxes, ha="right", color=FAINT, fontsize=9)


def _title(axes: Axes, title: str, clusters_N: np.ndarray, labels_N: np.ndarray) -> None:
    output = Information(Contingency.of_codes(clusters_N, labels_N))
    figures = f"I(Z;T) {output.mutual_information_bits:.2f}, H(Z|T) {output.conditional_entropy_bits:.2f}"
    axes.set_title(f"{title}\n", fontsize=10, fontweight="bold", color=INK, loc="left")
    axes.text(0, 1.03, figures, transform=axes.transAxes, fontsize=10, color=INK)


def _figure(width: float, height: float) -> Figure:
    """In inches, on white: the site shows pictures so in both of its schemes."""
    return Figure(figsize=(width, height), facecolor="white", layout="constrained")


def _save(figure: Figure, name: str) -> None:
    # Text as text, and nothing that differs from run to run: the same picture is the same file.
    settings = {"svg.fonttype": "none", "svg.hashsalt": name, "font.family": "sans-serif"}
    with matplotlib.rc_context(settings):
        figure.savefig(IMAGES / name, metadata={"Date": None})
    print(IMAGES / name)


if __name__ == "__main__":
    app()
