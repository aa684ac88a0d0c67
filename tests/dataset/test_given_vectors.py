"""K-means of vectors that people have: embeddings in Parquet or NumPy, of this project or another program."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.clustering.base import Clusters
from pipeline.clustering.registry import METHODS
from pipeline.dataset import given_vectors as given_vectors_module
from pipeline.dataset.dataset import ImageSplit
from pipeline.dataset.given_vectors import given_vectors
from pipeline.ingest.run import ingest
from pipeline.runtime.errors import UserError
from pipeline.storage.schema import Layout
from support import params_with

pytestmark = pytest.mark.slow

IMAGES, TRAIN = 24, 18


@pytest.fixture
def train(manifest: Callable[..., Path], tmp_path: Path) -> ImageSplit:
    section = {"source": "manifest", "path": str(manifest(IMAGES))}
    ingest(params_with(ingest=section).ingest, 0, Layout(tmp_path / "data"))
    return ImageSplit(tmp_path / "data" / "images", "train")


def vectors_of(count: int, groups: int = 3) -> NDArray[np.float32]:
    """In as many directions as `groups`, at random lengths and with a little noise."""
    random = np.random.default_rng(0)
    directions = np.eye(groups, 5)[np.arange(count) % groups]
    noisy = directions + random.normal(0, 0.01, directions.shape)
    return (noisy * random.uniform(0.1, 10, (count, 1))).astype(np.float32)


def write(path: Path, ids: Any, vectors: Any) -> Path:
    kind = pa.list_(pa.float32(), vectors.shape[1]) if isinstance(vectors, np.ndarray) else None
    values = list(vectors) if isinstance(vectors, np.ndarray) else vectors
    pq.write_table(pa.table({"id": ids, "vector": pa.array(values, kind)}), path)
    return path


def vectors_in(path: Path, train: ImageSplit) -> NDArray[np.float32]:
    return given_vectors(str(path), train, "cluster.kmeans.vectors")


def fit(train: ImageSplit, path: Path, clusters: int = 3) -> Clusters:
    section = {"clusters": clusters, "min_points": 1, "vectors": str(path)}
    params = params_with(cluster={"method": "kmeans", "kmeans": section}).cluster
    return METHODS["kmeans"].fit(train, params.chosen, 0)


def test_clusters_are_those_of_the_vectors_by_cosine_and_stay(train: ImageSplit, tmp_path: Path) -> None:
    ids = train.ids.to_pylist()
    order = np.random.default_rng(1).permutation(len(ids))
    shuffled = [ids[place] for place in order]
    clusters = fit(train, write(tmp_path / "v.parquet", [*shuffled, "another"], vectors_of(TRAIN + 1)))
    group_of = {name: place % 3 for place, name in enumerate(shuffled)}
    pairs = {(group_of[name], int(label)) for name, label in zip(ids, clusters.labels_N, strict=True)}
    assert len(pairs) == 3
    assert clusters.recluster is None
    assert "given vectors of 5 numbers" in clusters.notes[-1]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64])
def test_arrays_of_numpy_are_in_the_order_of_the_images(
    train: ImageSplit, tmp_path: Path, dtype: type
) -> None:
    array: NDArray[Any] = (10 * vectors_of(TRAIN)).astype(dtype)
    np.save(tmp_path / "v.npy", array)
    expected = array.astype(np.float64)
    expected /= np.maximum(np.linalg.norm(expected, axis=1, keepdims=True), 1e-30)
    np.testing.assert_allclose(vectors_in(tmp_path / "v.npy", train), expected, atol=1e-3)


@pytest.mark.parametrize("scale", [1e200, 1e-60, 1e-300])
def test_numbers_beyond_float32_keep_their_directions(
    train: ImageSplit, tmp_path: Path, scale: float
) -> None:
    vectors = vectors_of(TRAIN).astype(np.float64)
    expected = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    np.save(tmp_path / "v.npy", scale * vectors)
    np.testing.assert_allclose(vectors_in(tmp_path / "v.npy", train), expected, atol=1e-6)
    table = pa.table({"id": train.ids, "vector": (scale * vectors).tolist()})
    pq.write_table(table, tmp_path / "v.parquet")
    np.testing.assert_allclose(vectors_in(tmp_path / "v.parquet", train), expected, atol=1e-6)


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.float64()), pa.large_list(pa.float32()), pa.list_(pa.float16(), 5)]
)
def test_lists_of_other_programs(train: ImageSplit, tmp_path: Path, kind: pa.DataType) -> None:
    vectors = vectors_of(TRAIN).astype(np.float16)
    numbers = list(vectors) if kind.value_type == pa.float16() else vectors.astype(float).tolist()
    table = pa.table({"id": train.ids, "vector": pa.array(numbers, kind), "more": ["x"] * TRAIN})
    pq.write_table(table, tmp_path / "v.parquet")
    found = vectors_in(tmp_path / "v.parquet", train)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-4)


def test_vectors_of_many_other_images_are_refused_unless_the_file_is_as_large(
    train: ImageSplit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids, others, length = train.ids.to_pylist(), 3000, 200
    path = tmp_path / "v.parquet"
    names = [*ids, *(f"other-{number}" for number in range(others))]
    monkeypatch.setattr(given_vectors_module, "ALWAYS_OF_OTHERS", 0)
    varied = np.random.default_rng(0).normal(size=(len(names), length)).astype(np.float32)
    write(path, names, varied)
    expected = varied[: len(ids)] / np.linalg.norm(varied[: len(ids)], axis=1, keepdims=True)
    np.testing.assert_allclose(vectors_in(path, train), expected, atol=1e-6)

    equal = np.ones((len(names), length), np.float32)
    write(path, [*ids, *["x"] * others], equal)
    assert others * length > 32 * path.stat().st_size
    with pytest.raises(
        UserError, match=r"numbers for other images than the train images.*: leave their rows"
    ):
        vectors_in(path, train)
    # Of the images themselves there is one row each.
    write(path, ids, np.ones((len(ids), 16_384), np.float32))
    assert len(ids) * 16_384 > 32 * path.stat().st_size
    assert set(vectors_in(path, train).ravel()) == {np.float32(1 / 128)}
    monkeypatch.setattr(given_vectors_module, "ALWAYS_OF_OTHERS", others * length)
    write(path, [*ids, *["x"] * others], equal)
    assert len(vectors_in(path, train)) == len(ids)


def faulty(name: str, ids: list[str]) -> tuple[Any, Any]:
    good = vectors_of(len(ids))
    cases: dict[str, tuple[Any, Any]] = {
        "an image is missing": (ids[1:], good[1:]),
        "all are missing": (["x"], good[:1]),
        "repeated": ([*ids, ids[3]], vectors_of(len(ids) + 1)),
        "not finite": (ids, np.where(np.arange(len(ids))[:, None] == 4, np.nan, good)),
        "no vector": (ids, [None, *good[1:].tolist()]),
        "several lengths": (ids, [[1.0], *good[1:].tolist()]),
        "texts": (ids, [["a"]] * len(ids)),
        "numbers": (ids, [1.0] * len(ids)),
        "no numbers": (ids, [[]] * len(ids)),
        "zeros": (ids, np.where(np.arange(len(ids))[:, None] == 4, 0, good)),
        "times for ids": (pa.array([-(1 << 62)] * len(ids), pa.timestamp("ms")), good),
    }
    return cases[name]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "an image is missing",
            r"lacks 1 of the 18 train images, such as \S+: their ids are those of data/images",
        ),
        ("all are missing", "lacks 18 of the 18 train images"),
        ("repeated", r"has several vectors of \S+: keep one of each"),
        ("not finite", r"holds numbers that are not finite for 1 of the 18 train images, such as"),
        ("no vector", "holds rows without an id or vector, or vectors of several lengths"),
        ("several lengths", "holds rows without an id or vector, or vectors of several lengths"),
        ("texts", r"holds list<.*string> in vector: it must be a list of numbers per row"),
        ("numbers", r"holds double in vector: it must be a list of numbers per row"),
        ("no numbers", "it must be a list of numbers per row"),
        ("zeros", r"holds vectors of zeros, which have no direction, for 1 of the 18 train images, such as"),
        ("times for ids", r"holds timestamp\[ms\] in id: it must be the ids of data/images, which are texts"),
    ],
)
def test_faulty_tables_end_in_a_sentence(train: ImageSplit, tmp_path: Path, name: str, sentence: str) -> None:
    path = write(tmp_path / "v.parquet", *faulty(name, train.ids.to_pylist()))
    with pytest.raises(UserError, match=rf"^cluster\.kmeans\.vectors=\S+ .*{sentence}"):
        vectors_in(path, train)


def test_faulty_files_end_in_a_sentence(train: ImageSplit, tmp_path: Path) -> None:
    def refused(path: Path) -> str:
        with pytest.raises(UserError) as raised:
            vectors_in(path, train)
        return str(raised.value)

    # Of all images it could be in the order of the table, in which the splits are mixed.
    for rows in (5, IMAGES):
        np.save(tmp_path / "rows.npy", vectors_of(rows))
        assert f"has {rows} rows, and there are 18 train images" in refused(tmp_path / "rows.npy")
    np.save(tmp_path / "flat.npy", np.zeros(18))
    assert "holds float64 of shape (18,): it must be" in refused(tmp_path / "flat.npy")
    np.save(tmp_path / "texts.npy", np.full((18, 2), "a"))
    assert "holds <U1 of shape (18, 2): it must be" in refused(tmp_path / "texts.npy")
    np.save(tmp_path / "objects.npy", np.array([[{}] * 2] * 18, object), allow_pickle=True)
    assert "is no array of NumPy" in refused(tmp_path / "objects.npy")
    np.savez(tmp_path / "several.npz", a=np.zeros((18, 2)))
    (tmp_path / "several.npz").rename(tmp_path / "several.npy")
    assert "is no array of NumPy (it begins otherwise)" in refused(tmp_path / "several.npy")
    for name, content in (("empty.npy", b""), ("cut.npy", (tmp_path / "rows.npy").read_bytes()[:40])):
        (tmp_path / name).write_bytes(content)
        assert "is no array of NumPy" in refused(tmp_path / name)
    (tmp_path / "v.parquet").write_bytes(b"PAR1")
    assert "can't be read as Parquet" in refused(tmp_path / "v.parquet")
    pq.write_table(pa.table({"id": ["a"], "embedding": [[1.0]]}), tmp_path / "named.parquet")
    assert "has the columns id, embedding, and needs id and vector: rename" in refused(
        tmp_path / "named.parquet"
    )
    for name in ("none.npy", "none.parquet"):
        assert refused(tmp_path / name).endswith(f"{name} does not exist: check its name and folder")


HEADERS = [
    "{'descr': '<f4', 'fortran_order': False, 'shape': (18, -5), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (18, 9999999999999999999999), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (True, 5), }",
    "{'descr': (), 'fortran_order': False, 'shape': (18, 5), }",
    "{'descr': ('f4',), 'fortran_order': False, 'shape': (18, 5), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (18, 5), 3: 4}",
    "{[]: 1}",
    "{'descr': '<f4', ",
    " {\n 'descr'\n:",
    "-" * 9_000,
]


@pytest.mark.parametrize("header", HEADERS)
def test_a_damaged_header_of_numpy_ends_in_a_sentence(train: ImageSplit, tmp_path: Path, header: str) -> None:
    length = len(header).to_bytes(2, "little")
    content = b"\x93NUMPY\x01\x00" + length + header.encode() + bytes(18 * 5 * 4)
    (tmp_path / "v.npy").write_bytes(content)
    with pytest.raises(UserError, match=r"is no array of NumPy|it must be numbers of shape|has 1 rows"):
        vectors_in(tmp_path / "v.npy", train)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(6, 127), byte=st.integers(0, 255))
def test_a_changed_byte_of_a_header_ends_in_a_sentence_or_not_at_all(
    train: ImageSplit, tmp_path: Path, place: int, byte: int
) -> None:
    np.save(tmp_path / "v.npy", vectors_of(TRAIN))
    content = bytearray((tmp_path / "v.npy").read_bytes())
    content[place] = byte
    (tmp_path / "v.npy").write_bytes(content)
    with suppress(UserError):
        vectors_in(tmp_path / "v.npy", train)
