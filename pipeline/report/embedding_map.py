"""Maps of train images, and the nearest train images of some test images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from pipeline.report.arms import Arm
from pipeline.report.cluster_cards import most_frequent
from pipeline.report.thumbnails import Thumbnails

MAP_WIDTH, MAP_HEIGHT, MARGIN = 1000, 800, 20
GROUPS = 8
"""Number of labels or clusters with their own colour, as in the style sheet."""
MAP_THUMBNAIL = 48
"""Longer side of a thumbnail on the map, in pixels."""
THUMBNAIL = 64


@dataclass(frozen=True)
class Group:
    name: str
    images: int
    """Number of images on the map."""
    colour: int
    """Colours count from 1; 0 stands for all others."""


@dataclass(frozen=True)
class Point:
    x: float
    y: float
    image: int
    """Index in `Maps.images`."""
    label_colour: int
    cluster_colour: int


@dataclass(frozen=True)
class Maps:
    arms: list[tuple[str, str, list[Point]]]
    """Name, method and points of each arm."""
    labels: list[Group]
    """Most frequent first; empty if no image has a label."""
    clusters: list[Group]
    """Clusters of the chosen arm; empty if no mapped images share a cluster."""
    coloured_by: Literal["label", "cluster"]
    """The initial colouring."""
    images: list[dict[str, str | None]]
    """`thumbnail`, `label` and `cluster` of each image on the maps."""


@dataclass(frozen=True)
class Near:
    thumbnail: str
    label: str | None
    alike: bool | None
    """Whether the image has the label of the query; None if either has no label."""
    cosine: float


@dataclass(frozen=True)
class Query:
    thumbnail: str
    label: str | None
    arms: list[tuple[str, str, list[Near]]]
    """Name and method of each arm, and its nearest images."""


def maps(arms: Sequence[Arm], train: Thumbnails, clusters: pd.DataFrame) -> Maps | None:
    """Places the same images on a map for each arm; returns None if there are too few.

    `clusters` (`id`, `cluster`) are those of the chosen arm.
    """
    placed = [arm for arm in arms if not arm.placed.empty]
    if not placed:
        return None
    ids = placed[0].placed["id"]
    facts = train.rows.set_index("id").loc[ids]
    facts["cluster"] = clusters.set_index("id")["cluster"].reindex(ids)
    labels, clusters_shown = _groups(facts["label"], "{}"), _groups(facts["cluster"], "cluster {:.0f}")
    if not any(group.images > 1 for group in clusters_shown):
        clusters_shown = []
    label_colours, cluster_colours = (_colours(facts[name]) for name in ("label", "cluster"))
    thumbnails = train.thumbnails(ids, MAP_THUMBNAIL)
    number_of = {id_: number for number, id_ in enumerate(ids)}
    coloured_by: Literal["label", "cluster"] = "label" if labels else "cluster"
    at_first = label_colours if labels else cluster_colours
    drawn = []
    for arm in placed:
        of_arm = arm.placed["id"]
        points = [
            Point(x, y, number_of[id_], label_colours[id_], cluster_colours[id_])
            for id_, (x, y) in zip(of_arm, _scaled(arm.placed), strict=True)
        ]
        # Points without their own colour are drawn first.
        points.sort(key=lambda point: at_first[ids.iloc[point.image]] > 0)
        drawn.append((arm.name, arm.method, points))
    images = [
        {
            "thumbnail": thumbnails[id_],
            "label": _text(label),
            "cluster": None if pd.isna(cluster) else f"{cluster:.0f}",
        }
        for id_, label, cluster in zip(ids, facts["label"], facts["cluster"], strict=True)
    ]
    return Maps(drawn, labels, clusters_shown, coloured_by, images)


def queries(arms: Sequence[Arm], train: Thumbnails, test: Thumbnails | None) -> list[Query]:
    """Returns some test (or else train) images, with their nearest train images in each arm."""
    found = [arm for arm in arms if not arm.nearest.empty]
    if not found:
        return []
    of_queries = test if test is not None else train
    ids = list(dict.fromkeys(found[0].nearest["query"]))
    thumbnails = of_queries.thumbnails(ids, THUMBNAIL)
    near_thumbnails = train.thumbnails({id_ for arm in found for id_ in arm.nearest["id"]}, THUMBNAIL)
    labels = dict(zip(of_queries.rows["id"], of_queries.rows["label"], strict=True))
    near_labels = dict(zip(train.rows["id"], train.rows["label"], strict=True))
    shown = []
    for query in ids:
        label = _text(labels[query])
        of_arms = []
        for arm in found:
            rows = arm.nearest[arm.nearest["query"] == query].sort_values("rank")
            near = [
                Near(
                    near_thumbnails[id_],
                    _text(near_labels[id_]),
                    _alike(label, _text(near_labels[id_])),
                    cosine,
                )
                for id_, cosine in zip(rows["id"], rows["cosine"], strict=True)
            ]
            of_arms.append((arm.name, arm.method, near))
        shown.append(Query(thumbnails[query], label, of_arms))
    return shown


def _groups(values: pd.Series, name: str) -> list[Group]:
    counts = most_frequent(values).head(GROUPS)
    return [Group(name.format(value), int(n), colour) for colour, (value, n) in enumerate(counts.items(), 1)]


def _colours(values: pd.Series) -> dict[str, int]:
    """Returns the colour of each image's value by id; 0 if the value has no colour of its own."""
    colour_of = {value: colour for colour, value in enumerate(most_frequent(values).head(GROUPS).index, 1)}
    return {str(id_): colour_of.get(value, 0) for id_, value in values.items()}


def _scaled(placed: pd.DataFrame) -> list[tuple[float, float]]:
    """Returns coordinates in units of the map.

    Each axis is scaled separately, because distances mean little in t-SNE.
    """
    places_N2 = placed[["x", "y"]].to_numpy(np.float64) * [1, -1]
    low_2, high_2 = places_N2.min(axis=0), places_N2.max(axis=0)
    room_2 = np.array([MAP_WIDTH - 2 * MARGIN, MAP_HEIGHT - 2 * MARGIN])
    shares_N2 = (places_N2 - low_2) / np.maximum(high_2 - low_2, 1e-12)
    scaled_N2 = MARGIN + shares_N2 * room_2
    return [(round(float(x), 1), round(float(y), 1)) for x, y in scaled_N2]


def _text(label: Any) -> str | None:
    return None if label is None or pd.isna(label) else str(label)


def _alike(label: str | None, other: str | None) -> bool | None:
    return None if label is None or other is None else label == other
