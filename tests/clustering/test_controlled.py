"""The controlled series move one of I(Z;T) and H(Z|T) and keep the other."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline.clustering.registry import METHODS
from pipeline.dataset.dataset import ImageSplit
from pipeline.ingest.run import ingest
from pipeline.statistics.contingency import Contingency
from pipeline.statistics.information import Information
from pipeline.statistics.values import encoded
from pipeline.storage.schema import Layout
from support import params_with

LABELS = [f"label {n % 8}" for n in range(64)]


@pytest.fixture
def train(manifest: Callable[..., Path], tmp_path: Path) -> ImageSplit:
    path = manifest(64, split=["train"] * 64, label=LABELS)
    ingest(params_with(ingest={"source": "manifest", "path": str(path)}).ingest, 0, Layout(tmp_path))
    return ImageSplit(tmp_path / "images", "train")


def fit(train: ImageSplit, method: str, **section: object) -> np.ndarray:
    return (
        METHODS[method].fit(train, params_with(cluster={method: section}).cluster.block(method), 0).labels_N
    )


def information(labels_N: np.ndarray) -> Information:
    return Information(Contingency.of_codes(labels_N, encoded(pa.array(LABELS))[0]))


def refines(fine: np.ndarray, coarse: np.ndarray) -> bool:
    return len(set(zip(fine.tolist(), coarse.tolist(), strict=True))) == len(set(fine.tolist()))


def test_coarsening_loses_information_and_adds_no_entropy(train: ImageSplit) -> None:
    series = [fit(train, "coarsen", clusters=k) for k in range(8, 0, -1)]
    figures = [information(labels_N) for labels_N in series]
    assert all(own.conditional_entropy_bits == 0.0 for own in figures)
    bits = [own.mutual_information_bits for own in figures]
    assert bits[0] == pytest.approx(3.0)
    assert bits[-1] == 0.0
    assert all(a > b for a, b in pairwise(bits))
    assert all(refines(a, b) for a, b in pairwise(series))


def test_subdividing_adds_a_bit_of_entropy_a_time_and_loses_nothing(train: ImageSplit) -> None:
    series = [fit(train, "subdivide", depth=depth) for depth in range(4)]
    for depth, labels_N in enumerate(series):
        assert information(labels_N).mutual_information_bits == pytest.approx(3.0)
        assert information(labels_N).conditional_entropy_bits == pytest.approx(depth)
    assert all(refines(b, a) for a, b in pairwise(series))


def test_permuting_keeps_the_sizes_and_loses_information(train: ImageSplit) -> None:
    figures = [information(fit(train, "permute", labels=count)) for count in (0, 3, 6, 8)]
    bits = [own.mutual_information_bits for own in figures]
    assert bits[0] == pytest.approx(3.0)
    assert all(a > b for a, b in pairwise(bits))
    assert all(own.cluster_entropy_bits == pytest.approx(3.0) for own in figures)
