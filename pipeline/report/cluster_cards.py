"""Cluster cards: statistics and example images of the largest clusters."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from pipeline.report.thumbnails import Thumbnails
from pipeline.storage.schema import ASSIGNMENTS_SCHEMA, Layout
from pipeline.storage.validation import read_parquet
from pipeline.tables.hashtags import normalized_hashtag

CARDS = 12
EXAMPLES = 8
THUMBNAIL = 64
"""Longer side of a thumbnail, in pixels."""
TRAITS = 3
LEAST_SHARE = 0.2
"""Smallest share of a cluster's images with which a trait is shown."""


@dataclass(frozen=True)
class Trait:
    text: str
    """`column=value` or `#tag`."""
    share: float
    """Share of the cluster's images."""


@dataclass(frozen=True)
class Example:
    thumbnail: str
    """Data URI."""
    label: str | None


@dataclass(frozen=True)
class Card:
    cluster: int
    images: int
    share: float
    """Share of all train images."""
    label: str | None
    """The most frequent label; None if no image of the cluster has one."""
    purity: float | None
    """Share of `label` among the labelled images of the cluster."""
    traits: list[Trait]
    examples: list[Example]


def cluster_cards(
    train: Thumbnails, clusters: pd.DataFrame, made_of: Mapping[str, Sequence[str]]
) -> list[Card]:
    """Returns cards of the largest of `clusters` (`id`, `cluster`) of the train images, largest first.

    The `columns` and `hashtags` in `made_of` are not shown as traits, because all images of a cluster agree
    in them.
    """
    columns, hashtags = (frozenset(made_of.get(kind, ())) for kind in ("columns", "hashtags"))

    def count(some: pd.DataFrame) -> Counter[str]:
        return _trait_counts(some, columns, hashtags)

    rows = train.rows.merge(clusters, on="id", how="inner")
    sizes = most_frequent(rows["cluster"]).head(CARDS)
    members = {cluster: rows[rows["cluster"] == cluster] for cluster in sizes.index}
    examples = {cluster: _examples(inside) for cluster, inside in members.items()}
    thumbnails = train.thumbnails([id_ for shown in examples.values() for id_ in shown["id"]], THUMBNAIL)
    overall = count(rows)
    cards = []
    for cluster, size in sizes.items():
        labels = most_frequent(members[cluster]["label"])
        shown = examples[cluster]
        cards.append(
            Card(
                cluster=int(str(cluster)),
                images=int(size),
                share=int(size) / len(rows),
                label=None if labels.empty else str(labels.index[0]),
                purity=None if labels.empty else float(labels.iloc[0] / labels.sum()),
                traits=_frequent_traits(count(members[cluster]), int(size), overall, len(rows)),
                examples=[
                    Example(thumbnails[id_], None if pd.isna(label) else str(label))
                    for id_, label in zip(shown["id"], shown["label"], strict=True)
                ],
            )
        )
    return cards


def last_clusters(layout: Layout, arm: str) -> pd.DataFrame:
    """Returns `id` and `cluster` of the train images, after the last re-clustering if there is one."""
    reclustered = layout.encoder(arm) / "assignments.parquet"
    path = reclustered if reclustered.exists() else layout.assignments(arm)
    found: pd.DataFrame = read_parquet(path, ASSIGNMENTS_SCHEMA, ASSIGNMENTS_SCHEMA.names).to_pandas()
    return found


def most_frequent(values: pd.Series) -> pd.Series:
    """Returns counts of the values without missing ones: highest first, ties in ascending order of values."""
    return values.dropna().value_counts().sort_index().sort_values(ascending=False, kind="stable")


def _trait_counts(
    rows: pd.DataFrame, without_columns: frozenset[str], without_hashtags: frozenset[str]
) -> Counter[str]:
    counts: Counter[str] = Counter()
    for attributes, hashtags in zip(rows["attributes"], rows["hashtags"], strict=True):
        # pandas returns NaN for an absent struct or list.
        if isinstance(attributes, dict):
            counts.update(
                f"{name}={value}"
                for name, value in attributes.items()
                if value is not None and name not in without_columns
            )
        if isinstance(hashtags, list):
            tags = {tag for tag in hashtags if normalized_hashtag(tag) not in without_hashtags}
            counts.update(f"#{tag}" for tag in tags)
    return counts


def _frequent_traits(inside: Counter[str], members: int, overall: Counter[str], images: int) -> list[Trait]:
    """Returns the traits more frequent in the cluster than overall, by the difference of the shares."""

    def excess(trait: str) -> float:
        return inside[trait] / members - overall[trait] / images

    # A value of only one image, such as an article number, does not describe a cluster.
    shared = [trait for trait in inside if overall[trait] > 1]
    frequent = [trait for trait in shared if inside[trait] / members >= LEAST_SHARE and excess(trait) > 0]
    best = sorted(frequent, key=lambda trait: (-excess(trait), trait))[:TRAITS]
    return [Trait(trait, inside[trait] / members) for trait in best]


def _examples(members: pd.DataFrame) -> pd.DataFrame:
    """Returns evenly spaced members of the cluster, so that the examples are not neighbours in the source."""
    step = max(1, len(members) // EXAMPLES)
    return members.iloc[::step].head(EXAMPLES)
