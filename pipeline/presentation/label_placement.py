"""Labels beside points and at the ends of lines, without overlaps."""

from collections.abc import Sequence

from pipeline.presentation.plotting import Axes, offset_copy

LABEL_GAP = 0.075
"""Minimum distance between two labels, as a share of the axes' height."""


def room_around(values: Sequence[float], axes: Axes) -> None:
    """Adds margins, so that labels beside the points stay inside."""
    width = max(values) - min(values) or 1.0
    axes.set_xlim(min(values) - 0.12 * width, max(values) + 0.12 * width)
    low, high = axes.get_ylim()
    axes.set_ylim(low - 0.04 * (high - low), high + 0.04 * (high - low))


def name_points(axes: Axes, labelled: Sequence[tuple[str, str, float, float]]) -> None:
    """Writes each (name, colour, x, y) beside its point, towards the middle, without overlaps."""
    left, right = axes.get_xlim()
    _write(axes, labelled, [9 if x <= (left + right) / 2 else -9 for _, _, x, _ in labelled])


def name_line_ends(axes: Axes, labelled: Sequence[tuple[str, str, float, float]]) -> None:
    _write(axes, labelled, [8] * len(labelled))


def _write(axes: Axes, labelled: Sequence[tuple[str, str, float, float]], offsets: Sequence[float]) -> None:
    """Writes each name `offset` typographic points from its point, to the right if positive."""
    low, high = axes.get_ylim()
    gap = LABEL_GAP * (high - low)
    heights = spread([y for _, _, _, y in labelled], gap)
    for (text, colour, x, y), height, offset in zip(labelled, heights, offsets, strict=True):
        beside = offset_copy(axes.transData, axes.get_figure(root=True), x=offset, y=0, units="points")
        moved_away = abs(height - y) > gap / 2
        leader = {"arrowstyle": "-", "color": colour, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 3}
        axes.annotate(
            text,
            (x, y),
            xytext=(x, height),
            textcoords=beside,
            ha="left" if offset > 0 else "right",
            va="center",
            color=colour,
            arrowprops=leader if moved_away else None,
            annotation_clip=False,
        )


def spread(positions: list[float], gap: float) -> list[float]:
    """Moves positions on a line, as little as possible, until neighbours are `gap` apart."""
    order = sorted(range(len(positions)), key=positions.__getitem__)
    groups: list[list[int]] = []
    centres: list[float] = []
    for index in order:
        groups.append([index])
        centres.append(positions[index])
        while len(groups) > 1 and centres[-1] - centres[-2] < gap * (len(groups[-1]) + len(groups[-2])) / 2:
            group = groups[-2] + groups[-1]
            groups[-2:] = [group]
            centres[-2:] = [sum(positions[i] for i in group) / len(group)]
    moved = list(positions)
    for group, centre in zip(groups, centres, strict=True):
        for place, index in enumerate(group):
            moved[index] = centre + gap * (place - (len(group) - 1) / 2)
    return moved
