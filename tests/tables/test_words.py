"""The words of texts in many scripts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.tables.words import words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Men's blue_jeans, T-shirt 42!", ["men's", "blue", "jeans", "t", "shirt", "42"]),
        ("don\u2019t 'quote'", ["don't", "quote"]),
        ("Straße STRASSE \uff21\uff22", ["strasse", "strasse", "ab"]),
        ("e\u0301te\u0301 \u00e9t\u00e9", ["\u00e9t\u00e9", "\u00e9t\u00e9"]),
        ("हिन्दी की किताब", ["हिन्दी", "की", "किताब"]),
        ("مرحبا بالعالم", ["مرحبا", "بالعالم"]),
        ("Москва, зима", ["москва", "зима"]),
        ("東京タワー in Tokyo", ["東京", "京タ", "タワ", "ワー", "in", "tokyo"]),
        ("犬", ["犬"]),
        ("서울 야경", ["서울", "야경"]),
        ("\U0001f436 _ -- ''", []),
        ("", []),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert words_of(text) == words


@given(st.text())
def test_a_word_is_its_own_only_word(text: str) -> None:
    for word in words_of(text):
        assert words_of(word) == [word]
