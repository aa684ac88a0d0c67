"""Joint values: their codes, and the search for those that are worth most."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.advice.candidates import joint_codes, of_columns
from pipeline.advice.predictors import Labelled
from pipeline.advice.search import joins_found
from pipeline.statistics.contingency import UNKNOWN
from pipeline.statistics.values import codes_of_values

ROWS = st.integers(1, 30)


@st.composite
def tables(draw: st.DrawFn) -> list[list[int]]:
    rows, columns = draw(ROWS), draw(st.integers(1, 4))
    large = draw(st.sampled_from([3, 10**9]))
    return [draw(st.lists(st.integers(-1, large), min_size=rows, max_size=rows)) for _ in range(columns)]


@given(tables())
def test_joint_codes_are_those_of_equal_rows(columns: list[list[int]]) -> None:
    got = joint_codes([np.array(column, np.int64) for column in columns]).tolist()
    rows = list(zip(*columns, strict=True))
    assert [code == UNKNOWN for code in got] == [set(row) == {UNKNOWN} for row in rows]
    pairs = {(code, row) for code, row in zip(got, rows, strict=True) if code != UNKNOWN}
    assert len(pairs) == len({code for code, _ in pairs}) == len({row for _, row in pairs})
    assert {code for code, _ in pairs} == set(range(len(pairs)))


def test_codes_of_values() -> None:
    assert codes_of_values(["b", None, "a", "b"]).tolist() == [0, UNKNOWN, 1, 0]


def test_a_join_is_named_by_its_columns() -> None:
    columns = {"a": np.array([0, 1]), "b": np.array([0, 0])}
    candidate = of_columns(columns, ["a", "b"])
    assert candidate.name == "a x b"
    assert candidate.changes == {"cluster.method": "attributes", "cluster.attributes.columns": ["a", "b"]}


def test_columns_that_only_tell_something_together_are_found() -> None:
    generator = np.random.default_rng(0)
    first, second = (generator.integers(0, 2, 3000) for _ in range(2))
    labels_N = first ^ second
    noise = {f"noise{n}": generator.integers(0, 2, 3000) for n in range(20)}
    columns = noise | {"first": first, "second": second}
    found = joins_found(columns, Labelled(labels_N, 128, 3000))
    assert found[0] == ("first", "second")


def test_a_wide_join_is_found_step_by_step() -> None:
    generator = np.random.default_rng(1)
    labels_N = generator.integers(0, 16, 4000)
    bits = {f"bit{b}": np.where(generator.random(4000) < 0.95, labels_N >> b & 1, 0) for b in range(4)}
    noise = {f"noise{n}": generator.integers(0, 3, 4000) for n in range(30)}
    found = joins_found(noise | bits, Labelled(labels_N, 128, 4000))
    assert found[0] == ("bit0", "bit1", "bit2", "bit3")


def test_nothing_is_found_in_noise() -> None:
    generator = np.random.default_rng(2)
    columns = {f"noise{n}": generator.integers(0, 3, 2000) for n in range(40)}
    assert joins_found(columns, Labelled(generator.integers(0, 8, 2000), 128, 2000)) == []
