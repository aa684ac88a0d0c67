"""Only experiments on the same images stand in one ranking."""

from pathlib import Path
from typing import Any

import pytest

from experiments.rows import row
from pipeline.experiments.compare import write_comparison
from pipeline.experiments.selection import select


def lock_of(images: str | None) -> dict[str, Any]:
    outs = [{"path": "data/images", "md5": images}] if images else []
    return {"stages": {"ingest": {"cmd": "python stages/ingest.py", "outs": outs}}}


def test_a_table_that_changed_at_its_path_gives_other_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    of_photos = {"ingest.path": "photos.csv"}
    rows = [
        row(name, rev, top1=top1) | of_photos
        for name, rev, top1 in (("a", "aaa", 0.3), ("b", "bbb", 0.9), ("c", "ccc", 0.5), ("d", "ddd", 0.4))
    ]
    hashes = {"aaa": "1" * 32 + ".dir", "bbb": "2" * 32 + ".dir", "ccc": "1" * 32 + ".dir", "ddd": None}
    found = select(rows, {rev: lock_of(images) for rev, images in hashes.items()})
    assert {group.images: [e.name for e in group.experiments] for group in found.groups} == {
        "photos.csv, data/images 111111111111": ["c", "a"],
        "photos.csv, data/images 222222222222": ["b"],
        "photos.csv, data/images not recorded": ["d"],
    }
    write_comparison(found, tmp_path / "c.html", tmp_path / "c.md", tmp_path / "c.csv")
    assert "are on 3 sets of images" in " ".join(capsys.readouterr().out.split())
    (same,) = select(rows[::2], {rev: lock_of(hashes[rev]) for rev in ("aaa", "ccc")}).groups
    assert same.images == "photos.csv"


def test_images_that_differ_with_the_seed_are_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a made split; that the table was changed cannot be seen here."""
    rows = [row("a", "aaa", seed=0.0), row("b", "bbb", seed=1.0), row("c", "ccc", seed=0.0)]
    hashes = {"aaa": "1" * 32, "bbb": "2" * 32, "ccc": "1" * 32}
    comparison = select(rows, {rev: lock_of(images) for rev, images in hashes.items()})
    assert len(comparison.groups) == 1
    write_comparison(comparison, tmp_path / "c.html", tmp_path / "c.md", None)
    sentence = "made from 2 contents of data/images, which differ with seed: "
    assert sentence in " ".join(capsys.readouterr().out.split())
    assert sentence in " ".join((tmp_path / "c.md").read_text().split())
