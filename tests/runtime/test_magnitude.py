"""Scales from the smallest to the largest numbers of float32."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.runtime.magnitude import power_of_two, unit_rows

NORMAL = st.floats(2.0**-126, 2.0**127, width=32)


@given(st.lists(NORMAL | NORMAL.map(lambda x: -x) | st.just(0.0), min_size=1, max_size=8))
def test_it_is_the_power_of_two_below_the_largest(values: list[float]) -> None:
    largest = max(map(abs, values))
    expected = 2.0 ** math.floor(math.log2(largest)) if largest else 1.0
    found = power_of_two(torch.tensor(values), 0)
    # log2 rounds just below a power of two up to it.
    assert float(found) in (expected, expected / 2)
    assert largest == 0 or 1 <= largest / float(found) < 2


@pytest.mark.parametrize("exponent", range(-36, 38, 2))
def test_rows_of_any_scale_have_the_same_directions(exponent: int) -> None:
    rows = torch.randn(20, 5, generator=torch.Generator().manual_seed(1))
    expected = rows.double() / rows.double().norm(dim=1, keepdim=True)
    torch.testing.assert_close(unit_rows(rows * 10.0**exponent).double(), expected, atol=1e-6, rtol=0)


def test_at_ordinary_scales_not_a_bit_changes() -> None:
    rows = torch.randn(50, 7, generator=torch.Generator().manual_seed(2))
    assert torch.equal(unit_rows(rows), torch.nn.functional.normalize(rows, dim=1))
    assert torch.equal(unit_rows(torch.zeros(2, 3)), torch.zeros(2, 3))
