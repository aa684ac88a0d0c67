"""`clinfonce search` with vectors, encoders and pictures that were made to break it ends in one sentence."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner, Result

from inference.conftest import MakeEncoder
from pipeline.cli import app
from pipeline.inference.contact_sheet import MOST_FOUND, write_sheet
from pipeline.inference.embed import embed
from pipeline.inference.embedder import NOT_FINITE, Request
from pipeline.inference.images import parquet
from pipeline.inference.images.base import InputImage
from pipeline.inference.images.decode import decoder
from pipeline.inference.images.open import open_pictures
from pipeline.inference.vectors import METADATA, Description, Vectors, vectors_schema, vectors_table
from pipeline.runtime.console import terminal
from pipeline.runtime.errors import UserError
from pipeline.storage.checksums import write_checksummed
from pipeline.storage.files import read_json, write_json
from support import NO_FILES, at_once, png

pytestmark = pytest.mark.slow

DIMENSION = 4
TOLD: Description = {
    "encoder": {"weights_sha256": "00", "feature_dim": DIMENSION},
    "encoder_folder": "encoder",
    "source": {"path": "pictures"},
    "fingerprint": "00",
}
SCHEMA = vectors_schema(DIMENSION, TOLD)
VECTORS_ND = np.arange(3 * DIMENSION, dtype=np.float32).reshape(3, DIMENSION)
IDS = pa.array(["a", "b", "c"])
DAMAGED = r"v.parquet (was not written by `clinfonce embed`|is damaged \(.*\)): make it with"


def table(ids: pa.Array = IDS, vectors_ND: np.ndarray = VECTORS_ND) -> pa.Table:
    return vectors_table(ids.to_pylist(), vectors_ND, SCHEMA)


def described(**changed: Any) -> pa.Table:
    return table().replace_schema_metadata({METADATA: json.dumps(dict(TOLD) | changed)})


def with_column(name: str, values: pa.Array) -> pa.Table:
    place = SCHEMA.get_field_index(name)
    return table().set_column(place, pa.field(name, values.type, nullable=False), values)


def listed(values: list[Any], kind: pa.DataType | None = None, dimension: int = DIMENSION) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(values * 3 * dimension, kind), dimension)


MALFORMED: dict[str, Callable[[], pa.Table]] = {
    **{
        f"{key} is {value!r}": lambda key=key, value=value: described(**{key: value})  # type: ignore[misc]
        for key in TOLD
        for value in (None, 7, [], [["path", "x"]])
    },
    "source is text": lambda: described(source="pictures"),
    "encoder is text": lambda: described(encoder="pictures"),
    "no metadata": lambda: table().replace_schema_metadata({}),
    "metadata without a key": lambda: table().replace_schema_metadata({METADATA: '{"source": {}}'}),
    "metadata of another shape": lambda: table().replace_schema_metadata({METADATA: "[1]"}),
    "metadata without an end": lambda: table().replace_schema_metadata({METADATA: "[" * 5000}),
    "null ids": lambda: pa.table([["a", None, "c"], table()["vector"]], SCHEMA.names).replace_schema_metadata(
        SCHEMA.metadata
    ),
    "ids that are numbers": lambda: with_column("id", pa.array([1, 2, 3])),
    "ids that are bytes": lambda: with_column("id", pa.array([b"a", b"\xff", b"c"])),
    "ids that are no text": lambda: with_column("id", pa.array([b"a", b"\xff", b"c"]).view(pa.string())),
    "ids that are lists": lambda: with_column("id", pa.array([["a"], [], []])),
    "no ids": lambda: table().drop_columns("id"),
    "ids twice": lambda: table().append_column("id", IDS),
    "no vectors": lambda: table().drop_columns("vector"),
    "vectors of any length": lambda: with_column("vector", pa.array([[1.0]] * 3, pa.list_(pa.float32()))),
    "vectors of doubles": lambda: with_column("vector", listed([1.0], pa.float64())),
    "vectors of text": lambda: with_column("vector", listed(["x"])),
    "vectors of nothing": lambda: with_column("vector", pa.array([[]] * 3, pa.list_(pa.float32(), 0))),
    "a number is a structure": lambda: with_column("vector", pa.array([{"x": 1}] * 3)),
}
NO_NUMBERS: dict[str, Callable[[], pa.Table]] = {
    "not a number": lambda: table(vectors_ND=np.where(VECTORS_ND == 5, np.float32(math.nan), VECTORS_ND)),
    "infinite": lambda: table(vectors_ND=np.where(VECTORS_ND == 5, np.float32(-math.inf), VECTORS_ND)),
    "a null number": lambda: with_nulls([[1, 2, 3, 4], [1, None, 3, 4], [1, 2, 3, 4]]),
    "a null vector": lambda: with_nulls([[1, 2, 3, 4], None, [1, 2, 3, 4]]),
}


def with_nulls(rows: list[Any]) -> pa.Table:
    return table().set_column(1, SCHEMA.field("vector"), pa.array(rows, SCHEMA.field("vector").type))


def read(path: Path) -> None:
    for ids, vectors_TD in Vectors.open(path).tiles():
        assert len(ids) == len(vectors_TD)


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_file_of_vectors(tmp_path: Path, name: str) -> None:
    path = tmp_path / "v.parquet"
    write_checksummed(MALFORMED[name](), path)
    with pytest.raises(UserError, match=DAMAGED):
        read(path)


@pytest.mark.parametrize("name", NO_NUMBERS)
def test_vectors_that_are_no_numbers(tmp_path: Path, name: str) -> None:
    path = tmp_path / "v.parquet"
    write_checksummed(NO_NUMBERS[name](), path)
    with pytest.raises(UserError, match=r"v.parquet holds vectors that are no finite numbers: make it anew"):
        read(path)


def test_ids_without_end(tmp_path: Path, make_encoder: MakeEncoder) -> None:
    """Kilobytes of Parquet can hold a long text a million times."""
    path = tmp_path / "v.parquet"
    write_checksummed(table(pa.array(["a", "b" * 5000, "c"])), path)
    with pytest.raises(UserError, match=r"v.parquet holds ids of more than 4,096 characters: make it with"):
        read(path)
    pq.write_table(pa.table({"image": [png(0)] * 2, "id": ["a", "b" * 5000]}), tmp_path / "m.parquet")
    request = Request(tmp_path / "m.parquet", None, None, make_encoder(), None)
    with pytest.raises(UserError, match=r"m.parquet holds ids of more than 4,096 characters in column id"):
        embed(request, tmp_path / "out.parquet", terminal())


def test_ids_that_are_lists_and_images_that_no_file_can_hold(
    tmp_path: Path, make_encoder: MakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.parquet"
    request = Request(path, None, None, make_encoder(), None)
    pq.write_table(pa.table({"image": [png(0)], "id": [["a"]]}), path)
    with pytest.raises(UserError, match=r"m.parquet has lists or structs in its column id: name one of ids"):
        embed(request, tmp_path / "out.parquet", terminal())
    pq.write_table(pa.table({"image": pa.nulls(100_000, pa.binary())}), path)
    with pytest.raises(UserError, match=r"m.parquet claims 100,000 images in [\d,]+ bytes: write it again"):
        embed(request, tmp_path / "out.parquet", terminal())


@pytest.mark.parametrize("columns", [{"id": [1, 2]}, {"vector": [1.0, 2.0]}, {"id": None}])
def test_a_file_that_another_one_replaces_after_it_was_opened(
    tmp_path: Path, columns: dict[str, Any]
) -> None:
    path = tmp_path / "v.parquet"
    write_checksummed(table(), path)
    opened = Vectors.open(path)
    replaced = {"id": ["a", "b"], "vector": VECTORS_ND[:2].tolist()} | columns
    pq.write_table(pa.table({name: v for name, v in replaced.items() if v is not None}), path)
    with pytest.raises(
        UserError, match=r"v.parquet (has changed since it was opened|can't be read any more)"
    ):
        list(opened.tiles())


def test_a_file_that_is_whole(tmp_path: Path) -> None:
    write_checksummed(table(), tmp_path / "v.parquet")
    read(tmp_path / "v.parquet")
    write_checksummed(table(vectors_ND=np.zeros_like(VECTORS_ND)), tmp_path / "v.parquet")
    read(tmp_path / "v.parquet")


PLACES: dict[str, Callable[[Path], object]] = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-9]),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:60]),
    "empty": lambda path: path.write_bytes(b""),
    "without a checksum": lambda path: pq.write_table(table(), path),
    **{name: lambda path, make=make: (path.unlink(), make(path)) for name, make in NO_FILES.items()},  # type: ignore[misc]
}


@pytest.mark.parametrize("name", PLACES)
def test_what_is_no_file_of_vectors(tmp_path: Path, name: str) -> None:
    path = tmp_path / "v.parquet"
    write_checksummed(table(), path)
    PLACES[name](path)
    with (
        at_once(),
        pytest.raises(UserError, match=r"v.parquet (was not written by|can't be read|does not exist)"),
    ):
        read(path)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["search", *map(str, arguments)])


@pytest.mark.parametrize(
    ("changed", "where"),
    [
        ({"encoder_folder": "a\0b"}, r"a\\x00b holds none"),
        ({"encoder_folder": "x" * 5000}, "x holds none"),
        ({"encoder_folder": "\ud800"}, r"\\ud800 holds none"),
        ({"encoder": {}}, "holds none"),
    ],
)
def test_an_encoder_that_is_nowhere(tmp_path: Path, changed: dict[str, Any], where: str) -> None:
    write_checksummed(described(**changed), tmp_path / "v.parquet")
    result = run("a.png", "--vectors", tmp_path / "v.parquet")
    assert result.exit_code == 2
    assert where in result.stderr.replace("\\", "\\\\")
    assert "v.parquet was made by the encoder" in result.stderr


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "0.png").write_bytes(png(0))
    return folder


def test_vectors_of_another_width(make_encoder: MakeEncoder, pictures: Path, tmp_path: Path) -> None:
    path = tmp_path / "v.parquet"
    embed(Request(pictures, None, None, make_encoder(), 4), path, terminal(quiet=True))
    schema = vectors_schema(DIMENSION, Vectors.open(path).description)
    write_checksummed(vectors_table(["a"], VECTORS_ND[:1], schema), path)
    result = run(pictures / "0.png", "--vectors", path)
    assert result.exit_code == 2
    assert f"{path} holds vectors of {DIMENSION} numbers, and its encoder makes 512" in result.stderr


@pytest.mark.parametrize("count", ["0", "-1", "1.5", "x"])
def test_no_number_of_neighbours(count: str) -> None:
    assert run("a.png", "--count", count).exit_code == 2


def test_more_neighbours_than_a_sheet_can_show() -> None:
    result = run("a.png", "--count", MOST_FOUND + 1, "--picture", "s.png")
    assert (result.exit_code, "--picture shows at most 1,000" in result.stderr) == (2, True)


def scale_weights(encoder: Path, factor: float) -> Path:
    weights = load_file(encoder / "encoder.safetensors")
    save_file({name: weight * factor for name, weight in weights.items()}, encoder / "encoder.safetensors")
    write_json(encoder / "config.json", read_json(encoder / "config.json") | {"weights_sha256": None})
    return encoder


@pytest.mark.parametrize(
    ("factor", "why"), [(1e30, "are not finite"), (0.0, "its features are equal for all")]
)
def test_an_encoder_that_makes_no_features(
    make_encoder: MakeEncoder, pictures: Path, tmp_path: Path, factor: float, why: str
) -> None:
    encoder = scale_weights(make_encoder(), factor)
    with pytest.raises(UserError, match=rf"the encoder in .* is damaged \(encoder.safetensors: .*{why}"):
        embed(Request(pictures, None, None, encoder, 4), tmp_path / "v.parquet", terminal(quiet=True))


def test_a_picture_of_which_no_numbers_are_made(
    make_encoder: MakeEncoder, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = scale_weights(make_encoder(), 1e30)
    monkeypatch.setattr("pipeline.inference.open_encoder.check_encoder", lambda trained, device: None)
    with pytest.raises(UserError, match=f"gave no usable image .1 x {NOT_FINITE}"):
        embed(Request(pictures, None, None, encoder, 4), tmp_path / "v.parquet", terminal(quiet=True))


@pytest.mark.parametrize("suffix", [".png", ".html"])
def test_a_thin_picture_is_shown(tmp_path: Path, suffix: str) -> None:
    Image.new("RGB", (16, 20_000), "red").save(tmp_path / "thin.png")
    query = InputImage("thin", (tmp_path / "thin.png").read_bytes())
    sheet = tmp_path / f"sheet{suffix}"
    with decoder() as decoding:
        assert write_sheet(sheet, query, [("thin", 1.0), ("gone", 0.5)], [query], decoding) == {"thin"}
    assert sheet.stat().st_size > 0


def test_an_id_of_many_rows_is_passed_over_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = [png(0), *[png(1)] * 200]
    pq.write_table(pa.table({"image": images, "id": ["a", *["b"] * 200]}), tmp_path / "t.parquet")
    pictures, batches = open_pictures(tmp_path / "t.parquet"), parquet._batches
    reads: list[tuple[Any, ...]] = []

    def noted(*requested: Any) -> Any:
        reads.append(requested)
        return batches(*requested)

    monkeypatch.setattr(parquet, "_batches", noted)
    (found,) = pictures.find(["a", "b"])
    assert (found.id, found.image) == ("a", png(0))
    # The ids, and the row.
    assert len(reads) == 2
