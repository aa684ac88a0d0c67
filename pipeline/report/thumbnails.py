"""Thumbnails of stored images, by id."""

import base64
import io
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import accumulate
from pathlib import Path

import pandas as pd
from PIL import Image

from pipeline.dataset.dataset import ImageSplit
from pipeline.storage.validation import open_parquet, read_parquet


class Thumbnails:
    """The stored images of one split."""

    def __init__(self, split: ImageSplit) -> None:
        self._shards = split.shards
        self.rows = pd.concat([self._read(number) for number in range(len(self._shards))], ignore_index=True)
        """`id`, `label`, `hashtags`, `attributes`, and the position of the image: `shard`, `row`."""

    def _read(self, number: int) -> pd.DataFrame:
        columns = ["id", "label", "hashtags", "attributes"]
        table = read_parquet(self._shards[number], columns=columns)
        values = {name: table[name].to_pylist() for name in columns}
        return pd.DataFrame(values | {"shard": number, "row": range(len(table))})

    def thumbnails(self, ids: Iterable[str], longest: int) -> dict[str, str]:
        """Returns data URIs by id, at most `longest` pixels per side. Reads each row group once."""
        requested = self.rows[self.rows["id"].isin(set(ids))]
        uris: dict[str, str] = {}
        for shard, rows in requested.groupby("shard"):
            found = _encoded(self._shards[int(str(shard))], rows["row"].to_list())
            for id_, encoded in zip(rows["id"], found, strict=True):
                uris[id_] = _data_uri(encoded, longest)
        return uris


def _encoded(shard: Path, rows: list[int]) -> Iterator[bytes]:
    """Yields the stored images at the ascending `rows` of a shard."""
    of_group: dict[int, list[int]] = defaultdict(list)
    with open_parquet(shard) as file:
        sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        ends = list(accumulate(sizes))
        for row in rows:
            group = bisect_right(ends, row)
            of_group[group].append(row - ends[group] + sizes[group])
        for group, inside in of_group.items():
            images = file.read_row_group(group, columns=["image"])["image"]
            yield from (images[row].as_py()["bytes"] for row in inside)


def _data_uri(encoded: bytes, longest: int) -> str:
    with Image.open(io.BytesIO(encoded)) as image:
        small = image.convert("RGB")
    small.thumbnail((longest, longest))
    buffer = io.BytesIO()
    small.save(buffer, format="WEBP", quality=80)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
