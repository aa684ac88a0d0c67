import csv
import string
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.runtime.errors import UserError
from pipeline.tables.edge_list import paths_from_root
from support import NO_FILES, at_once

NAMES = string.ascii_letters + string.digits + "éß猫,;|'#_"


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
        '"child","parent"\n"cat","pet"\n"pet","animal"\n',  # write.csv of R, QUOTE_ALL of Python
        '"cat" "pet"\n"pet" "animal"\n',  # write.table of R
        "child;parent\ncat;pet\npet;animal\n",
        "cat|pet\r\npet|animal\r\n",
        "cat , pet\npet , animal,\n",
        "\ufeffcat,pet\n\u200epet,animal\u00a0\n",
    ],
)
def test_leaves_find_their_way_to_the_root(tmp_path: Path, text: str) -> None:
    paths = paths_from_root(written(tmp_path, text), ["cat", "pet", "stone"], "refuse", "x.edges")
    assert paths.of_leaf == {"cat": ["animal", "pet", "cat"], "pet": ["animal", "pet"], "stone": ["stone"]}
    assert paths.not_in_tree == ["stone"]


def test_names_may_hold_the_delimiter(tmp_path: Path) -> None:
    text = '"tabby, common",cat\n"boxer, a dog",dog\ncat,mammal\ndog,mammal\n'
    paths, missing = paths_from_root(written(tmp_path, text), ["tabby, common"], "refuse", "x.edges")
    assert (paths, missing) == ({"tabby, common": ["mammal", "cat", "tabby, common"]}, [])
    text = text.replace('"', "").replace("cat\n", "cat\n").replace(",cat", "\tcat").replace(",dog", "\tdog")
    text = text.replace(",mammal", "\tmammal")
    assert paths_from_root(written(tmp_path, text), list(paths), "refuse", "x.edges") == (paths, [])
    spaced = written(tmp_path, '"tabby cat" cat\ncat pet\n')
    assert paths_from_root(spaced, ["tabby cat"], "refuse", "x").of_leaf == {
        "tabby cat": ["pet", "cat", "tabby cat"]
    }


@given(
    st.dictionaries(
        st.text(NAMES, min_size=1, max_size=5), st.text(NAMES, min_size=1, max_size=5), min_size=2
    ),
    st.sampled_from([",", "\t", ";", "|", " "]),
)
def test_quoted_names_come_back(parent_of: dict[str, str], delimiter: str) -> None:
    parent_of = {child: f"{parent}^" for child, parent in parent_of.items()}  # no cycles
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "edges.csv")
        with file.open("w", newline="", encoding="utf-8") as opened:
            csv.writer(opened, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows(parent_of.items())
        paths = paths_from_root(file, parent_of, "refuse", "x")
    assert paths == ({child: [parent, child] for child, parent in parent_of.items()}, [])


def test_a_tree_without_any_leaf_is_refused(tmp_path: Path) -> None:
    """As of names in other capitals, or of another language."""
    file = written(tmp_path, "Cat,Pet\nDog,Pet\n")
    with pytest.raises(
        UserError,
        match=r"\(x\) holds none of the 2 leaves of the images \('cat', 'dog'\): it holds 'Cat', 'Dog'; wr",
    ):
        paths_from_root(file, ["dog", "cat"], "refuse", "x")
    assert paths_from_root(file, [], "refuse", "x") == ({}, [])
    assert paths_from_root(file, ["Pet", "cat"], "refuse", "x") == ({"Pet": ["Pet"], "cat": ["cat"]}, ["cat"])
    with pytest.raises(UserError, match="it holds nothing"):
        paths_from_root(written(tmp_path, ""), ["dog", "cat"], "refuse", "x")


def test_several_parents(tmp_path: Path) -> None:
    file = written(tmp_path, "cat,pet\ncat,hunter\ncat,pet\n")
    with pytest.raises(UserError, match=r"gives cat the parents pet and hunter: fix it or set cluster.hier"):
        paths_from_root(file, ["cat"], "refuse", "x.edges")
    assert paths_from_root(file, ["cat"], "first", "x.edges").of_leaf == {"cat": ["pet", "cat"]}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a,b\nb,c\nc,a\n", "has a cycle: a, b, c, a"),
        ("a,b\nc\n", "must hold a child and its parent in line 2, and holds c"),
        ("a,b\nb,c,d\n", "must hold a child and its parent in line 2, and holds b, c, d"),
        ('a,b\n"b,c\n', "can't be read in line 2: .*nothing closes its quote"),
        ('a,b\n"b,c\nd",e\n', "can't be read in line 2: a quote takes the lines that follow"),
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
