"""Unfinished work that a stranger left beside the output is made anew, and leads nowhere."""

import os
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from pipeline.inference.chunks import Chunks, write_chunk
from pipeline.inference.images.base import LONGEST_ID
from pipeline.inference.vectors import vectors_schema
from pipeline.runtime.errors import UserError
from pipeline.sources.base import Refusal
from support import at_once

MADE_OF = "0123456789abcdef"
SCHEMA = vectors_schema(2, {"encoder": {}, "encoder_folder": "", "source": {}, "fingerprint": MADE_OF})
IDS = ["a.png", "ä/b.png"]
VECTORS = np.array([[1, 2], [3, 4]], np.float32)
REFUSALS = [Refusal("c.png", "no image")]


@pytest.fixture(autouse=True)
def without_waiting() -> Iterator[None]:
    with at_once(60):
        yield


@pytest.fixture
def chunks(tmp_path: Path) -> Chunks:
    return Chunks(tmp_path / "v.parquet", MADE_OF, 3, SCHEMA)


@pytest.fixture
def path(chunks: Chunks) -> Path:
    """Of the only chunk, in its folder."""
    path = chunks.path(0)
    path.parent.mkdir(parents=True)
    return path


def test_what_is_written_is_read_again(chunks: Chunks) -> None:
    assert chunks.missing() == [0]
    write_chunk(chunks.path(0), IDS, VECTORS, REFUSALS)
    assert chunks.missing() == []
    assert chunks.refusals() == REFUSALS
    (table,) = chunks.tables()
    assert table.schema.equals(SCHEMA, check_metadata=True)
    assert table.to_pydict() == {"id": IDS, "vector": VECTORS.tolist()}


def test_images_that_are_all_refused(chunks: Chunks) -> None:
    refusals = [Refusal(f"{k}.png", "") for k in range(3)]
    write_chunk(chunks.path(0), [], np.zeros((0, 1), np.float32), refusals)
    assert chunks.missing() == []
    assert chunks.refusals() == refusals
    (table,) = chunks.tables()
    assert len(table) == 0


def test_the_longest_ids_fit(chunks: Chunks) -> None:
    long = ["\N{GRINNING FACE}" * LONGEST_ID] * 3
    write_chunk(chunks.path(0), long, np.zeros((3, 2), np.float32), [])
    assert chunks.missing() == []


def test_any_changed_byte_is_found(chunks: Chunks) -> None:
    write_chunk(chunks.path(0), IDS, VECTORS, REFUSALS)
    whole = chunks.path(0).read_bytes()
    for place in range(len(whole)):
        chunks.path(0).write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert chunks.missing() == [0]
    for size in range(0, len(whole), 7):
        chunks.path(0).write_bytes(whole[:size])
        assert chunks.missing() == [0]
    chunks.path(0).write_bytes(whole + b"\0")
    assert chunks.missing() == [0]
    with pytest.raises(UserError, match=r"000000.chunk has changed since it was written"):
        chunks.refusals()


# --- content ------------------------------------------------------------------------------------------------


def with_checksum(content: bytes) -> bytes:
    """As a stranger can write it, too."""
    return blake2b(content, digest_size=32).digest() + content


def of_texts(name: str, texts: list[bytes]) -> dict[str, Any]:
    return {
        f"{name}.bytes": np.frombuffer(b"".join(texts), np.uint8),
        f"{name}.ends": np.cumsum([len(text) for text in texts], dtype=np.int64),
    }


TENSORS = (
    {"vectors": VECTORS}
    | of_texts("ids", [name.encode() for name in IDS])
    | of_texts("where", [b"c.png"])
    | of_texts("reason", [b"no image"])
)
OTHERS: dict[str, dict[str, Any]] = {
    "vectors of another encoder": {"vectors": np.zeros((2, 3), np.float32)},
    "fewer vectors": {"vectors": VECTORS[:1]},
    "flat": {"vectors": VECTORS.reshape(-1)},
    "of doubles": {"vectors": VECTORS.astype(np.float64)},
    "of numbers": {"vectors": VECTORS.astype(np.int64)},
    "not finite": {"vectors": VECTORS * np.float32(np.nan)},
    "more ids": of_texts("ids", [b"a", b"b", b"c"]),
    "no UTF-8": of_texts("ids", [b"a", b"\xff"]),
    "half a character": of_texts("ids", [b"a", b"\xed\xa0\x80"]),
    "long id": of_texts("ids", [b"a", b"b" * (LONGEST_ID + 1)]),
    "more refusals": of_texts("where", [b"c", b"d"]) | of_texts("reason", [b"", b""]),
    "fewer reasons": of_texts("reason", []),
    "ends that fall": {"ids.ends": np.array([5, 0, 14], np.int64)},
    "ends behind the end": {"ids.ends": np.array([5, 1 << 60], np.int64)},
    "ends before the beginning": {"ids.ends": np.array([-(1 << 63), 14], np.int64)},
    "ends of doubles": {"ids.ends": np.array([5, 14.0])},
    "ends in a table": {"ids.ends": np.array([[5, 14]], np.int64)},
    "one end": {"ids.ends": np.array(14, np.int64)},
    "no ids": {"ids.ends": None},
}
CONTENTS = {
    "nothing": b"",
    "text": b"my diary",
    "Parquet": b"PAR1" + b"\0" * 100 + b"PAR1",
    "long header": (1 << 40).to_bytes(8, "little") + b"{}",
    "deep header": (400_000).to_bytes(8, "little") + b'{"a":' + b"[" * 399_995,
    "other header": (2).to_bytes(8, "little") + b"[]",
    "other type": save({"vectors": VECTORS}).replace(b"F32", b"F8_"),
} | {
    name: save({key: value for key, value in (TENSORS | other).items() if value is not None})
    for name, other in OTHERS.items()
}


def test_the_tensors_are_those_of_a_chunk(chunks: Chunks, path: Path) -> None:
    """So that each of the contents below differs in one point."""
    path.write_bytes(with_checksum(save(TENSORS)))
    assert chunks.missing() == []
    assert chunks.refusals() == REFUSALS


@pytest.mark.parametrize("name", CONTENTS)
@pytest.mark.parametrize("checksummed", [True, False])
def test_other_content_is_made_anew(chunks: Chunks, path: Path, name: str, checksummed: bool) -> None:
    path.write_bytes(with_checksum(CONTENTS[name]) if checksummed else CONTENTS[name])
    assert chunks.missing() == [0]


@given(st.binary(max_size=200))
def test_any_bytes_are_made_anew(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    chunks = Chunks(tmp_path_factory.mktemp("any") / "v.parquet", MADE_OF, 3, SCHEMA)
    chunks.path(0).parent.mkdir(parents=True)
    chunks.path(0).write_bytes(with_checksum(content))
    assert chunks.missing() == [0]


# --- places -------------------------------------------------------------------------------------------------


def elsewhere(path: Path) -> Path:
    """A folder that is none of the embedding's, and its file as a chunk is named."""
    victim = path.parents[2] / "elsewhere"
    victim.mkdir()
    write_chunk(victim / path.name, IDS, VECTORS, REFUSALS)
    return victim


PLACES: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "folder": Path.mkdir,
    "endless": lambda path: path.symlink_to("/dev/zero"),
    "link": lambda path: path.symlink_to(elsewhere(path) / path.name),
    "link to nothing": lambda path: path.symlink_to(path.parents[2] / "new"),
    "circle": lambda path: path.symlink_to(path),
}


@pytest.mark.parametrize("name", PLACES)
def test_what_is_no_file_is_named_before_any_work(chunks: Chunks, path: Path, name: str) -> None:
    PLACES[name](path)
    with pytest.raises(UserError, match=r"000000.chunk is a link, folder, pipe or device, and must be a f"):
        chunks.missing()


@pytest.mark.parametrize("name", PLACES)
def test_what_takes_a_files_place_is_not_read(chunks: Chunks, path: Path, name: str) -> None:
    PLACES[name](path)
    with pytest.raises(UserError, match=r"000000.chunk has changed since it was written"):
        chunks.refusals()


def test_a_file_without_an_end_is_made_anew(chunks: Chunks, path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)
    assert chunks.missing() == [0]


@pytest.mark.parametrize("place", ["v.parquet.parts", f"v.parquet.parts/{MADE_OF}"])
def test_a_link_in_place_of_a_folder_is_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=rf"{place} is a link, and must be a folder for unfinished work"):
        Chunks(tmp_path / "v.parquet", MADE_OF, 1, SCHEMA)


def test_a_link_that_takes_a_folders_place_is_not_read(chunks: Chunks, path: Path, tmp_path: Path) -> None:
    victim = elsewhere(path)
    path.parent.rmdir()
    path.parent.symlink_to(victim)
    assert chunks.missing() == [0]


def test_what_is_discarded_is_no_more_than_embeddings_wrote(chunks: Chunks, path: Path) -> None:
    victim, root = elsewhere(path), path.parents[1]
    write_chunk(path, IDS, VECTORS, REFUSALS)
    (root / ("0" * 16)).symlink_to(victim)
    (root / "mine").mkdir()
    chunks.discard()
    assert sorted(entry.name for entry in root.iterdir()) == ["0" * 16, "mine"]
    assert [file.name for file in victim.iterdir()] == [path.name]


def test_the_output_may_lie_behind_a_link(tmp_path: Path) -> None:
    """Which is the user's own."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    chunks = Chunks(tmp_path / "link/v.parquet", MADE_OF, 3, SCHEMA)
    write_chunk(chunks.path(0), IDS, VECTORS, REFUSALS)
    assert chunks.missing() == []
    assert isinstance(next(chunks.tables()), pa.Table)
