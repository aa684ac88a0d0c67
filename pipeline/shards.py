"""Reading what ingest wrote, without decoding any image."""

import re
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from pipeline.borders import check_parquet, damaged, read_json, read_parquet
from pipeline.errors import UserError, listed
from pipeline.schema import INGEST_SUMMARY, IngestSummary, images_schema


def shard_paths(images: Path, split: str) -> list[Path]:
    """The shards of `split`, in order: all of them, whole, and with the images that `summary.json` counts.

    Raises `UserError` that names the file which is not so.
    """
    summary = read_json(images / INGEST_SUMMARY, IngestSummary)
    paths = sorted(images.glob(f"{split}-*-of-*.parquet"))
    if not paths:
        raise UserError(f"{images} holds no {split} shards: run `dvc repro`, which makes them")
    _check_complete(paths, split)
    schema = images_schema(summary["attributes"])
    rows, expected = sum(check_parquet(path, schema) for path in paths), summary["images"].get(split)
    if rows != expected:
        raise damaged(
            images, f"its {split} shards hold {rows} images, and {INGEST_SUMMARY} counts {expected}"
        )
    return paths


def _check_complete(paths: Sequence[Path], split: str) -> None:
    """Each shard's name tells how many there are."""
    count = int(re.findall(r"\d+", paths[0].stem)[-1])
    names = {f"{split}-{number:05d}-of-{count:05d}.parquet" for number in range(count)}
    found = {path.name for path in paths}
    if names != found:
        lacking, others = sorted(names - found), sorted(found - names)
        what = [f"it lacks {listed(lacking, 3)}"] if lacking else []
        what += [f"{listed(others, 3)} belongs to other shards"] if others else []
        raise damaged(paths[0].parent, ", and ".join(what))


def read_columns(images: Path, split: str, columns: Sequence[str]) -> pa.Table:
    """The named columns of all rows of `split`, in the order of the shards."""
    return pa.concat_tables([read_parquet(path, columns=columns) for path in shard_paths(images, split)])
