from pathlib import Path

import pytest

from pipeline.runtime.errors import UserError
from pipeline.tables.edge_list import paths_from_root
from support import NO_FILES, at_once


def written(folder: Path, text: str) -> Path:
    path = folder / "edges.csv"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "text",
    [
        "child,parent\ncat,pet\npet,animal\n",
        "cat pet\n\npet animal",
        "cat\tpet\npet\tanimal",
    ],
)
def test_leaves_find_their_way_to_the_root(tmp_path: Path, text: str) -> None:
    paths = paths_from_root(written(tmp_path, text), ["cat", "pet", "stone"], "refuse", "x.edges")
    assert paths == {"cat": ["animal", "pet", "cat"], "pet": ["animal", "pet"], "stone": ["stone"]}


def test_several_parents(tmp_path: Path) -> None:
    file = written(tmp_path, "cat,pet\ncat,hunter\ncat,pet\n")
    with pytest.raises(UserError, match=r"gives cat the parents pet and hunter: fix it or set cluster.hier"):
        paths_from_root(file, ["cat"], "refuse", "x.edges")
    assert paths_from_root(file, ["cat"], "first", "x.edges") == {"cat": ["pet", "cat"]}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a,b\nb,c\nc,a\n", "has a cycle: a, b, c, a"),
        ("a,b\nc\n", "must hold a child and its parent in line 2"),
    ],
)
def test_files_that_are_no_tree(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        paths_from_root(written(tmp_path, text), ["a"], "refuse", "x.edges")
    with pytest.raises(UserError, match=r"can't be read as text \(the file does not exist\)"):
        paths_from_root(tmp_path / "absent", ["a"], "refuse", "x.edges")


@pytest.mark.parametrize("kind", NO_FILES)
def test_what_is_no_file_is_told_at_once(tmp_path: Path, kind: str) -> None:
    NO_FILES[kind](tmp_path / "edges.csv")
    with (
        at_once(),
        pytest.raises(UserError, match=r"edges.csv \(x.edges\) can't be read as text \(.*: name a file"),
    ):
        paths_from_root(tmp_path / "edges.csv", ["a"], "refuse", "x.edges")
