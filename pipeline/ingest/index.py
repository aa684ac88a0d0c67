"""The index of all images, about a hundred bytes per row in memory, while their bytes are on disk."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.dataset.value_range import Scaled
from pipeline.executors.workers import worker_count
from pipeline.ingest.chunk_files import Chunks, fixed_bytes, refusals_of
from pipeline.ingest.perceptual_hash import THUMBNAIL_BYTES
from pipeline.ingest.prepare import channel_sums
from pipeline.runtime.errors import UserError
from pipeline.sources.base import Refusal
from pipeline.untrusted.isolation.limits import limited
from pipeline.untrusted.isolation.pool import Call, Pool

ENOUGH = 1024
"""Number of passed-through train images that are decoded for the channels' mean and deviation, if there are
so many."""

IMAGES_PER_CALL = 64
SEVERAL_COLORS = -1


@dataclass(frozen=True)
class ImageIndex:
    """Columns over all accepted rows, in the order of the chunks."""

    contents_N2: NDArray[np.uint64]
    """The content hashes, as two numbers each."""
    splits_N: NDArray[np.int8]
    """Codes of `pipeline.ingest.chunk_files.SPLIT_CODES`."""
    labels_N: NDArray[np.int32]
    """Indices in `labels`; -1 for none."""
    labels: list[str]
    """Distinct labels, sorted."""
    sizes_N: NDArray[np.int32]
    """Size of the stored image in bytes."""
    pixels_N: NDArray[np.int32]
    sums_N6: NDArray[np.float64]
    """Channel sums; NaN for an image that was passed through and is not in the sample."""
    passed_N: NDArray[np.bool_]
    further_frames_N: NDArray[np.bool_]
    """Whether the file holds further pages or frames, which are not used."""
    single_colors_N: NDArray[np.int32]
    """The color of images that have only one, as 0xRRGGBB; `SEVERAL_COLORS` for all others."""
    scaled: Counter[Scaled]
    """Number of images of more than 8 bits by the way in which they were scaled."""
    hashes_N: NDArray[np.uint64] | None
    hierarchy_depth: int
    images_with_hashtags: int
    images_with_text: int
    refusals: list[Refusal]

    def __len__(self) -> int:
        return len(self.splits_N)

    def label(self, row: int) -> str | None:
        place = self.labels_N[row]
        return self.labels[place] if place >= 0 else None


MOST_REFUSALS = 500_000
"""Maximum number of refusals. All are held in memory, to be listed with their reasons: some hundred bytes
each."""


class IndexBuilder:
    """Builds an index from one chunk after the other. Thumbnails go to a file, being too large for memory."""

    def __init__(self, thumbnails: Path | None) -> None:
        self._thumbnails = None if thumbnails is None else thumbnails.open("wb")
        self._columns: dict[str, list[NDArray[np.generic]]] = {}
        self._place_of: dict[str, int] = {}
        self._depth = self._with_hashtags = self._with_text = 0
        self._scaled: Counter[Scaled] = Counter()
        self._refusals: list[Refusal] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._thumbnails is not None:
            self._thumbnails.close()

    def add(self, part: pa.Table) -> None:
        self._refusals += refusals_of(part)
        if len(self._refusals) > MOST_REFUSALS:
            reasons = Counter(refusal.reason for refusal in self._refusals).most_common(1)
            raise UserError(
                f"more than {MOST_REFUSALS:,} inputs were refused, most of them because {reasons[0][0]}: "
                "fix the table or what it names"
            )
        sizes = pc.binary_length(pc.struct_field(part.column("image"), "bytes"))
        widths, heights = (part.column(name).to_numpy().astype(np.int64) for name in ("width", "height"))
        sums = part.column("sums").combine_chunks()
        flat = pc.list_flatten(pc.fill_null(sums, [float("nan")] * 6))
        added = {
            "contents": fixed_bytes(part.column("content"), 16).view(np.uint64),
            "splits": part.column("split").to_numpy().astype(np.int8),
            "labels": self._places(part.column("label")),
            "sizes": np.asarray(sizes, np.int32),
            "pixels": (widths * heights).astype(np.int32),
            "sums": np.asarray(flat, np.float64).reshape(-1, 6),
            "passed": np.asarray(part.column("passed"), np.bool_),
            "further_frames": np.asarray(part.column("further_frames"), np.bool_),
            "single_colors": np.asarray(pc.fill_null(part.column("single_color"), SEVERAL_COLORS), np.int32),
        }
        if self._thumbnails is not None:
            added["hashes"] = part.column("hash").to_numpy().astype(np.uint64)
            self._thumbnails.write(fixed_bytes(part.column("thumbnail"), THUMBNAIL_BYTES).tobytes())
        for name, column in added.items():
            self._columns.setdefault(name, []).append(column)
        for low, high, has_missing in part.column("scaled").drop_null().to_pylist():
            self._scaled[Scaled(low, high, bool(has_missing))] += 1
        depths = pc.max(pc.list_value_length(part.column("hierarchy"))).as_py()
        self._depth = max(self._depth, depths or 0)
        tags = pc.list_value_length(part.column("hashtags"))
        self._with_hashtags += pc.sum(pc.greater(tags, 0)).as_py() or 0
        if "text" in part.schema.names:
            self._with_text += part.num_rows - part.column("text").null_count

    def _places(self, labels: pa.ChunkedArray) -> NDArray[np.int32]:
        coded = labels.combine_chunks().dictionary_encode()
        places = [
            self._place_of.setdefault(label, len(self._place_of)) for label in coded.dictionary.to_pylist()
        ]
        codes = np.asarray(pc.fill_null(coded.indices, len(places)), np.intp)
        chosen: NDArray[np.int32] = np.array([*places, -1], np.int32)[codes]
        return chosen

    def index(self) -> ImageIndex:
        """Returns the index of all added chunks."""
        if self._thumbnails is not None:
            self._thumbnails.flush()
        columns: dict[str, NDArray[np.generic]] = defaultdict(lambda: np.empty(0))
        columns |= {name: np.concatenate(parts) for name, parts in self._columns.items()}
        # From the order of their first occurrence to sorted order.
        labels = sorted(self._place_of)
        rank = np.empty(len(labels) + 1, np.int32)
        rank[[self._place_of[label] for label in labels]] = np.arange(len(labels))
        rank[-1] = -1
        return ImageIndex(
            contents_N2=columns["contents"].astype(np.uint64).reshape(-1, 2),
            splits_N=columns["splits"].astype(np.int8),
            labels_N=rank[columns["labels"].astype(np.intp)],
            labels=labels,
            sizes_N=columns["sizes"].astype(np.int32),
            pixels_N=columns["pixels"].astype(np.int32),
            sums_N6=columns["sums"].astype(np.float64).reshape(-1, 6),
            passed_N=columns["passed"].astype(np.bool_),
            further_frames_N=columns["further_frames"].astype(np.bool_),
            single_colors_N=columns["single_colors"].astype(np.int32),
            scaled=self._scaled,
            hashes_N=columns["hashes"].astype(np.uint64) if "hashes" in columns else None,
            hierarchy_depth=self._depth,
            images_with_hashtags=self._with_hashtags,
            images_with_text=self._with_text,
            refusals=self._refusals,
        )


def channel_statistics(
    index: ImageIndex, selected_N: NDArray[np.bool_], parts: Chunks
) -> tuple[list[float], list[float]]:
    """Returns mean and standard deviation of red, green and blue over the pixels of the selected images.

    Images that were passed through are represented by those among them that were decoded: the few chosen by
    their content during preparation and, if these are fewer than `ENOUGH`, further ones up to that number.
    """
    passed_N = index.passed_N & selected_N
    sums_N6 = index.sums_N6
    left_N = passed_N & np.isnan(sums_N6[:, 0])
    missing = ENOUGH - int(np.count_nonzero(passed_N & ~left_N))
    if missing > 0 and left_N.any():
        sums_N6 = sums_N6.copy()
        _decode(sums_N6, _chosen_by_content(index, left_N, missing), parts)
    totals_6 = sums_N6[selected_N & ~passed_N].sum(axis=0)
    sampled_N = passed_N & ~np.isnan(sums_N6[:, 0])
    if sampled_N.any():
        share = index.pixels_N[sampled_N].sum(dtype=np.int64) / index.pixels_N[passed_N].sum(dtype=np.int64)
        totals_6 = totals_6 + sums_N6[sampled_N].sum(axis=0) / share
    means, squares = totals_6.reshape(2, 3) / index.pixels_N[selected_N].sum(dtype=np.int64)
    std = np.sqrt(np.maximum(squares - means**2, 1e-6))
    return [round(float(v), 6) for v in means], [round(float(v), 6) for v in std]


def _chosen_by_content(index: ImageIndex, among_N: NDArray[np.bool_], count: int) -> NDArray[np.bool_]:
    """Chooses `count` images by their content, so that their order does not matter."""
    candidates = np.flatnonzero(among_N)
    chosen_N = np.zeros(len(among_N), np.bool_)
    chosen_N[candidates[np.lexsort(index.contents_N2[candidates].T)[:count]]] = True
    return chosen_N


def _decode(sums_N6: NDArray[np.float64], missing_N: NDArray[np.bool_], parts: Chunks) -> None:
    """Sets the sums of the missing images by decoding them; one that ends its process stays without sums."""
    with closing(Pool(worker_count())) as pool:
        under_way: list[tuple[NDArray[np.intp], Future[list[NDArray[np.float64] | None]]]] = []
        for start, part in parts.all():
            here = np.flatnonzero(missing_N[start : start + len(part)])
            for some in np.split(here, range(IMAGES_PER_CALL, len(here), IMAGES_PER_CALL)):
                images = pc.struct_field(part.column("image"), "bytes").take(pa.array(some)).to_pylist()
                call = Call(sums_of_images, images, (), lambda image, reason: None)
                under_way.append((start + some, pool.submit(call)))
        for rows, done in under_way:
            for row, sums in zip(rows, done.result(), strict=True):
                if sums is not None:
                    sums_N6[row] = sums.ravel()


def sums_of_images(images: Sequence[bytes | None]) -> list[NDArray[np.float64] | None]:
    """Returns the channel sums of each image that ingest stored; runs in a worker process."""
    return [None if image is None else channel_sums(image) for image in limited(images)]
