"""Loader for data sets that fit in no memory: reads row groups and decodes images shortly before use.

Shape letters: N images of the loader, G row groups of the split, B images per batch, U of them distinct.
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from pipeline.dataset.dataset import ImageSplit
from pipeline.dataset.pixels import decode_center
from pipeline.storage.validation import open_parquet
from pipeline.training.loaders.prefetch import Batches, DeviceTransfer, Sent, prefetched

BUFFER_ROWS = 4096
"""Number of rows over which an epoch's order mixes: 32 row groups as ingest writes them. They are held
encoded, which takes 160 MB at 40 kB per image."""

PIECES_PER_BATCH = 32
"""Number of tasks per batch for the threads that decode."""

Encoded = Mapping[int, bytes]
"""Encoded images by their row in the split."""


class StreamedLoader:
    """Reads and decodes images of `split`, all or those at `positions`, in advance.

    Encoded images of `buffer_rows` rows, of at most three row groups and of the batches in progress are held;
    only the latter are decoded. Any order of positions works; in that of `shuffled`, or in that of the
    shards, an epoch reads each row group once. An order with longer jumps reads groups again.
    """

    def __init__(
        self,
        split: ImageSplit,
        positions: Sequence[int] | None,
        device: torch.device,
        *,
        buffer_rows: int = BUFFER_ROWS,
    ) -> None:
        self._shape = split.shape
        self._row_N = np.asarray(range(len(self._shape.ids)) if positions is None else positions, np.int64)
        self._distinct_rows = np.unique(self._row_N)
        self._groups = RowGroups(split)
        self._group_N = self._groups.of(self._row_N)
        self._device, self._buffer_rows = device, buffer_rows
        self.ids = [self._shape.ids[row] for row in self._row_N]
        megabytes = len(self) * self._shape.image_bytes / 1e6
        self.title = f"{megabytes:,.1f} MB of pixels streamed from {len(self._groups):,} row groups"

    def __len__(self) -> int:
        return len(self.ids)

    def shuffled(self, generator: Generator) -> Tensor:
        return moving_shuffle(torch.from_numpy(self._group_N), self._buffer_rows, generator)

    def batches(self, requested: Sequence[Tensor]) -> Batches:
        read = GroupReader(self._read_group, self._buffer_rows + 2 * self._largest_group)
        transfer = DeviceTransfer(self._device)

        def read_step(step: LoadedBatch) -> tuple[LoadedBatch, Encoded]:
            return step, read(step)

        def decode_step(found: tuple[LoadedBatch, Encoded]) -> Sent:
            return transfer.send(*self._decoded(*found, decoders))

        with (
            ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="decode") as decoders,
            closing(prefetched(read_step, plan_steps(requested, self._row_N, self._groups))) as encoded,
            closing(prefetched(decode_step, encoded)) as sent,
        ):
            for batch in sent:
                yield transfer.receive(batch)

    @property
    def _largest_group(self) -> int:
        return int(np.bincount(self._group_N).max(initial=0))

    def _read_group(self, group: int) -> Encoded:
        rows = self._groups.rows(group)
        first, end = np.searchsorted(self._distinct_rows, [rows.start, rows.stop])
        return self._groups.read(group, self._distinct_rows[first:end])

    def _decoded(
        self, step: "LoadedBatch", encoded: Encoded, decoders: ThreadPoolExecutor
    ) -> tuple[Tensor, Tensor]:
        """Returns (B, 3, H, W) uint8 and (B, 2) int64; repeated images of the batch are decoded once."""
        sizes_U2 = self._shape.sizes_N2[step.rows_U]
        shape = (len(step.place_B), self._shape.height, self._shape.width, 3)
        canvas_BHWC = np.zeros(shape, np.uint8)

        def draw(places: NDArray[np.int64]) -> None:
            for place, row in zip(places.tolist(), step.rows_U[places].tolist(), strict=True):
                height, width = sizes_U2[place]
                pixels = decode_center(encoded[row], sizes_U2[place])
                canvas_BHWC[step.place_B == place, :height, :width] = pixels

        # Submitting one small image at a time would take as long as decoding it.
        pieces = np.array_split(np.arange(len(step.rows_U)), PIECES_PER_BATCH)
        for _ in decoders.map(draw, pieces):
            pass
        return torch.from_numpy(canvas_BHWC).permute(0, 3, 1, 2), torch.from_numpy(sizes_U2[step.place_B])


class RowGroups:
    """The row groups of a split, in the order of the shards."""

    def __init__(self, split: ImageSplit) -> None:
        footers = [(path, pq.read_metadata(path)) for path in split.shards]
        self._where_G = [
            (path, footer, index) for path, footer in footers for index in range(footer.num_row_groups)
        ]
        rows_G = [footer.row_group(index).num_rows for _, footer, index in self._where_G]
        self._start_G = np.cumsum([0, *rows_G])
        """First row of each group in the split, followed by the number of rows."""

    def __len__(self) -> int:
        return len(self._where_G)

    def rows(self, group: int) -> range:
        return range(self._start_G[group], self._start_G[group + 1])

    def of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns the group of each of `rows`."""
        return np.searchsorted(self._start_G, rows, side="right") - 1

    def read(self, group: int, rows: NDArray[np.int64]) -> Encoded:
        """Reads the images at `rows`, which lie in `group`."""
        path, footer, index = self._where_G[group]
        with open_parquet(path, footer) as file:
            table = file.read_row_group(index, columns=["image"], use_threads=False)
        images = table.flatten().column("image.bytes").take(rows - self._start_G[group])
        return dict(zip(rows.tolist(), images.to_pylist(), strict=True))


def moving_shuffle(group_N: Tensor, buffer_rows: int, generator: Generator) -> Tensor:
    """Returns a permutation of N positions in which neighbours come from few groups.

    `group_N` is the group of each position. The groups are shuffled and concatenated; then each position
    moves back by a delay drawn uniformly from 0 to `buffer_rows` rows. The positions of a group thus lie
    within `buffer_rows` and the group's own length, and neighbours come from the groups of about
    `buffer_rows` rows.
    """
    groups = int(group_N.max()) + 1 if len(group_N) else 0
    rank_G = torch.randperm(groups, generator=generator)
    by_group_N = rank_G[group_N].argsort(stable=True)
    delay_N = buffer_rows * torch.rand(len(group_N), generator=generator, dtype=torch.float64)
    return by_group_N[(torch.arange(len(group_N)) + delay_N).argsort(stable=True)]


NEVER = sys.maxsize


@dataclass(frozen=True)
class LoadedBatch:
    """One batch of a plan."""

    rows_U: NDArray[np.int64]
    """Distinct rows of the batch in the split, sorted."""
    place_B: NDArray[np.int64]
    """Index in `rows_U` of each image of the batch."""
    next_use: dict[int, int]
    """Number of the next step that needs a group, for each group of the batch; `NEVER` if there is none."""


def plan_steps(requested: Sequence[Tensor], row_N: NDArray[np.int64], groups: RowGroups) -> list[LoadedBatch]:
    """Returns what each batch of `requested` (positions in `row_N`) reads, and when it is next needed."""
    steps: list[LoadedBatch] = []
    next_use_of: dict[int, int] = {}
    for number in reversed(range(len(requested))):
        rows_U, place_B = np.unique(row_N[requested[number].numpy()], return_inverse=True)
        needed = np.unique(groups.of(rows_U)).tolist()
        steps.append(LoadedBatch(rows_U, place_B, {group: next_use_of.get(group, NEVER) for group in needed}))
        next_use_of |= dict.fromkeys(needed, number)
    return steps[::-1]


class GroupReader:
    """Reads the groups that the steps of a plan need, and holds at most `capacity` rows after each read.

    If there is no room, it drops the group whose next use is furthest, which costs the fewest reads (Belady
    1966). A group that no step needs again is dropped at once.
    """

    def __init__(self, read_group: Callable[[int], Encoded], capacity: int) -> None:
        self._read_group, self._capacity = read_group, capacity
        self._next_use: dict[int, int] = {}
        self.held: dict[int, Encoded] = {}

    def __call__(self, step: LoadedBatch) -> Encoded:
        """Returns the step's encoded images; steps must come in the order of their plan."""
        rows = set(step.rows_U.tolist())
        found: dict[int, bytes] = {}
        # The group with the furthest next use comes first, so that it is dropped before the next one is read.
        for group in sorted(step.next_use, key=step.next_use.__getitem__, reverse=True):
            images = self.held[group] if group in self.held else self._read_group(group)
            found |= {row: images[row] for row in rows & images.keys()}
            self.held[group], self._next_use[group] = images, step.next_use[group]
            self._make_room()
        return found

    def _make_room(self) -> None:
        while self.held:
            last_needed = max(self.held, key=self._next_use.__getitem__)
            if self._next_use[last_needed] < NEVER and self._rows_held() <= self._capacity:
                break
            del self.held[last_needed]

    def _rows_held(self) -> int:
        return sum(len(images) for images in self.held.values())
