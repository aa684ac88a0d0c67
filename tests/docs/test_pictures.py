"""The pictures of docs/choosing-clusters.md can be drawn again, with the figures that the page names."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from support import REPOSITORY

PAGE = REPOSITORY / "docs" / "choosing-clusters.md"


@pytest.fixture
def drawing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    file = REPOSITORY / "docs" / "site" / "draw_reading.py"
    spec = importlib.util.spec_from_file_location("draw_reading", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "IMAGES", tmp_path)
    return module


def test_six_clusterings_and_their_figures(drawing: ModuleType, tmp_path: Path) -> None:
    drawing.schema()
    picture = (tmp_path / "reading-schema.svg").read_text()
    # By hand: of four labels of four images each, H(T) = 2; three to one in two clusters leaves 0.81 bits.
    for figures in ("2.00, H(Z|T) 0.00", "1.00, H(Z|T) 0.00", "2.00, H(Z|T) 1.00", "1.19, H(Z|T) 0.81"):
        assert f"I(Z;T) {figures}" in picture
    assert "I(Z;T) 0.00, H(Z|T) 2.00" in picture
    assert "I(Z;T) 2.00, H(Z|T) 2.00" in picture


def test_columns_of_real_images(drawing: ModuleType, shared_data: Path, tmp_path: Path) -> None:
    drawing.columns(shared_data / "fashion-products" / "manifest.csv")
    picture, page = (tmp_path / "reading-fashion.svg").read_text(), PAGE.read_text()
    for information, split in (("2.81", "0.00"), ("0.75", "0.39"), ("0.55", "0.73"), ("0.59", "3.22")):
        assert f"I(Z;T) {information}, H(Z|T) {split}" in picture
        assert information in page
