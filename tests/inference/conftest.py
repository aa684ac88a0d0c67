"""A place for encoders, and how they get there without training."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from drawn_encoders import write_drawn_encoder
from pipeline.storage.schema import Layout

MakeEncoder = Callable[..., Path]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "data")


@pytest.fixture
def make_encoder(layout: Layout) -> MakeEncoder:
    return partial(write_drawn_encoder, layout)
