"""Stage 1: source rows -> checked, resized, sharded Parquet, with every refusal kept."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import UserError
from pipeline.files import replaced_directory, write_json
from pipeline.ingest.images import ImageRefused, PreparedImage, prepare_image
from pipeline.ingest.params import IngestParams
from pipeline.ingest.shards import write_shards
from pipeline.ingest.splits import split_by_content
from pipeline.progress import counted
from pipeline.schema import REJECTS_SCHEMA, IngestSummary, Layout, images_schema
from pipeline.sources.base import Refusal, Source, SourceRow, Split
from pipeline.sources.checked import checked
from pipeline.sources.registry import open_source

ROWS_A_BATCH = 512
SPLITS: tuple[Split, ...] = ("train", "test")


@dataclass
class Census:
    """What is remembered of every image while its bytes go to the disk, one entry a row."""

    content_hashes: list[bytes] = field(default_factory=list)
    labels: list[str | None] = field(default_factory=list)
    splits: list[Split | None] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    channel_sums: list[np.ndarray] = field(default_factory=list)
    pixels: list[int] = field(default_factory=list)
    hierarchy_depth: int = 0
    images_with_hashtags: int = 0
    refusals: list[Refusal] = field(default_factory=list)

    def add(self, row: SourceRow, image: PreparedImage) -> None:
        self.content_hashes.append(image.content_hash)
        self.labels.append(row.label)
        self.splits.append(row.split)
        self.sizes.append(len(image.encoded))
        self.channel_sums.append(image.channel_sums)
        self.pixels.append(image.width * image.height)
        self.hierarchy_depth = max(self.hierarchy_depth, len(row.hierarchy))
        self.images_with_hashtags += bool(row.hashtags)


def ingest(params: IngestParams, seed: int, layout: Layout) -> IngestSummary:
    """Fills `layout.images`. Raises `UserError` for a source that can't be read or refuses too much."""
    source = open_source(params, seed)
    schema = images_schema(source.attribute_names)
    with replaced_directory(layout.images) as folder:
        staged = folder / "staged.arrow"
        census = _stage(source, schema, params, staged)
        _check_refusals(census, params)
        splits = _decide_splits(census, params)
        for split in SPLITS:
            total = sum(size for size, its in zip(census.sizes, splits, strict=True) if its == split)
            write_shards(_staged_rows(staged, splits, split), schema, folder, split, total)
        staged.unlink()
        rejects = [{"where": refusal.where, "reason": refusal.reason} for refusal in census.refusals]
        pq.write_table(pa.Table.from_pylist(rejects, REJECTS_SCHEMA), folder / layout.rejects.name)
        summary = _summarise(census, splits, params, source)
        write_json(folder / layout.ingest_summary.name, summary)
    return summary


def _stage(source: Source, schema: pa.Schema, params: IngestParams, staged: Path) -> Census:
    """Writes all accepted rows to one Arrow file: where they go is known only when all were seen."""
    census = Census()
    with (
        pa.OSFile(str(staged), "wb") as sink,
        pa.ipc.new_stream(sink, schema) as writer,
        ThreadPoolExecutor(os.cpu_count()) as threads,
    ):
        rows = counted(checked(source.rows()), "ingest")
        while batch := list(islice(rows, ROWS_A_BATCH)):
            # Pillow frees the interpreter's lock while it decodes, resizes and encodes.
            prepared = threads.map(lambda row: _prepare(row, params.image_size), batch)
            accepted = []
            for row, result in zip(batch, prepared, strict=True):
                if isinstance(row, SourceRow) and isinstance(result, PreparedImage):
                    census.add(row, result)
                    accepted.append(_record(row, result))
                else:
                    assert isinstance(result, Refusal)
                    census.refusals.append(result)
            writer.write_table(pa.Table.from_pylist(accepted, schema))
    return census


def _prepare(row: SourceRow | Refusal, size: int) -> PreparedImage | Refusal:
    if isinstance(row, Refusal):
        return row
    try:
        return prepare_image(row.image, size)
    except ImageRefused as refused:
        return Refusal(row.path, str(refused))


def _record(row: SourceRow, image: PreparedImage) -> dict[str, object]:
    return {
        "id": row.id,
        "image": {"bytes": image.encoded, "path": row.path},
        "label": row.label,
        "hashtags": row.hashtags,
        "attributes": row.attributes or None,
        "hierarchy": row.hierarchy,
        "width": image.width,
        "height": image.height,
    }


def _check_refusals(census: Census, params: IngestParams) -> None:
    accepted, refused = len(census.labels), len(census.refusals)
    reasons = Counter(refusal.reason for refusal in census.refusals).most_common(3)
    told = "; ".join(
        f"{count} x {reason}, e.g. {next(r.where for r in census.refusals if r.reason == reason)}"
        for reason, count in reasons
    )
    if not accepted:
        raise UserError(
            f"ingest.source={params.source} (ingest.path={params.path}) gave no usable image"
            + (f" ({told})" if told else ": it holds no row")
        )
    share = refused / (accepted + refused)
    if share > params.max_reject_fraction:
        raise UserError(
            f"{refused} of {accepted + refused} inputs ({share:.1%}) were refused, more than "
            f"ingest.max_reject_fraction={params.max_reject_fraction} allows ({told}): mend them or raise it"
        )


def _decide_splits(census: Census, params: IngestParams) -> list[Split]:
    named = [split for split in census.splits if split is not None]
    if named:
        assert len(named) == len(census.splits), "a source names every split or none"
        return named
    return split_by_content(census.content_hashes, census.labels, params.test_fraction)


def _staged_rows(staged: Path, splits: list[Split], wanted: Split) -> Iterator[pa.Table]:
    position = 0
    with pa.memory_map(str(staged)) as mapped, pa.ipc.open_stream(mapped) as reader:
        for batch in reader:
            mask = [split == wanted for split in splits[position : position + len(batch)]]
            position += len(batch)
            yield pa.Table.from_batches([batch.filter(pa.array(mask, pa.bool_()))])


def _summarise(census: Census, splits: list[Split], params: IngestParams, source: Source) -> IngestSummary:
    hashes_of = {
        s: [h for h, its in zip(census.content_hashes, splits, strict=True) if its == s] for s in SPLITS
    }
    labels_of = {s: [lb for lb, its in zip(census.labels, splits, strict=True) if its == s] for s in SPLITS}
    mean, deviation = _channel_statistics(census, splits)
    train_hashes = set(hashes_of["train"])
    return {
        "source": params.source,
        "images": {s: len(hashes_of[s]) for s in SPLITS},
        "rejected": len(census.refusals),
        "labels": sorted({label for label in census.labels if label is not None}),
        "unlabelled": {s: sum(label is None for label in labels_of[s]) for s in SPLITS},
        "attributes": source.attribute_names,
        "hierarchy_depth": census.hierarchy_depth,
        "images_with_hashtags": census.images_with_hashtags,
        "duplicates": sum(len(hashes) - len(set(hashes)) for hashes in hashes_of.values()),
        "leaks": sum(content in train_hashes for content in hashes_of["test"]),
        "mean": mean,
        "deviation": deviation,
        "bytes": sum(census.sizes),
        "notes": source.notes,
    }


def _channel_statistics(census: Census, splits: list[Split]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of red, green and blue over all train pixels (all, if none is train)."""
    train = [index for index, split in enumerate(splits) if split == "train"] or range(len(splits))
    pixels = sum(census.pixels[index] for index in train)
    sums, squares = _total(census.channel_sums[index] for index in train) / pixels
    deviation = np.sqrt(np.maximum(squares - sums**2, 1e-6))
    return [round(float(v), 6) for v in sums], [round(float(v), 6) for v in deviation]


def _total(arrays: Iterable[np.ndarray]) -> np.ndarray:
    total: np.ndarray = np.sum(list(arrays), axis=0)
    return total
