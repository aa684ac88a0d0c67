"""Cluster cards: what the largest clusters hold, in figures and example pictures."""

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
"""Pixels of a thumbnail's longer side."""
TRAITS = 3
LEAST_SHARE = 0.2
"""A trait that fewer of a cluster's images have is not shown as its mark."""


@dataclass(frozen=True)
class Trait:
    text: str
    """`column=value` or `#tag`."""
    share: float
    """Of the cluster's images."""


@dataclass(frozen=True)
class Example:
    picture: str
    """A data URI."""
    label: str | None


@dataclass(frozen=True)
class Card:
    cluster: int
    images: int
    share: float
    """Of all train images."""
    label: str | None
    """The most frequent one, None where no image of the cluster has a label."""
    purity: float | None
    """Share of `label` among the cluster's labelled images."""
    traits: list[Trait]
    examples: list[Example]


def cluster_cards(
    album: Thumbnails, clusters: pd.DataFrame, made_of: Mapping[str, Sequence[str]]
) -> list[Card]:
    """The largest of `clusters` (`id`, `cluster`) of the train images, largest first.

    The `columns` and `hashtags` in `made_of` are left out of the traits, as all images of a cluster agree in
    them.
    """
    columns, hashtags = (frozenset(made_of.get(kind, ())) for kind in ("columns", "hashtags"))

    def count(some: pd.DataFrame) -> Counter[str]:
        return _trait_counts(some, columns, hashtags)

    rows = album.rows.merge(clusters, on="id", how="inner")
    sizes = most_frequent(rows["cluster"]).head(CARDS)
    members = {cluster: rows[rows["cluster"] == cluster] for cluster in sizes.index}
    examples = {cluster: _examples(inside) for cluster, inside in members.items()}
    pictures = album.thumbnails([id_ for shown in examples.values() for id_ in shown["id"]], THUMBNAIL)
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
                traits=_marks(count(members[cluster]), int(size), overall, len(rows)),
                examples=[
                    Example(pictures[id_], None if pd.isna(label) else str(label))
                    for id_, label in zip(shown["id"], shown["label"], strict=True)
                ],
            )
        )
    return cards


def last_clusters(layout: Layout, arm: str) -> pd.DataFrame:
    """`id` and `cluster` of the train images, as the trainer remade them where it did."""
    remade = layout.encoder(arm) / "assignments.parquet"
    path = remade if remade.exists() else layout.assignments(arm)
    found: pd.DataFrame = read_parquet(path, ASSIGNMENTS_SCHEMA, ASSIGNMENTS_SCHEMA.names).to_pandas()
    return found


def most_frequent(values: pd.Series) -> pd.Series:
    """How often each value occurs, the most frequent first, of equals the smaller; missing ones aside."""
    return values.dropna().value_counts().sort_index().sort_values(ascending=False, kind="stable")


def _trait_counts(
    rows: pd.DataFrame, without_columns: frozenset[str], without_hashtags: frozenset[str]
) -> Counter[str]:
    counts: Counter[str] = Counter()
    for attributes, hashtags in zip(rows["attributes"], rows["hashtags"], strict=True):
        # An absent struct or list comes back from pandas as NaN.
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


def _marks(inside: Counter[str], members: int, overall: Counter[str], images: int) -> list[Trait]:
    """What is more frequent in the cluster than elsewhere, by the difference of the two shares."""

    def excess(trait: str) -> float:
        return inside[trait] / members - overall[trait] / images

    # What one image alone has, such as its article number, marks no cluster.
    shared = [trait for trait in inside if overall[trait] > 1]
    frequent = [trait for trait in shared if inside[trait] / members >= LEAST_SHARE and excess(trait) > 0]
    best = sorted(frequent, key=lambda trait: (-excess(trait), trait))[:TRAITS]
    return [Trait(trait, inside[trait] / members) for trait in best]


def _examples(members: pd.DataFrame) -> pd.DataFrame:
    """Members at even steps through the cluster, so that neighbours in the source do not fill the card."""
    step = max(1, len(members) // EXAMPLES)
    return members.iloc[::step].head(EXAMPLES)
