"""Hashtags as people type them, and as programs write lists of them."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.tables.cells import LONGEST_TEXT, Notices, NotOneValue, TooLarge
from pipeline.tables.hashtags import PROSE, WORDS_BESIDE, hashtags_of, normalized_hashtag
from support import at_once

LISTS_AS_TEXT = {
    "Python": "['red', \"it's\", 'sea side']",
    "JSON": '["red", "it\'s", "sea side"]',
    "PostgreSQL": '{red,it\'s,"sea side"}',
    "numpy": "['red' \"it's\" 'sea side']",
    "numpy, over lines": "['red' \"it's\"\n 'sea side']",
    "tuple": "('red', \"it's\", 'sea side')",
    "set": "{'red', \"it's\", 'sea side'}",
    "escaped": "['red', 'it\\'s', 'sea side']",
}


@pytest.mark.parametrize("written", [v for k, v in LISTS_AS_TEXT.items() if k != "PostgreSQL"])
def test_lists_that_were_written_as_text(written: str) -> None:
    assert hashtags_of(written) == ["red", "it's", "sea side"]


@pytest.mark.parametrize(
    "written", ["{red,summer,sea side}", '{red,"summer","sea side"}', '{"red",summer,"sea side"}']
)
def test_arrays_of_postgresql(written: str) -> None:
    assert hashtags_of(written) == ["red", "summer", "sea side"]


@pytest.mark.parametrize("written", ["[]", "{}", "()", "[ ]", " [] ", "['']"])
def test_empty_lists_have_no_tag(written: str) -> None:
    assert hashtags_of(written) == []


@pytest.mark.parametrize(
    ("cell", "tags"),
    [
        ("red|summer", ["red", "summer"]),
        ("red;sea side; ;Blue", ["red", "sea side", "Blue"]),
        ("a; b, c", ["a", "b, c"]),
        ("red, sea side", ["red", "sea side"]),
        ("red\u3001blue\uff0cgreen\uff1bgrey•pink", ["red", "blue", "green", "grey", "pink"]),
        ("#red #sea, #blue", ["#red", "#sea", "#blue"]),
        ("#red#sea", ["#red", "#sea"]),
        ("summer#beach", ["#summer", "#beach"]),
        ("\uff03夏\uff03海", ["#夏", "#海"]),
        ("# red", ["#red"]),
        ("\u200f#red\u200f #\u2066 #\u200e#blue", ["#red", "#blue"]),
        (["\u2066#red\u2069", "#\u2066", "\u00a0", "sea\u00a0side"], ["#red", "sea side"]),
        ("#\u200f", []),
        ("#new york; #paris", ["#new york", "#paris"]),
        ("&#35;red &amp; &#35;blue", ["#red", "#blue"]),
        ("R&amp;B, soul", ["R&B", "soul"]),
        ("C#, java", ["C#", "java"]),
        ("see https://a.example/#part", ["see https://a.example/#part"]),
        ("[red] summer [blue]", ["[red] summer [blue]"]),
        ("sea side", ["sea side"]),
        ("", []),
        (None, []),
        (float("nan"), []),
        (["a", None, " ", "b c", "#d#e"], ["a", "b c", "#d", "#e"]),
        ([{"text": "red", "indices": [0, 4]}, {"name": "sea"}], ["red", "sea"]),
        ('[{"text": "red"}]', ["red"]),
        ({"text": "red"}, ["red"]),
        (b"red,blue", ["red", "blue"]),
        ("['a', None]", ["a"]),
        ("['None', 'NULL']", ["None", "NULL"]),
        ("{NULL,a}", ["a"]),
        ("[a, , b,]", ["a", "b"]),
    ],
)
def test_the_tags_of_a_cell(cell: Any, tags: list[str]) -> None:
    assert hashtags_of(cell) == tags


@pytest.mark.parametrize(
    "cell", [{"id": 3}, [{"id": 3}], [["a"]], b"\xff", '{"red": 0.9}', '[{"id": 1}]', '[["a", "b"]]']
)
def test_what_holds_no_tags(cell: Any) -> None:
    with pytest.raises(NotOneValue):
        hashtags_of(cell)


def test_of_a_sentence_the_hashtags_alone_are_taken_and_that_is_counted() -> None:
    notices = Notices()
    assert hashtags_of("Lovely day at the #beach, #sun (and #sea!)", notices) == ["#beach", "#sun", "#sea"]
    assert notices == {WORDS_BESIDE: 1}
    assert hashtags_of("#red #blue", notices) == ["#red", "#blue"]
    assert notices == {WORDS_BESIDE: 1}


def test_sentences_where_tags_are_expected_are_counted() -> None:
    notices = Notices()
    hashtags_of("A photograph of my dog in the snow", notices)
    hashtags_of("dog; snow", notices)
    assert notices == {PROSE: 1}


words = st.lists(st.text("abcdeé'\"\\ ", min_size=1).map(str.strip).filter(bool), max_size=6)


@given(words)
def test_a_list_comes_back_from_its_text(tags: list[str]) -> None:
    assert hashtags_of(tags) == tags
    assert hashtags_of(json.dumps(tags)) == tags


@given(st.lists(st.text("abcé' ", min_size=1).map(str.strip).filter(bool), max_size=6))
def test_a_list_comes_back_from_what_python_prints(tags: list[str]) -> None:
    assert hashtags_of(repr(tags)) == tags


@given(st.text())
def test_any_text_has_tags_or_none(written: str) -> None:
    assert all(tag.strip() for tag in hashtags_of(written))


@pytest.mark.parametrize("tag", ["#Red", " red", "ＲＥＤ", "##red "])  # noqa: RUF001
def test_tags_that_people_mean_alike(tag: str) -> None:
    assert normalized_hashtag(tag) == "red"


@pytest.mark.parametrize(
    "cell",
    [
        "[" + " " * 100_000 + "(x]",
        "[" + "a," * 60_000 + "]",
        "[" + "'a'" * 40_000 + "]",
        "['" + "\\" * 100_000 + "]",
        "[" + '"' * 100_001 + "]",
        "#" * 100_000,
        "#a" * 60_000,
        "&" * 100_000 + ";",
        "&#35;" * 20_000,
        "&#" + "9" * 5000 + ";",
        "a;" * 60_000,
        "\u200d" * 100_000,
        "a" + "\u0300" * 60_000 + "\u0316" * 60_000,
    ],
    ids=range(13),
)
def test_no_cell_takes_long(cell: str) -> None:
    assert len(cell) <= LONGEST_TEXT
    with at_once(10), suppress(NotOneValue, TooLarge):
        for tag in hashtags_of(cell)[:3]:
            normalized_hashtag(tag)
