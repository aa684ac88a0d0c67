"""The map and the neighbours that a person looks at."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from pipeline.evaluation import embedding_map
from pipeline.evaluation.embedding_map import FEWEST_MAPPED, NEIGHBOURS, QUERIES, map_of, write_map
from probes import blobs


def written(
    folder: Path, train: int, test: int, seed: int = 0
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], torch.Tensor]:
    features, _ = blobs(train + test, 8, 3, 1.0)
    ids = [f"{kind}{n}" for kind, count in (("train", train), ("test", test)) for n in range(count)]
    write_map(folder, ids[:train], features[:train], ids[train:], features[train:], seed)
    rows = [pq.read_table(folder / name).to_pylist() for name in ("map.parquet", "nearest.parquet")]
    return rows[0], rows[1], features


def by_brute_force(features: torch.Tensor, query: int, train: int) -> list[tuple[float, int]]:
    directions = features.double().numpy()
    directions = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    cosines = [(float(directions[query] @ directions[n]), n) for n in range(train) if n != query]
    return sorted(cosines, reverse=True)[:NEIGHBOURS]


def test_neighbours_are_the_train_images_of_largest_cosine(tmp_path: Path) -> None:
    _, found, features = written(tmp_path, 50, 20)
    queries = list(dict.fromkeys(row["query"] for row in found))
    assert len(queries) == QUERIES
    for query in queries:
        expected = by_brute_force(features, 50 + int(query.removeprefix("test")), 50)
        rows = [row for row in found if row["query"] == query]
        assert [row["rank"] for row in rows] == [*range(1, NEIGHBOURS + 1)]
        assert [row["id"] for row in rows] == [f"train{n}" for _, n in expected]
        assert [row["cosine"] for row in rows] == pytest.approx([cosine for cosine, _ in expected], abs=1e-5)


def test_without_test_images_no_train_image_is_its_own_neighbour(tmp_path: Path) -> None:
    _, found, features = written(tmp_path, 30, 0)
    assert len(found) == QUERIES * NEIGHBOURS
    for query in {row["query"] for row in found}:
        expected = by_brute_force(features, int(query.removeprefix("train")), 30)
        assert [row["id"] for row in found if row["query"] == query] == [f"train{n}" for _, n in expected]


@pytest.mark.parametrize("scale", [0.0, 1.0, 1e-30])
def test_images_that_are_all_alike_have_no_map(tmp_path: Path, scale: float) -> None:
    features = scale * torch.tensor([[0.1, 0.3, 0.7]]).expand(FEWEST_MAPPED, 3)
    ids = [str(number) for number in range(FEWEST_MAPPED)]
    write_map(tmp_path, ids, features, [], features[:0], 0)
    assert pq.read_table(tmp_path / "map.parquet").num_rows == 0
    assert pq.read_table(tmp_path / "nearest.parquet").num_rows > 0


@pytest.mark.parametrize(("train", "test"), [(1, 0), (3, 2), (FEWEST_MAPPED - 1, 1)])
def test_few_images_give_what_there_is(tmp_path: Path, train: int, test: int) -> None:
    mapped, found, _ = written(tmp_path, train, test)
    assert mapped == []
    per_query = min(NEIGHBOURS, train if test else train - 1)
    assert len(found) == min(QUERIES, test or train) * per_query


def test_the_map_holds_a_draw_of_the_train_images_and_follows_from_the_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding_map, "MAPPED", 40)
    folders = [tmp_path / name for name in "abc"]
    for folder in folders:
        folder.mkdir()
    (first, _, _), (again, _, _), (other, _, _) = (
        written(folder, 60, 5, seed) for folder, seed in zip(folders, (0, 0, 1), strict=True)
    )
    assert len({row["id"] for row in first}) == 40
    assert first == again
    assert {row["id"] for row in first} != {row["id"] for row in other}


def test_alike_images_lie_together() -> None:
    features, labels = blobs(90, 8, 3, 0.2)
    places = map_of(features, 0)
    centres = np.stack([places[labels == label].mean(0) for label in range(3)])
    distances = np.linalg.norm(places[:, None] - centres[None], axis=2)
    assert (distances.argmin(1) == labels.numpy()).all()
