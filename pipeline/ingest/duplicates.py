"""Exact and near duplicates among the images.

Exact duplicates have the same content hash. Near duplicates differ in at most `MAX_DISTANCE` of the 64 bits
of their perceptual hashes, and little in their thumbnails: without the second check, all flat pictures on
white would be the same.
"""

from dataclasses import dataclass, replace
from itertools import combinations, pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.ingest.perceptual_hash import THUMBNAIL, THUMBNAIL_BYTES
from pipeline.storage.schema import DUPLICATES_SCHEMA

MAX_DISTANCE = 4
MAX_DIFFERENCE = 2.5
"""Maximum mean difference of two thumbnails, of 255, outside the background: in a catalogue all pictures have
the same white around them. An image that is saved again as JPEG or scaled stays below; another colour of the
same model does not."""
MIN_CORRELATION = 0.96
MAX_BACKGROUND = 0.25
"""Share of flat background up to which an image is a photograph. Two of them may also differ in brightness
and contrast, if their thumbnails correlate by `MIN_CORRELATION`."""
FLAT = 8.0
"""Gray values by which the background may differ from the median of the thumbnail's border."""

BANDS = 6
SHARED_BANDS = 2
"""Number of equal bands of a pair that is compared. Four different bits leave at least two of six bands equal
(the pigeonhole principle), so other pairs need not be compared."""
MOST_COMPARED = 1024
"""Maximum number of neighbours in a bucket with which an image is compared."""
ROWS_AT_ONCE = 1 << 20

NONE = np.iinfo(np.int64).max
INDEX_BITS = 32
TRAIN, TEST = 0, 1
SPLIT_NAMES = ("train", "test")


LEAKED_SHARE = 0.01
"""Share of the test images from which repeated train images among them are noted."""


@dataclass(frozen=True)
class Duplicates:
    """For each image, the nearest earlier one in its own split, and the nearest one in the other split.

    int64 (N,): distance << 32 | row, with distance 0 for exact matches and 1 + bits for near ones; NONE if
    there is no match.
    """

    own_N: NDArray[np.int64]
    other_N: NDArray[np.int64]
    splits_N: NDArray[np.int8]
    truncated_buckets: int
    """Number of images with more look-alikes than were compared."""

    def count(self, *, near: bool, leaks: bool) -> int:
        """Counts repeated images within a split, or test images that are also in train."""
        matches = self.other_N[self.splits_N == TEST] if leaks else self.own_N
        found = matches[matches != NONE] >> INDEX_BITS
        return int(np.count_nonzero(found > 0 if near else found == 0))

    def without(self, dropped_N: NDArray[np.bool_]) -> "Duplicates":
        """Returns the duplicates without these rows; images that matched one of them lose that match."""

        def left(matches_N: NDArray[np.int64]) -> NDArray[np.int64]:
            of_N = np.where(matches_N == NONE, 0, matches_N & ((1 << INDEX_BITS) - 1))
            return np.where(dropped_N | dropped_N[of_N], NONE, matches_N)

        return replace(self, own_N=left(self.own_N), other_N=left(self.other_N))

    def leaking_train(self) -> NDArray[np.int64]:
        """Returns the train rows that are also in test."""
        return np.flatnonzero((self.splits_N == TRAIN) & (self.other_N != NONE))

    def of(self, row: int) -> tuple[int, str]:
        """Returns the matching row in the other split, and whether it is an exact or a near match."""
        match = int(self.other_N[row])
        return match & ((1 << INDEX_BITS) - 1), "exact" if match >> INDEX_BITS == 0 else "near"

    def table(self, ids: pa.ChunkedArray) -> pa.Table:
        """Returns the table `duplicates.parquet`; `ids` are those of all N images."""
        tables = []
        for matches_N in (self.own_N, self.other_N):
            rows = np.flatnonzero(matches_N != NONE)
            of = matches_N[rows] & ((1 << INDEX_BITS) - 1)
            distances = matches_N[rows] >> INDEX_BITS
            columns = [
                ids.take(pa.array(rows)),
                ids.take(pa.array(of)),
                pa.array(np.where(distances == 0, "exact", "near"), pa.string()),
                pa.array(np.maximum(distances - 1, 0).astype(np.int8)),
                pa.array([SPLIT_NAMES[split] for split in self.splits_N[rows]], pa.string()),
                pa.array([SPLIT_NAMES[split] for split in self.splits_N[of]], pa.string()),
            ]
            tables.append(pa.Table.from_arrays(columns, schema=DUPLICATES_SCHEMA))
        return pa.concat_tables(tables)


def duplicate_notes(duplicates: Duplicates) -> list[str]:
    """Returns notes on test images that train has, too, and on images that were not compared with all."""
    notes = []
    test = int(np.count_nonzero(duplicates.splits_N == TEST))
    exact, near = (duplicates.count(near=near, leaks=True) for near in (False, True))
    if exact + near > LEAKED_SHARE * test:
        notes.append(
            f"{exact + near:,} of {test:,} test images repeat train images ({exact:,} exactly, {near:,} "
            "nearly), which makes accuracy too high: set ingest.leaks=drop_train; "
            "data/images/duplicates.parquet lists them"
        )
    if duplicates.truncated_buckets:
        notes.append(
            f"{duplicates.truncated_buckets:,} images have more than {MOST_COMPARED:,} of similar outline: "
            "they were not compared with all of them for near duplicates"
        )
    return notes


def find_duplicates(
    contents_N2: NDArray[np.uint64],
    splits_N: NDArray[np.int8],
    hashes_N: NDArray[np.uint64] | None = None,
    thumbnails_NB: NDArray[np.uint8] | None = None,
) -> Duplicates:
    """Finds exact duplicates by `contents_N2`, and near ones if hashes and thumbnails are given.

    An image with an exact match in a split gets no near one there. Takes about 100 bytes of memory per image,
    besides the thumbnails, which may be in a file.
    """
    assert len(contents_N2) < 1 << INDEX_BITS
    own_N, other_N, first_N = _exact(contents_N2, splits_N)
    truncated_buckets = 0
    if hashes_N is not None and thumbnails_NB is not None:
        # An exact duplicate has the near duplicates of the first image of its content and split.
        search = _NearSearch(
            hashes_N, thumbnails_NB, splits_N, np.flatnonzero(first_N == np.arange(len(first_N)))
        )
        search.run()
        truncated_buckets = search.truncated_buckets
        own_N = np.minimum(own_N, search.own_N)
        other_N = np.minimum(other_N, search.other_N[first_N])
    return Duplicates(own_N, other_N, splits_N, truncated_buckets)


def _exact(
    contents_N2: NDArray[np.uint64], splits_N: NDArray[np.int8]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Returns the matches in the own and the other split, and the first row of each content and split."""
    count = len(contents_N2)
    rows = np.arange(count)
    own_N, other_N = np.full(count, NONE), np.full(count, NONE)
    first_N = rows.copy()
    if not count:
        return own_N, other_N, first_N
    order = np.lexsort((rows, splits_N, contents_N2[:, 1], contents_N2[:, 0]))
    ordered = contents_N2[order]
    new_content = np.r_[True, (ordered[1:] != ordered[:-1]).any(axis=1)]
    new_split = new_content | np.r_[True, splits_N[order][1:] != splits_N[order][:-1]]
    starts = np.flatnonzero(new_split)
    first_N[order] = order[starts[np.cumsum(new_split) - 1]]
    repeated = first_N != rows
    own_N[repeated] = first_N[repeated]
    # A content in both splits has two adjacent groups: train, then test.
    group = np.cumsum(new_split) - 1
    beside = np.flatnonzero(~new_content[starts])
    partner = np.full(len(starts), -1)
    partner[beside], partner[beside - 1] = beside - 1, beside
    has_partner = partner[group] >= 0
    other_N[order[has_partner]] = order[starts[partner[group[has_partner]]]]
    return own_N, other_N, first_N


class _NearSearch:
    """Search for near duplicates among `rows`, which ascend.

    Every pair of rows that shares two bands is compared, in one vectorised step for all pairs that are
    equally far apart in the order of their bands.
    """

    def __init__(
        self,
        hashes_N: NDArray[np.uint64],
        thumbnails_NB: NDArray[np.uint8],
        splits_N: NDArray[np.int8],
        rows: NDArray[np.int64],
    ) -> None:
        self.thumbnails_NB, self.splits_N = thumbnails_NB, splits_N
        # Equal hashes are adjacent, the earlier row first, whatever bands are compared.
        self.rows = rows[np.argsort(hashes_N[rows], kind="stable")]
        self.hashes = hashes_N[self.rows]
        self.own_N, self.other_N = np.full(len(hashes_N), NONE), np.full(len(hashes_N), NONE)
        self._crowded: NDArray[np.bool_] = np.zeros(len(self.rows), np.bool_)
        edges = [round(band * 64 / BANDS) for band in range(BANDS + 1)]
        self.masks = [np.uint64((1 << stop) - (1 << start)) for start, stop in pairwise(edges)]

    @property
    def truncated_buckets(self) -> int:
        return int(np.count_nonzero(self._crowded))

    def run(self) -> None:
        for bands in combinations(range(BANDS), SHARED_BANDS):
            self._compare_sharing(bands)

    def _compare_sharing(self, bands: tuple[int, ...]) -> None:
        shared = self.hashes & np.bitwise_or.reduce([self.masks[band] for band in bands])
        order = np.argsort(shared, kind="stable").astype(np.int32)
        ordered = shared[order]
        new = np.r_[True, ordered[1:] != ordered[:-1]]
        starts = np.flatnonzero(new)
        sizes = np.diff(np.r_[starts, len(ordered)])
        ends = np.repeat((starts + sizes).astype(np.int32), sizes)
        del ordered, new
        left = np.flatnonzero(ends - np.arange(len(ends), dtype=np.int32) > 1).astype(np.int32)
        for shift in range(1, MOST_COMPARED + 1):
            left = left[left + shift < ends[left]]
            if not len(left):
                return
            for start in range(0, len(left), ROWS_AT_ONCE):
                some = left[start : start + ROWS_AT_ONCE]
                self._compare(order[some], order[some + shift], bands)
        self._crowded[order[left]] = True

    def _compare(self, a: NDArray[np.int32], b: NDArray[np.int32], bands: tuple[int, ...]) -> None:
        different = self.hashes[a] ^ self.hashes[b]
        bits = np.bitwise_count(different)
        near = bits <= MAX_DISTANCE
        # A pair that shares more than two bands is compared only for the first two.
        for band in range(bands[-1]):
            if band not in bands:
                near &= (different & self.masks[band]) != 0
        if not near.any():
            return
        first, second = self.rows[a[near]], self.rows[b[near]]
        distances = bits[near].astype(np.int64) + 1
        first, second = np.minimum(first, second), np.maximum(first, second)
        same_split = self.splits_N[first] == self.splits_N[second]
        to_first, to_second = distances << INDEX_BITS | second, distances << INDEX_BITS | first
        better = np.where(
            same_split,
            to_second < self.own_N[second],
            (to_first < self.other_N[first]) | (to_second < self.other_N[second]),
        )
        first, second, same_split = first[better], second[better], same_split[better]
        to_first, to_second = to_first[better], to_second[better]
        alike = look_alike(self.thumbnails_NB[first], self.thumbnails_NB[second])
        own, other = alike & same_split, alike & ~same_split
        np.minimum.at(self.own_N, second[own], to_second[own])
        np.minimum.at(self.other_N, first[other], to_first[other])
        np.minimum.at(self.other_N, second[other], to_second[other])


def look_alike(a_NB: NDArray[np.uint8], b_NB: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Returns whether the two thumbnails of each pair show the same picture: (N,)."""
    assert a_NB.shape[1] == THUMBNAIL_BYTES
    alike = np.empty(len(a_NB), np.bool_)
    for start in range(0, len(a_NB), 4096):
        part = slice(start, start + 4096)
        a, b = a_NB[part].astype(np.float32), b_NB[part].astype(np.float32)
        difference = np.abs(a - b)
        in_front_of_a, in_front_of_b = _foreground(a), _foreground(b)
        counted = in_front_of_a | in_front_of_b | (difference > FLAT)
        mean = (difference * counted).sum(axis=1) / np.maximum(counted.sum(axis=1), 1)
        background = 1 - np.minimum(in_front_of_a.mean(axis=1), in_front_of_b.mean(axis=1))
        photograph = (background <= MAX_BACKGROUND) & (_correlation(a, b) >= MIN_CORRELATION)
        alike[part] = (mean <= MAX_DIFFERENCE) | photograph
    return alike


BORDER = np.array(
    [y * THUMBNAIL + x for y in range(THUMBNAIL) for x in range(THUMBNAIL) if {x, y} & {0, THUMBNAIL - 1}]
)


def _foreground(thumbnails_NB: NDArray[np.float32]) -> NDArray[np.bool_]:
    background_N1 = np.median(thumbnails_NB[:, BORDER], axis=1, keepdims=True)
    foreground_NB: NDArray[np.bool_] = np.abs(thumbnails_NB - background_N1) > FLAT
    return foreground_NB


def _correlation(a_NB: NDArray[np.float32], b_NB: NDArray[np.float32]) -> NDArray[np.float32]:
    a_NB = a_NB - a_NB.mean(axis=1, keepdims=True)
    b_NB = b_NB - b_NB.mean(axis=1, keepdims=True)
    norms = np.sqrt(np.square(a_NB).sum(axis=1) * np.square(b_NB).sum(axis=1))
    correlation: NDArray[np.float32] = (a_NB * b_NB).sum(axis=1) / np.maximum(norms, 1e-6)
    return correlation
