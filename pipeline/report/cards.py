"""Cluster cards: what the largest clusters hold, in figures and example pictures."""

import base64
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
from PIL import Image

from pipeline.schema import Layout
from pipeline.shards import shard_paths

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


def cluster_cards(layout: Layout, arm: str) -> list[Card]:
    """The largest clusters that the arm's encoder was last trained on, largest first."""
    shards = shard_paths(layout.images, "train")
    rows = _read_rows(shards)
    rows = rows.merge(_last_assignments(layout, arm), on="id", how="inner")
    sizes = rows["cluster"].value_counts().sort_index().sort_values(ascending=False, kind="stable")
    overall = _trait_counts(rows)
    cards = []
    for cluster, size in sizes.head(CARDS).items():
        members = rows[rows["cluster"] == cluster]
        labels = (
            members["label"].dropna().value_counts().sort_index().sort_values(ascending=False, kind="stable")
        )
        cards.append(
            Card(
                cluster=int(str(cluster)),
                images=int(size),
                share=int(size) / len(rows),
                label=None if labels.empty else str(labels.index[0]),
                purity=None if labels.empty else float(labels.iloc[0] / labels.sum()),
                traits=_marks(_trait_counts(members), len(members), overall, len(rows)),
                examples=_examples(shards, members),
            )
        )
    return cards


def _last_assignments(layout: Layout, arm: str) -> pd.DataFrame:
    """The trainer writes its own assignments where it re-clusters; they take the place of the first ones."""
    remade = layout.encoder(arm) / "assignments.parquet"
    return pd.read_parquet(remade if remade.exists() else layout.assignments(arm), columns=["id", "cluster"])


def _read_rows(shards: Sequence[Path]) -> pd.DataFrame:
    """Everything of the train images but the images, and where each stands: `shard`, `row`."""
    columns = ["id", "label", "hashtags", "attributes"]
    parts = []
    for number, shard in enumerate(shards):
        table = pq.read_table(shard, columns=columns).select(columns)
        part = {name: table[name].to_pylist() for name in columns}
        parts.append(pd.DataFrame(part | {"shard": number, "row": range(len(table))}))
    return pd.concat(parts, ignore_index=True)


def _trait_counts(rows: pd.DataFrame) -> Counter[str]:
    counts: Counter[str] = Counter()
    for attributes, hashtags in zip(rows["attributes"], rows["hashtags"], strict=True):
        counts.update(_traits(attributes, hashtags))
    return counts


def _traits(attributes: dict[str, str | None] | None, hashtags: Sequence[str] | None) -> Iterator[str]:
    # An absent struct or list comes back from pandas as NaN.
    if isinstance(attributes, dict):
        yield from (f"{name}={value}" for name, value in attributes.items() if value is not None)
    if isinstance(hashtags, list):
        yield from {f"#{tag}" for tag in hashtags}


def _marks(inside: Counter[str], members: int, overall: Counter[str], images: int) -> list[Trait]:
    """What is more frequent in the cluster than elsewhere, by the difference of the two shares."""

    def excess(trait: str) -> float:
        return inside[trait] / members - overall[trait] / images

    frequent = [trait for trait in inside if inside[trait] / members >= LEAST_SHARE and excess(trait) > 0]
    best = sorted(frequent, key=lambda trait: (-excess(trait), trait))[:TRAITS]
    return [Trait(trait, inside[trait] / members) for trait in best]


def _examples(shards: Sequence[Path], members: pd.DataFrame) -> list[Example]:
    """Members at even steps through the cluster, so that neighbours in the source do not fill the card."""
    step = max(1, len(members) // EXAMPLES)
    picked = members.iloc[::step].head(EXAMPLES)
    examples = []
    for shard, row, label in zip(picked["shard"], picked["row"], picked["label"], strict=True):
        encoded = _image_bytes(shards[int(shard)], int(row))
        examples.append(Example(_data_uri(encoded), None if pd.isna(label) else str(label)))
    return examples


def _image_bytes(shard: Path, row: int) -> bytes:
    """Reads the one row group that holds `row`."""
    file: Any = pq.ParquetFile(shard)
    for group in range(file.num_row_groups):
        rows = file.metadata.row_group(group).num_rows
        if row < rows:
            encoded: bytes = file.read_row_group(group, columns=["image"])["image"][row].as_py()["bytes"]
            return encoded
        row -= rows
    raise AssertionError(f"{shard} has no such row")


def _data_uri(encoded: bytes) -> str:
    with Image.open(io.BytesIO(encoded)) as image:
        small = image.convert("RGB")
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    small.save(buffer, format="WEBP", quality=80)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
