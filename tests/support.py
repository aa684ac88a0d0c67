"""Helpers that several tests import."""

import csv
import errno
import fcntl
import io
import os
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline.config.params import Params, check_params
from pipeline.storage.checksums import checksum
from pipeline.storage.files import write_json
from pipeline.storage.schema import INGEST_SUMMARY, IngestSummary
from pipeline.untrusted.safe_paths import Boundary, Root
from pipeline.untrusted.unsafe_path import LEADS_OUT

LOCAL = ("127.0.0.1", "::1", "localhost", "")
REPOSITORY = Path(__file__).resolve().parents[1]


def forbid_network(replace: Callable[[Any, str, Any], None] = setattr) -> list[str]:
    """From here on, this process reaches no other machine; returns the list of what it tries to reach."""
    tried: list[str] = []
    connect, look_up = socket.socket.connect, socket.getaddrinfo

    def refuse(place: object) -> NoReturn:
        tried.append(str(place))
        raise OSError(errno.ENETUNREACH, f"tests reach no other machine, such as {place}")

    def connect_here(own: socket.socket, address: Any) -> None:
        if own.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in LOCAL:
            refuse(address)
        connect(own, address)

    def look_up_here(host: Any, *arguments: Any, **more: Any) -> Any:
        if host not in (*LOCAL, None, socket.gethostname()):
            refuse(host)
        return look_up(host, *arguments, **more)

    replace(socket.socket, "connect", connect_here)
    replace(socket, "getaddrinfo", look_up_here)
    return tried


def png(seed: int, width: int = 12, height: int = 12, mode: str = "RGB") -> bytes:
    """A PNG of noise: every seed another picture."""
    channels = len(Image.new(mode, (1, 1)).getbands())
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise.squeeze(), mode=None).convert(mode).save(buffer, "PNG")
    return buffer.getvalue()


def write_manifest(folder: Path, count: int = 24, name: str = "manifest.csv", **columns: list[Any]) -> Path:
    """Writes a manifest of `count` images with two labels, two attribute columns and hashtags."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(count):
        path = f"images/{number:03d}.png"
        (folder / path).write_bytes(png(number))
        row = {
            "image": path,
            "label": ["cat", "dog"][number % 2],
            "split": "test" if number % 4 == 3 else "train",
            "colour": ["red", "blue", "green"][number % 3],
            "size": ["small", "large"][number // 2 % 2],
            "hashtags": f"#Pet;tag{number % 5}",
        }
        row |= {column: values[number] for column, values in columns.items()}
        rows.append(row)
    with (folder / name).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder / name


def write_columns(path: Path, columns: dict[str, list[Any]], row_group_size: int = 100) -> Path:
    """Writes a table as CSV or, by its name, as Parquet; without columns that have no cells."""
    filled = {name: cells for name, cells in columns.items() if cells}
    if path.suffix == ".parquet":
        pq.write_table(pa.table(filled), path, row_group_size=row_group_size)
        return path
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(filled)
        writer.writerows(zip(*filled.values(), strict=True))
    return path


def params_with(**sections: Any) -> Params:
    """The defaults with some sections' values replaced."""
    return check_params(sections)


TINY_PRETRAIN: dict[str, Any] = {"epochs": 3, "batch_size": 16, "stem_stride": 4, "precision": "float32"}
TINY_OBJECTIVES: dict[str, Any] = {
    "moco": {"queue": 6},
    "pcl": {"clusters": [3, 4], "negatives": 2, "queue": 6, "warmup_fraction": 0.5},
    "swav": {"prototypes": 5, "queue": 4, "queue_from": 0.3},
    "byol": {"hidden": 8},
    "simsiam": {"hidden": 4},
    "iccl": {"hidden": 8},
    "dual_head": {"hidden": 8},
}


def blank_out_all_but(kept: set[str], shard: Path) -> None:
    """Overwrites the other columns' pages, so that no reader can decode them."""
    footer, content = pq.read_metadata(shard), bytearray(shard.read_bytes())
    for group in range(footer.num_row_groups):
        for index in range(footer.num_columns):
            column = footer.row_group(group).column(index)
            if column.path_in_schema.split(".")[0] not in kept:
                start = column.dictionary_page_offset or column.data_page_offset
                content[start : start + column.total_compressed_size] = bytes(column.total_compressed_size)
    shard.write_bytes(content)
    checksum(shard)


def write_summary(images: Path, train: int = 0, test: int = 0, **changes: Any) -> IngestSummary:
    """`summary.json` as ingest would write it of so many images without attributes."""
    summary: IngestSummary = {
        "source": "manifest",
        "images": {"train": train, "test": test},
        "rejected": 0,
        "labels": ["cat", "dog"],
        "unlabelled": {"train": 0, "test": 0},
        "attributes": [],
        "hierarchy_depth": 0,
        "images_with_hashtags": 0,
        "duplicates": 0,
        "leaks": 0,
        "near_duplicates": 0,
        "near_leaks": 0,
        "mean": [0.5, 0.45, 0.4],
        "std": [0.25, 0.26, 0.27],
        "value_range": None,
        "bytes": 1,
        "notes": [],
    }
    summary |= changes  # type: ignore[typeddict-item]
    write_json(images / INGEST_SUMMARY, summary)
    return summary


def build_once(
    temporary: pytest.TempPathFactory, name: str, done: str, make: Callable[[Path], object]
) -> Path:
    """A folder that `make` fills, ending with the file `done`: by the first worker that asks; others wait."""
    base = temporary.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    folder.mkdir(exist_ok=True)
    result = folder / "made"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (result / done).exists():
            shutil.rmtree(result, ignore_errors=True)
            make(result)
    return result


ALLOWED_BY = "which an option would allow"
OUT = f"{LEADS_OUT}, {ALLOWED_BY}"
"""Why a `bounded` folder's member is refused."""


def bounded(folder: Path) -> Root:
    return Root(folder, Boundary.around(folder, ALLOWED_BY))


@contextmanager
def at_once(seconds: int = 20) -> Iterator[None]:
    """Fails a test that waits, as an ordinary `open` of a pipe does for ever."""

    def give_up(_number: int, _frame: object) -> None:
        raise AssertionError(f"it waited for {seconds} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def socket_at(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        # The path of a socket must be short.
        here = os.open(".", os.O_RDONLY)
        try:
            os.chdir(path.parent)
            listening.bind(path.name)
        finally:
            os.chdir(here)
            os.close(here)


NO_FILES: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "socket": socket_at,
    "zero": lambda path: path.symlink_to("/dev/zero"),
    "full": lambda path: path.symlink_to("/dev/full"),
    "standard-input": lambda path: path.symlink_to("/dev/stdin"),
    "folder": lambda path: path.mkdir(),
    "dangling": lambda path: path.symlink_to("nowhere"),
    "circle": lambda path: path.symlink_to(path.name),
}
"""What may stand in place of a file, by makers that put it at a path."""
