"""Stage 1: source rows -> checked, resized, sharded Parquet, with every refusal kept."""

import math
from dataclasses import replace
from operator import length_hint
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.config.ingest import IngestParams
from pipeline.dataset.label_notes import label_notes
from pipeline.dataset.value_range import scaling_notes
from pipeline.executors.select import ExecutorName
from pipeline.ingest.chunk_files import SPLIT_CODES, Chunks, chunk_folder, read_chunk
from pipeline.ingest.chunks import Task
from pipeline.ingest.contradictions import contradiction_notes
from pipeline.ingest.duplicates import TRAIN, Duplicates, duplicate_notes, find_duplicates
from pipeline.ingest.image_notes import blank_notes, check_train_differs, frame_notes
from pipeline.ingest.index import SEVERAL_COLORS, ImageIndex, IndexBuilder, channel_statistics
from pipeline.ingest.parallel import prepared_chunks
from pipeline.ingest.perceptual_hash import THUMBNAIL_BYTES
from pipeline.ingest.shard_writer import write_shards
from pipeline.ingest.split import split_by_content
from pipeline.ingest.unknown_values import unknown_value_notes
from pipeline.runtime.errors import UserError, listed
from pipeline.runtime.progress import counted
from pipeline.sources.base import Refusal, Source, Split
from pipeline.sources.reading.row_checks import checked
from pipeline.sources.reading.split_names import meaning_of_validation
from pipeline.sources.registry import open_source
from pipeline.storage.checksums import write_checksummed
from pipeline.storage.files import write_json
from pipeline.storage.outputs import IMAGE_FILES, replaced_output
from pipeline.storage.schema import REJECTS_SCHEMA, IngestSummary, Layout, ValueRange, images_schema
from pipeline.tables.refused import Refused

SPLITS: tuple[Split, ...] = ("train", "test")
NO_LABEL = -1
DROPPED = -1
"""Split code of an image that is removed."""
MOST_ENLARGED = 8.0
"""Maximum enlargement: that of digits of 28 pixels for a network of 224."""
NEVER_COSTLY = 64
"""Image size in pixels up to which any enlargement is allowed."""


def ingest(
    params: IngestParams, seed: int, layout: Layout, executor: ExecutorName = ExecutorName.LOCAL
) -> IngestSummary:
    """Fills `layout.images`, with the same bytes on every executor.

    Raises `UserError` for a source that can't be read or refuses too much.
    """
    source = open_source(params, seed)
    schema = images_schema(source.attribute_names, with_text=params.columns.text is not None)
    value_range = None if params.value_range is None else ValueRange(*params.value_range)
    task = Task(schema, params.image_size, params.near_duplicates, value_range)
    choices = f"{params.source} {params.path} {params.image_size} {params.near_duplicates} {seed}"
    with chunk_folder(choices) as state, replaced_output(layout.images, IMAGE_FILES) as folder:
        thumbnails = state / "thumbnails.bin"
        parts = Chunks()
        with IndexBuilder(thumbnails if params.near_duplicates else None) as taker:
            rows = counted(checked(source.rows()), "ingest", length_hint(source) or None)
            for path in prepared_chunks(rows, task, state, executor):
                part = read_chunk(path)
                taker.add(part)
                parts.append(path, len(part))
            index = taker.index()
        _check_refusals(index, params)
        _check_image_size(index, params)
        splits_N, notes = _decide_splits(index, params)
        _check_train(splits_N, index, params)
        duplicates = _find_duplicates(index, splits_N, thumbnails)
        if params.leaks == "drop_train":
            index, splits_N = _without_leaks(index, splits_N, duplicates, parts)
        ids = _ids(parts)
        columns = index.contents_N2, index.single_colors_N, index.further_frames_N
        check_train_differs(*columns, splits_N == TRAIN, ids)
        write_shards(parts, _in_split(splits_N), index.sizes_N, schema, folder)
        rejects = [{"where": refusal.where, "reason": refusal.reason} for refusal in index.refusals]
        write_checksummed(pa.Table.from_pylist(rejects, REJECTS_SCHEMA), folder / layout.rejects.name)
        duplicates = duplicates.without(splits_N == DROPPED)
        write_checksummed(duplicates.table(ids), folder / layout.duplicates.name)
        notes = [*source.notes, *notes, *scaling_notes(index.scaled, value_range)]
        notes += _name_notes(source.attribute_names)
        notes += unknown_value_notes(parts, source.attribute_names, params.source)
        kept_N = splits_N != DROPPED
        notes += frame_notes(index.further_frames_N & kept_N, ids)
        notes += blank_notes(np.where(kept_N, index.single_colors_N, SEVERAL_COLORS), ids)
        summary = _summarise(index, splits_N, duplicates, parts, params, source, notes)
        write_json(folder / layout.ingest_summary.name, summary)
    return summary


def _check_refusals(index: ImageIndex, params: IngestParams) -> None:
    refusals = index.refusals
    accepted, refused = len(index), len(refusals)
    reasons = Refused((refusal.reason, refusal.where) for refusal in refusals).in_words()
    if not accepted:
        raise UserError(
            f"ingest.source={params.source} (ingest.path={params.path}) gave no usable image"
            + (f" ({reasons})" if reasons else ": it holds no row")
        )
    share = refused / (accepted + refused)
    if share > params.max_reject_fraction:
        raise UserError(
            f"{refused} of {accepted + refused} inputs ({share:.1%}) were refused, more than "
            f"ingest.max_reject_fraction={params.max_reject_fraction} allows ({reasons}): "
            "fix them or raise it"
        )


def _check_image_size(index: ImageIndex, params: IngestParams) -> None:
    """Raises `UserError` if `image_size` would enlarge half of the images too much.

    Training and evaluation bring every image to this size, at a cost that grows with its square.
    """
    side = math.sqrt(np.median(index.pixels_N))
    times = params.image_size / side
    if params.image_size > NEVER_COSTLY and times > MOST_ENLARGED:
        raise UserError(
            f"ingest.image_size={params.image_size} would enlarge half of the images {times:,.0f} times or "
            f"more, as they have {side:,.0f} pixels a side, and show nothing more: lower it to "
            f"{max(NEVER_COSTLY, round(MOST_ENLARGED * side))} or less"
        )


def _decide_splits(index: ImageIndex, params: IngestParams) -> tuple[NDArray[np.int8], list[str]]:
    """Returns the split of each row, and notes on what was decided."""
    named = index.splits_N >= 0
    if named.any():
        assert named.all(), "a source names every split or none"
        return _with_validation(index.splits_N)
    contents = [content.tobytes() for content in index.contents_N2]
    labels = [index.label(row) for row in range(len(index))]
    splits = split_by_content(contents, labels, params.test_fraction)
    return np.array([SPLIT_CODES[split] for split in splits], np.int8), []


def _with_validation(splits_N: NDArray[np.int8]) -> tuple[NDArray[np.int8], list[str]]:
    """Uses validation images as test images if there are no others, else as train images."""
    validation_N = splits_N == SPLIT_CODES["validation"]
    if not validation_N.any():
        return splits_N, []
    meaning, why = meaning_of_validation(has_test=bool((splits_N == SPLIT_CODES["test"]).any()))
    note = f"{np.count_nonzero(validation_N):,} validation images are taken as {meaning} images, since {why}"
    return np.where(validation_N, np.int8(SPLIT_CODES[meaning]), splits_N), [note]


def _find_duplicates(index: ImageIndex, splits_N: NDArray[np.int8], thumbnails: Path) -> Duplicates:
    if index.hashes_N is None:
        return find_duplicates(index.contents_N2, splits_N)
    looks_NB = np.memmap(thumbnails, np.uint8, "r").reshape(-1, THUMBNAIL_BYTES)
    return find_duplicates(index.contents_N2, splits_N, index.hashes_N, looks_NB)


def _without_leaks(
    index: ImageIndex, splits_N: NDArray[np.int8], duplicates: Duplicates, parts: Chunks
) -> tuple[ImageIndex, NDArray[np.int8]]:
    """Removes the train images that are also in test, each with a refusal that names the test image."""
    leaking = duplicates.leaking_train()
    if len(leaking) == np.count_nonzero(splits_N == TRAIN) > 0:
        raise UserError(
            "every train image is also in test, and ingest.leaks=drop_train would take all out: fix the "
            "split, or set ingest.leaks=keep"
        )
    ids = _ids(parts)
    removed = []
    for row in leaking.tolist():
        of, kind = duplicates.of(row)
        what = "an exact" if kind == "exact" else "a near"
        reason = f"{what} duplicate of the test image {ids[of].as_py()} (ingest.leaks=drop_train)"
        removed.append(Refusal(ids[row].as_py(), reason))
    splits_N = splits_N.copy()
    splits_N[leaking] = DROPPED
    return replace(index, refusals=index.refusals + removed), splits_N


def _in_split(splits_N: NDArray[np.int8]) -> dict[str, NDArray[np.bool_]]:
    return {split: splits_N == SPLIT_CODES[split] for split in SPLITS}


def _ids(parts: Chunks) -> pa.ChunkedArray:
    return pa.chunked_array(
        [chunk for _, part in parts.all() for chunk in part.column("id").chunks], pa.string()
    )


def _summarise(
    index: ImageIndex,
    splits_N: NDArray[np.int8],
    duplicates: Duplicates,
    parts: Chunks,
    params: IngestParams,
    source: Source,
    notes: list[str],
) -> IngestSummary:
    in_split = _in_split(splits_N)
    mean, std = channel_statistics(index, in_split["train"], parts)
    kept_N = splits_N != DROPPED
    summary: IngestSummary = {
        "source": params.source,
        "images": {split: int(np.count_nonzero(chosen)) for split, chosen in in_split.items()},
        "rejected": len(index.refusals),
        "labels": [index.labels[place] for place in np.unique(index.labels_N[kept_N]) if place >= 0],
        "unlabelled": {
            split: int(np.count_nonzero(index.labels_N[chosen] < 0)) for split, chosen in in_split.items()
        },
        "attributes": source.attribute_names,
        "hierarchy_depth": index.hierarchy_depth,
        "images_with_hashtags": index.images_with_hashtags,
        "duplicates": duplicates.count(near=False, leaks=False),
        "leaks": duplicates.count(near=False, leaks=True),
        "near_duplicates": duplicates.count(near=True, leaks=False) if params.near_duplicates else None,
        "near_leaks": duplicates.count(near=True, leaks=True) if params.near_duplicates else None,
        "mean": mean,
        "std": std,
        "bytes": int(index.sizes_N[kept_N].sum(dtype=np.int64)),
        "value_range": params.value_range,
        "notes": [
            *notes,
            *_label_notes(index, kept_N),
            *_test_notes(index, in_split),
            *duplicate_notes(duplicates),
        ],
    }
    if params.columns.text is not None:
        summary["images_with_text"] = index.images_with_text
    return summary


def _check_train(splits_N: NDArray[np.int8], index: ImageIndex, params: IngestParams) -> None:
    if (splits_N == TRAIN).any():
        return
    refused = f", and {len(index.refusals)} inputs were refused" if index.refusals else ""
    raise UserError(
        f"ingest.source={params.source} (ingest.path={params.path}) gave {len(index)} test images and no "
        f"train image{refused}: name the train images, or none as of a split"
    )


def _name_notes(attributes: list[str]) -> list[str]:
    alike: dict[str, list[str]] = {}
    for name in attributes:
        alike.setdefault(name.casefold(), []).append(name)
    same = [" and ".join(names[:4]) for names in alike.values() if len(names) > 1]
    if not same:
        return []
    return [
        f"attributes whose names differ in case alone ({listed(same, 4)}) are mixed up by readers such as "
        "DuckDB: rename them, or leave all but one out by ingest.columns.attributes"
    ]


def _label_notes(index: ImageIndex, kept_N: NDArray[np.bool_]) -> list[str]:
    labelled_N = kept_N & (index.labels_N >= 0)
    labels_L = index.labels_N[labelled_N]
    present, images = np.unique(labels_L, return_counts=True)
    return [
        *label_notes([index.labels[label] for label in present], images),
        *contradiction_notes(
            index.contents_N2[labelled_N], labels_L, index.single_colors_N[labelled_N] != SEVERAL_COLORS
        ),
    ]


def _test_notes(index: ImageIndex, in_split: dict[str, NDArray[np.bool_]]) -> list[str]:
    """Returns notes on why the test images will measure nothing, or little, before any training."""
    if not in_split["test"].any():
        return ["there is no test image: evaluation will have nothing to measure on"]
    train, test = (np.setdiff1d(index.labels_N[in_split[split]], [NO_LABEL]) for split in SPLITS)
    if not len(train):
        return []  # the source's notes say so
    if not len(test):
        return ["no test image has a label: evaluation will have nothing to measure on"]
    notes = []
    if len(test) == 1:
        notes.append("all test images have one label: an encoder that knows nothing would reach 100 %")
    if unseen := np.setdiff1d(test, train).tolist():
        labels_N = index.labels_N[in_split["test"]]
        images = int(np.isin(labels_N, unseen).sum())
        reachable = 1 - images / np.count_nonzero(labels_N >= 0)
        names = listed([index.labels[label] for label in unseen], 6)
        notes.append(
            f"{images:,} test images have one of {len(unseen):,} labels that no train image has ({names}): "
            f"at most {reachable:.1%} can be reached"
        )
    return notes
