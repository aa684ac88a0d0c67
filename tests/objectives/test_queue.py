"""A queue holds the last rows with their ids, whatever the sizes of what is put in."""

from collections import deque

import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.objectives.queue import Queue


@given(length=st.integers(0, 7), sizes=st.lists(st.integers(0, 10), max_size=6))
def test_it_is_a_bounded_deque(length: int, sizes: list[int]) -> None:
    queue, expected = Queue(length, 2), deque[tuple[list[float], int]](maxlen=length)
    number = 0
    for size in sizes:
        numbers = torch.arange(number, number + size)
        rows = torch.stack([numbers, -numbers], dim=1).float()
        queue.put(rows, numbers)
        expected.extend(zip(rows.tolist(), numbers.tolist(), strict=True))
        number += size
        assert len(queue) == len(expected)
        assert sorted(zip(queue.rows.tolist(), queue.ids.tolist(), strict=True)) == sorted(expected)


def test_it_goes_on_where_it_was_saved() -> None:
    first, second = Queue(4, 1), Queue(4, 1)
    rows = torch.arange(9.0)[:, None]
    first.put(rows[:6], torch.arange(6))
    second.load_state_dict(first.state_dict())
    for queue in (first, second):
        queue.put(rows[6:], torch.arange(6, 9))
    assert torch.equal(first.rows, second.rows)
    assert sorted(second.ids.tolist()) == [5, 6, 7, 8]
