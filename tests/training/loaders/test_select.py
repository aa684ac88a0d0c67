"""Every loader yields what indexing the decoded tensor yields, and the streamed one holds little of it."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pipeline.dataset.dataset import ImageSplit
from pipeline.dataset.pixels import PixelStore, decode_center, load_pixels
from pipeline.runtime.distributed import ALONE, Ranks
from pipeline.runtime.errors import UserError
from pipeline.storage.checksums import checksummed_writer, write_checksummed
from pipeline.storage.schema import images_schema
from pipeline.training.loaders import streamed
from pipeline.training.loaders.in_memory import HostLoader, InMemoryLoader
from pipeline.training.loaders.prefetch import AHEAD, prefetched
from pipeline.training.loaders.select import Loader, select_loader
from pipeline.training.loaders.sharded import ShardedLoader
from pipeline.training.loaders.streamed import (
    GroupReader,
    RowGroups,
    StreamedLoader,
    moving_shuffle,
    plan_steps,
)
from processes import in_ranks
from support import blank_out_all_but, png, write_summary

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
DEVICES = [CPU] + [torch.device("cuda")] * torch.cuda.is_available()
READ = {"id", "image", "width", "height"}

STEPS = 7
SHARDS = [[5, 1, 7], [3], [2, 6, 4]]
"""Rows of each row group of each shard."""
ROWS = 28


def write_split(folder: Path, shards: Sequence[Sequence[int]]) -> Path:
    """Images of many sizes, panoramas among them, in row groups of the given lengths."""
    folder.mkdir(parents=True, exist_ok=True)
    schema, row = images_schema([]), 0
    for number, groups in enumerate(shards):
        path = folder / f"train-{number:05d}-of-{len(shards):05d}.parquet"
        with checksummed_writer(path, schema) as writer:
            for rows in groups:
                images = [stored_image(row + offset) for offset in range(rows)]
                writer.write_table(pa.Table.from_pylist(images, schema=schema), row_group_size=rows)
                row += rows
    write_summary(folder, row)
    return folder


def stored_image(row: int) -> dict[str, object]:
    width, height = 4 + row % 5, 4 + row * 7 % 11
    encoded = {"bytes": png(row, width, height), "path": f"{row}.png"}
    return {"id": f"image {row}", "image": encoded, "label": "cat", "width": width, "height": height}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_split(tmp_path_factory.mktemp("images"), SHARDS)


@pytest.fixture(scope="module")
def store(images: Path) -> PixelStore:
    return load_pixels(ImageSplit(images, "train"))


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) == before


def resident(images: Path, positions: Sequence[int], device: torch.device) -> Loader:
    return InMemoryLoader(load_pixels(ImageSplit(images, "train"), positions), device)


def host(images: Path, positions: Sequence[int], device: torch.device) -> Loader:
    return HostLoader(load_pixels(ImageSplit(images, "train"), positions), device)


def sharded(images: Path, positions: Sequence[int], device: torch.device) -> Loader:
    store = load_pixels(ImageSplit(images, "train"), positions)
    # Two images at one time, so that some batches are of several exchanges.
    return ShardedLoader(
        store.ids, store.sizes_N2, store, device, ALONE, bytes_at_once=2 * store.canvas_NCHW[0].nbytes
    )


def from_shards(images: Path, positions: Sequence[int], device: torch.device) -> Loader:
    return StreamedLoader(ImageSplit(images, "train"), positions, device, buffer_rows=6)


LOADERS = [resident, sharded, host, from_shards]
Build = Callable[[Path, Sequence[int], torch.device], Loader]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("build", LOADERS)
@pytest.mark.parametrize("device", DEVICES, ids=str)
@settings(max_examples=25)
@given(data=st.data())
def test_batches_are_those_of_the_store(
    images: Path, store: PixelStore, build: Build, device: torch.device, data: st.DataObject
) -> None:
    rows = data.draw(st.lists(st.integers(0, ROWS - 1), min_size=1, unique=True))
    batch = st.lists(st.integers(0, len(rows) - 1), max_size=9)
    requested = [torch.tensor(one, dtype=torch.int64) for one in data.draw(st.lists(batch, max_size=8))]
    loader = build(images, rows, device)
    assert (loader.ids, len(loader)) == ([store.ids[row] for row in rows], len(rows))
    yielded = list(loader.batches(requested))
    assert len(yielded) == len(requested)
    for positions_B, (canvas_BCHW, sizes_B2) in zip(requested, yielded, strict=True):
        assert canvas_BCHW.device.type == sizes_B2.device.type == device.type
        assert (canvas_BCHW.dtype, sizes_B2.dtype) == (torch.uint8, torch.int64)
        rows_B = torch.tensor(rows)[positions_B]
        assert torch.equal(canvas_BCHW.cpu(), store.canvas_NCHW[rows_B])
        assert torch.equal(sizes_B2.cpu(), store.sizes_N2[rows_B])


@pytest.mark.parametrize("build", LOADERS)
def test_an_epoch_is_a_permutation_that_follows_from_its_seed(images: Path, build: Build) -> None:
    loader = build(images, range(ROWS), CPU)
    order_N = loader.shuffled(seeded(1))
    assert (order_N.dtype, order_N.device) == (torch.int64, CPU)
    assert sorted(order_N.tolist()) == list(range(ROWS))
    assert torch.equal(order_N, loader.shuffled(seeded(1)))
    assert not torch.equal(order_N, loader.shuffled(seeded(2)))


@pytest.mark.parametrize("build", [resident, sharded, host])
def test_loaders_in_memory_share_one_order(images: Path, build: Build) -> None:
    order_N = build(images, range(ROWS), CPU).shuffled(seeded(3))
    assert torch.equal(order_N, torch.randperm(ROWS, generator=seeded(3)))


@pytest.mark.parametrize("build", LOADERS)
def test_a_loader_that_is_closed_early_ends_its_threads(images: Path, build: Build) -> None:
    before = set(threading.enumerate())
    loader = build(images, range(ROWS), CPU)
    requested = list(loader.shuffled(seeded(0)).split(2))
    with closing(loader.batches(requested)):
        pass
    batches = loader.batches(requested)
    next(batches)
    assert (set(threading.enumerate()) == before) == (build in (resident, sharded))
    batches.close()
    assert set(threading.enumerate()) == before


def test_an_image_that_cannot_be_decoded_is_told_where_batches_are_taken(tmp_path: Path) -> None:
    schema = images_schema([])
    broken = stored_image(1) | {"image": {"bytes": b"no image", "path": "1.png"}}
    table = pa.Table.from_pylist([stored_image(0), broken], schema=schema)
    write_checksummed(table, tmp_path / "train-00000-of-00001.parquet")
    write_summary(tmp_path, 2)
    batches = StreamedLoader(ImageSplit(tmp_path, "train"), None, CPU).batches(list(torch.arange(2).split(1)))
    next(batches)
    with pytest.raises(OSError, match="cannot identify image file"):
        next(batches)


def test_work_ahead_is_in_order_and_bounded() -> None:
    result: list[int] = []

    def square(number: int) -> int:
        result.append(number)
        return number**2

    with closing(prefetched(square, count())) as squares:
        assert [next(squares) for _ in range(5)] == [0, 1, 4, 9, 16]
        settle(lambda: len(result) == 5 + AHEAD)
    assert result == list(range(5 + AHEAD))


def test_work_that_has_not_begun_is_dropped_on_closing() -> None:
    begun: list[int] = []

    def slowly(number: int) -> None:
        begun.append(number)
        time.sleep(0.2 * (number > 0))

    results = prefetched(slowly, count())
    next(results)
    results.close()
    assert len(begun) < 1 + AHEAD


def settle(reached: Callable[[], bool]) -> None:
    """Waits for what other threads shall reach, and a moment longer, in which they might pass it."""
    deadline = time.monotonic() + 5
    while not reached() and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.05)


def test_only_the_batches_under_way_are_decoded(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []

    def spy(*arguments: Any) -> Any:
        decoded.append(1)
        return decode_center(*arguments)

    monkeypatch.setattr(streamed, "decode_center", spy)
    loader = from_shards(images, range(ROWS), CPU)
    # Each image twice in its batch, and decoded once.
    requested = [positions_B.repeat(2) for positions_B in loader.shuffled(seeded(0)).split(2)]
    with closing(loader.batches(requested)) as batches:
        for taken in range(1, 4):
            next(batches)
            settle(lambda: len(decoded) == 2 * (taken + AHEAD))  # noqa: B023 - called at once
            assert len(decoded) == 2 * (taken + AHEAD)


@pytest.mark.parametrize("positions", [None, [27, 3, 4, 12, 13, 5, 26, 0]])
@pytest.mark.parametrize("shuffle", [True, False])
def test_an_epoch_reads_each_row_group_once(
    images: Path, positions: list[int] | None, shuffle: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: Counter[int] = Counter()
    real = RowGroups.read

    def spy(groups: RowGroups, group: int, rows: np.ndarray) -> object:
        reads[group] += 1
        return real(groups, group, rows)

    monkeypatch.setattr(RowGroups, "read", spy)
    loader = StreamedLoader(ImageSplit(images, "train"), positions, CPU, buffer_rows=6)
    order_N = loader.shuffled(seeded(4)) if shuffle else torch.tensor(np.argsort(positions or range(ROWS)))
    assert sum(len(sizes) for _, sizes in loader.batches(order_N.split(3))) == len(loader)
    rows = range(ROWS) if positions is None else positions
    assert reads == dict.fromkeys(RowGroups(ImageSplit(images, "train")).of(np.array(rows)).tolist(), 1)


group_sizes = st.lists(st.integers(1, 9), min_size=1, max_size=30)


class FakeGroups(RowGroups):
    """Row groups of the given lengths that no file holds."""

    def __init__(self, sizes: list[int]) -> None:
        self._start_G = np.cumsum([0, *sizes])
        self.reads: Counter[int] = Counter()

    def encoded(self, group: int) -> dict[int, bytes]:
        self.reads[group] += 1
        return {row: str(row).encode() for row in self.rows(group)}


def most_held(reader: GroupReader, requested: Sequence[Tensor], row_N: np.ndarray, groups: RowGroups) -> int:
    """Steps through the plan, checks what is read, and returns the most rows held between two steps."""
    most = 0
    for positions_B, step in zip(requested, plan_steps(requested, row_N, groups), strict=True):
        found = reader(step)
        assert {row: str(row).encode() for row in row_N[positions_B.numpy()].tolist()} == found
        most = max(most, sum(len(images) for images in reader.held.values()))
    return most


@given(group_sizes, st.integers(0, 40), st.integers(1, 20), st.integers(0, 999))
def test_the_shuffled_order_is_read_once_within_the_buffer(
    sizes: list[int], buffer_rows: int, batch: int, seed: int
) -> None:
    groups, row_N = FakeGroups(sizes), np.arange(sum(sizes))
    order_N = moving_shuffle(torch.from_numpy(groups.of(row_N)), buffer_rows, seeded(seed))
    assert sorted(order_N.tolist()) == list(range(sum(sizes)))
    reader = GroupReader(groups.encoded, buffer_rows + 2 * max(sizes))
    assert most_held(reader, order_N.split(batch), row_N, groups) <= buffer_rows + 2 * max(sizes)
    assert groups.reads == dict.fromkeys(range(len(sizes)), 1)
    assert not reader.held


@given(group_sizes, st.integers(0, 40), st.data())
def test_any_order_is_held_within_the_capacity(sizes: list[int], capacity: int, data: st.DataObject) -> None:
    groups, row_N = FakeGroups(sizes), np.arange(sum(sizes))
    batch = st.lists(st.integers(0, sum(sizes) - 1), min_size=1, max_size=8)
    requested = [torch.tensor(one) for one in data.draw(st.lists(batch, max_size=12))]
    reader = GroupReader(groups.encoded, capacity)
    assert most_held(reader, requested, row_N, groups) <= capacity


def test_the_group_that_is_needed_last_gives_way() -> None:
    groups, row_N = FakeGroups([2, 2, 2]), np.arange(6)
    # Room for two groups: when 2 comes, 0 is the one to go, though 1 was used longer ago.
    requested = [torch.tensor([row]) for row in (2, 0, 4, 3, 5, 1)]
    most_held(GroupReader(groups.encoded, 4), requested, row_N, groups)
    assert groups.reads == {0: 2, 1: 1, 2: 1}


def test_the_streamed_order_mixes_row_groups() -> None:
    rows, groups, buffer_rows = 16, 256, 128
    group_N = torch.arange(groups).repeat_interleave(rows)

    def spread(buffer_rows: int) -> float:
        """The mean over groups of the standard deviation of where the group's images come."""
        place_N = moving_shuffle(group_N, buffer_rows, seeded(0)).argsort().double()
        return float(place_N.view(groups, rows).std(dim=1).mean())

    # An even delay of 0 to 128 has the deviation 128 / sqrt(12) = 37; a group in one piece has 4.8.
    assert spread(0) == pytest.approx(4.76, abs=0.01)
    assert 35 < spread(buffer_rows) < 40
    order_N = moving_shuffle(group_N, buffer_rows, seeded(0))
    # Two random rows are N / 3 apart on average, as are a row's old and new place after any full shuffle.
    displacement = (order_N - torch.arange(len(order_N))).abs().double().mean() / len(order_N)
    assert displacement == pytest.approx(1 / 3, abs=0.04)
    in_a_batch = [len(group_N[positions_B].unique()) for positions_B in order_N.split(32)]
    assert 8 <= np.mean(in_a_batch) <= (buffer_rows + 32) / rows + 1
    same = (group_N[order_N][1:] == group_N[order_N][:-1]).double().mean()
    assert 0.07 < same < 0.2


@pytest.mark.parametrize(
    ("host_images", "device_images", "kind"),
    [
        (56, 56, InMemoryLoader),
        (56, 55, HostLoader),
        (55, 55, StreamedLoader),
        (55, 999, StreamedLoader),
        (56, None, InMemoryLoader),
    ],
)
def test_the_loader_is_chosen_by_size(
    images: Path, store: PixelStore, host_images: int, device_images: int | None, kind: type
) -> None:
    one = store.canvas_NCHW[0].nbytes
    loader = select_loader(
        ImageSplit(images, "train"),
        None,
        CPU,
        host_memory_bytes=host_images * one,
        device_memory_bytes=None if device_images is None else device_images * one,
    )
    assert type(loader) is kind
    assert loader.ids == store.ids


def shared_out(ranks: Ranks, images: Path) -> list[tuple[Tensor, Tensor, str]]:
    """Batches of which each rank wants others, and other numbers of images."""
    one = load_pixels(ImageSplit(images, "train")).canvas_NCHW[0].nbytes
    rows = range(1, ROWS)  # 27 images do not divide by 2
    memory = (len(rows) + 1) * one * (ranks.rank + 1)
    loader = select_loader(ImageSplit(images, "train"), rows, CPU, ranks=ranks, host_memory_bytes=memory)
    assert isinstance(loader, ShardedLoader)
    loader._bytes_at_once = 9 * one  # two of the second rank's steps
    assert len(loader._home_NCHW) == (14, 13)[ranks.rank]
    return [(*batch, loader.title) for batch in loader.batches(batches_of(ranks.rank))]


def batches_of(rank: int) -> list[Tensor]:
    generator = seeded(rank)
    return [torch.randint(0, ROWS - 1, (rank + 3,), generator=generator) for _ in range(STEPS)]


def test_devices_share_the_pixels_and_send_each_other_what_they_show(
    images: Path, store: PixelStore, tmp_path: Path
) -> None:
    # The second rank's memory holds all of it, and yet it does as the first one must.
    for rank, yielded in enumerate(in_ranks(2, tmp_path, shared_out, images)):
        assert len(yielded) == STEPS
        for positions_B, (canvas_BCHW, sizes_B2, title) in zip(batches_of(rank), yielded, strict=True):
            assert torch.equal(canvas_BCHW, store.canvas_NCHW[1 + positions_B])
            assert torch.equal(sizes_B2, store.sizes_N2[1 + positions_B])
            assert "a share of 1/2, resident on the CPU" in title


@pytest.mark.parametrize(
    ("named", "kind", "title"),
    [
        ("resident", InMemoryLoader, "0.0 MB of pixels resident on the CPU"),
        ("sharded", ShardedLoader, "0.0 MB of pixels, a share of 1/1, resident on the CPU"),
        ("host", HostLoader, "0.0 MB of pixels in host memory, sent to the CPU"),
        ("streamed", StreamedLoader, "0.0 MB of pixels streamed from 7 row groups"),
    ],
)
def test_the_environment_overrides_the_choice(
    images: Path, store: PixelStore, named: str, kind: type, title: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLINFONCE_LOADER", named)
    loader = select_loader(
        ImageSplit(images, "train"),
        [4, 20, 3],
        CPU,
        host_memory_bytes=1 if kind is not StreamedLoader else 10**9,
    )
    assert type(loader) is kind
    assert loader.title == title
    assert loader.ids == [store.ids[row] for row in (4, 20, 3)]


def test_a_loader_that_is_none_is_refused(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLINFONCE_LOADER", "disk")
    with pytest.raises(
        UserError, match="CLINFONCE_LOADER must be one of resident, sharded, host, streamed, not disk"
    ):
        select_loader(ImageSplit(images, "train"), None, CPU)


@pytest.mark.parametrize("named", ["resident", "sharded", "host", "streamed"])
def test_labels_are_not_read(tmp_path: Path, named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    images = write_split(tmp_path, SHARDS)
    expected = load_pixels(ImageSplit(images, "train"))
    shards = sorted(images.glob("*.parquet"))
    for shard in shards:
        blank_out_all_but(READ, shard)
        for column in set(images_schema([]).names) - READ:
            with pytest.raises(OSError, match=r"deserialize|header|page"):
                pq.read_table(shard, columns=[column])
    monkeypatch.setenv("CLINFONCE_LOADER", named)
    loader = select_loader(ImageSplit(images, "train"), None, CPU)
    ((canvas_BCHW, _),) = loader.batches([torch.arange(ROWS)])
    assert torch.equal(canvas_BCHW, expected.canvas_NCHW)
