import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    adjusted_mutual_info_score,
    mutual_info_score,
    normalized_mutual_info_score,
)

from pipeline.statistics.contingency import Contingency
from pipeline.statistics.information import Information

CODES = st.integers(min_value=0, max_value=5)
ROWS = st.lists(st.tuples(CODES, CODES), min_size=1, max_size=60)
TOLERANCE = 1e-9

Rows = list[tuple[int, int]]


def information_of(rows: Rows) -> Information:
    codes = np.array(rows, np.int64).reshape(-1, 2)
    return Information(Contingency.of_codes(codes[:, 0], codes[:, 1]))


def entropy_by_definition(values: list[object]) -> float:
    shares = [count / len(values) for count in Counter(values).values()]
    return -sum(share * math.log2(share) for share in shares)


@given(ROWS)
def test_entropies_equal_their_definition(rows: Rows) -> None:
    information = information_of(rows)
    clusters, labels = zip(*rows, strict=True)
    assert information.cluster_entropy_bits == pytest.approx(
        entropy_by_definition([*clusters]), abs=TOLERANCE
    )
    assert information.label_entropy_bits == pytest.approx(entropy_by_definition([*labels]), abs=TOLERANCE)
    assert information.joint_entropy_bits == pytest.approx(entropy_by_definition([*rows]), abs=TOLERANCE)


@given(ROWS)
def test_information_equals_its_definition(rows: Rows) -> None:
    clusters, labels = (Counter(column) for column in zip(*rows, strict=True))
    definition = sum(
        count / len(rows) * math.log2(count * len(rows) / (clusters[z] * labels[t]))
        for (z, t), count in Counter(rows).items()
    )
    assert information_of(rows).mutual_information_bits == pytest.approx(definition, abs=TOLERANCE)


@given(ROWS)
def test_chain_rules(rows: Rows) -> None:
    one = information_of(rows)
    assert one.joint_entropy_bits == pytest.approx(
        one.cluster_entropy_bits + one.label_conditional_entropy_bits, abs=TOLERANCE
    )
    assert one.joint_entropy_bits == pytest.approx(
        one.label_entropy_bits + one.conditional_entropy_bits, abs=TOLERANCE
    )
    assert one.cluster_entropy_bits == pytest.approx(
        one.mutual_information_bits + one.conditional_entropy_bits, abs=TOLERANCE
    )


@given(ROWS)
def test_information_is_symmetric_and_bounded(rows: Rows) -> None:
    one, swapped = information_of(rows), information_of([(t, z) for z, t in rows])
    assert one.mutual_information_bits == pytest.approx(swapped.mutual_information_bits, abs=TOLERANCE)
    assert one.adjusted_mutual_information == pytest.approx(swapped.adjusted_mutual_information, abs=1e-7)
    smaller = min(one.cluster_entropy_bits, one.label_entropy_bits)
    assert 0.0 <= one.mutual_information_bits <= smaller + TOLERANCE
    assert 0.0 <= one.normalized_mutual_information <= 1.0 + TOLERANCE
    assert one.adjusted_mutual_information <= 1.0 + TOLERANCE


@given(st.lists(st.tuples(CODES, CODES, st.integers(0, 2)), min_size=1, max_size=60))
def test_refining_clusters_never_lowers_information(rows: list[tuple[int, int, int]]) -> None:
    coarse = information_of([(z, t) for z, t, _ in rows])
    fine = information_of([(3 * z + part, t) for z, t, part in rows])
    assert fine.mutual_information_bits >= coarse.mutual_information_bits - TOLERANCE
    assert fine.conditional_entropy_bits >= coarse.conditional_entropy_bits - TOLERANCE
    assert fine.purity >= coarse.purity - TOLERANCE


@given(ROWS, st.permutations(range(6)), st.permutations(range(6)))
def test_names_do_not_matter(rows: Rows, clusters: list[int], labels: list[int]) -> None:
    one = information_of(rows)
    renamed = information_of([(100 * clusters[z], labels[t] + 3) for z, t in rows])
    for name in (
        "mutual_information_bits",
        "conditional_entropy_bits",
        "label_conditional_entropy_bits",
        "expected_mutual_information_bits",
        "normalized_mutual_information",
        "purity",
    ):
        assert getattr(renamed, name) == pytest.approx(getattr(one, name), abs=TOLERANCE), name


@given(st.lists(CODES, min_size=1, max_size=60))
def test_the_label_end(labels: list[int]) -> None:
    end = information_of([(label, label) for label in labels])
    assert end.mutual_information_bits == pytest.approx(end.label_entropy_bits, abs=TOLERANCE)
    assert end.conditional_entropy_bits == pytest.approx(0.0, abs=TOLERANCE)
    assert end.adjusted_mutual_information == end.normalized_mutual_information == end.purity == 1.0


@given(st.lists(CODES, min_size=1, max_size=60))
def test_the_instance_end(labels: list[int]) -> None:
    end = information_of(list(enumerate(labels)))
    assert end.mutual_information_bits == pytest.approx(end.label_entropy_bits, abs=TOLERANCE)
    expected = math.log2(len(labels)) - end.label_entropy_bits
    assert end.conditional_entropy_bits == pytest.approx(expected, abs=TOLERANCE)
    assert end.purity == 1.0


@given(ROWS)
def test_figures_equal_scikit_learns(rows: Rows) -> None:
    clusters, labels = zip(*rows, strict=True)
    information = information_of(rows)
    nats = mutual_info_score(labels, clusters)
    assert information.mutual_information_bits * math.log(2) == pytest.approx(nats, abs=TOLERANCE)
    assert information.normalized_mutual_information == pytest.approx(
        normalized_mutual_info_score(labels, clusters), abs=1e-7
    )
    assert information.adjusted_mutual_information == pytest.approx(
        adjusted_mutual_info_score(labels, clusters), abs=1e-6
    )


def test_purity_is_the_share_of_the_commonest_label_of_each_cluster() -> None:
    rows = [(0, 0), (0, 0), (0, 1), (1, 1), (1, 2), (2, 2)]
    assert information_of(rows).purity == pytest.approx((2 + 1 + 1) / 6)
