"""Paths that data name stay inside of the source's folder."""

import os
from pathlib import Path

import pytest

from pipeline.ingest.params import IngestParams
from pipeline.sources.base import Refusal, SourceRow
from pipeline.sources.checked import checked
from pipeline.sources.folders import files_below
from pipeline.sources.inside import ALLOWED_BY, Outside, Root
from pipeline.sources.splits import by_split, word_of


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """images/a.jpg; links to it, to a neighbour of the folder and of a folder whose name starts alike."""
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    (folder / "images/a.jpg").write_bytes(b"a")
    (tmp_path / "data-private").mkdir()
    (tmp_path / "data-private/b.jpg").write_bytes(b"b")
    (folder / "near").symlink_to("images")
    (folder / "far").symlink_to("../data-private")
    (folder / "far.jpg").symlink_to(tmp_path / "data-private/b.jpg")
    (folder / "broken.jpg").symlink_to("/nowhere/c.jpg")
    (folder / "loop.jpg").symlink_to("loop.jpg")
    os.mkfifo(folder / "pipe")
    return folder


@pytest.mark.parametrize("member", ["images/a.jpg", "near/a.jpg", "./images/a.jpg", "absent.jpg", "a..b.jpg"])
def test_what_lies_inside_is_given(root: Path, member: str) -> None:
    assert Root(root, IngestParams()).file(member) == root / member


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        ("/etc/passwd", f"the path is absolute, {ALLOWED_BY}"),
        ("../data-private/b.jpg", f"the path holds .., {ALLOWED_BY}"),
        ("images/../images/a.jpg", f"the path holds .., {ALLOWED_BY}"),
        ("far/b.jpg", f"a link leads out of the source's folder, {ALLOWED_BY}"),
        ("far.jpg", f"a link leads out of the source's folder, {ALLOWED_BY}"),
        ("broken.jpg", f"a link leads out of the source's folder, {ALLOWED_BY}"),
        ("pipe", "a pipe, socket or device, not a file"),
        ("a\0.jpg", "the path holds a null byte"),
        ("\ud800.jpg", "the path is not UTF-8 text"),
    ],
)
def test_what_leads_out_is_refused(root: Path, member: str, reason: str) -> None:
    with pytest.raises(Outside) as refused:
        Root(root, IngestParams()).file(member)
    assert str(refused.value) == reason
    lenient = Root(root, IngestParams(outside_paths=True))
    if reason.endswith(ALLOWED_BY):
        assert lenient.file(member) == root / member
    else:
        with pytest.raises(Outside):
            lenient.file(member)


def test_what_is_refused_by_its_name_is_not_looked_at(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path may be mounted by looking at it."""
    inside = Root(root, IngestParams())
    monkeypatch.setattr(os, "stat", lambda *_, **__: pytest.fail("looked at"))
    for member in ("/net/host/share/a.jpg", "../a.jpg"):
        with pytest.raises(Outside):
            inside.file(member)


def test_a_folder_that_is_itself_a_link_is_a_root(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    assert Root(tmp_path / "link", IngestParams()).file("images/a.jpg").read_bytes() == b"a"


def test_all_files_below_a_folder(root: Path) -> None:
    (root / "images/circle").symlink_to("..")
    reason = f"a link leads out of the source's folder, {ALLOWED_BY}"
    assert list(files_below(Root(root, IngestParams()))) == [
        Refusal("broken.jpg", reason),
        Refusal("far", reason),
        Refusal("far.jpg", reason),
        "images/a.jpg",
        Refusal("images/circle", "a link that goes in a circle"),
        "loop.jpg",
        "near/a.jpg",
        Refusal("near/circle", "a link that goes in a circle"),
        Refusal("pipe", "a pipe, socket or device, not a file"),
    ]


def test_ids_stand_once_and_text_is_text() -> None:
    rows = [
        SourceRow("a", b"", "a.jpg"),
        SourceRow("a", b"", "again.jpg", where="m.csv line 3"),
        SourceRow("b", b"", "b.jpg", label="\udce9"),
        SourceRow("c", b"", "c\udce9.jpg"),
        SourceRow("d", b"", "d.jpg", attributes={"colour": "\ud800"}),
        Refusal("\udce9", "it"),
        SourceRow("e", b"", "e.jpg", label="café"),
    ]
    assert list(checked(rows)) == [
        rows[0],
        Refusal("m.csv line 3", "the image a stands in an earlier row already"),
        Refusal("b.jpg", "the line is not UTF-8 text"),
        Refusal("c\\udce9.jpg", "the line is not UTF-8 text"),
        Refusal("d.jpg", "the line is not UTF-8 text"),
        Refusal("\\udce9", "it"),
        rows[6],
    ]


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("train-00000-of-00004.parquet", "train"),
        ("Validation", "validation"),
        ("test.tar", "test"),
        ("train2017", "train"),
        ("trainers-0.tar", None),
        ("00000.tar", None),
        ("latest.parquet", None),
    ],
)
def test_words_for_splits(name: str, word: str | None) -> None:
    assert word_of(name) == word


def test_splits_of_files() -> None:
    folder = Path("shop")
    names = ["train/0.tar", "valid/0.tar", "test/0.tar", "train/test-0.tar", "rest.tar"]
    splits, notes = by_split([folder / name for name in names], folder)
    assert [splits.get(folder / name) for name in names] == ["train", "train", "test", "test", None]
    assert notes == [
        "valid is taken as train images, since there are test images besides",
        "not looked at, since their names tell no split: rest.tar",
    ]
    # Words above the folder say nothing of its files.
    assert by_split([Path("test/shop/0.tar")], Path("test/shop")) == ({Path("test/shop/0.tar"): None}, [])
