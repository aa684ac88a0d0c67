"""Hashtags as they are written, against the probabilities stated for them."""

import math
from collections import Counter
from collections.abc import Mapping

import numpy as np
import pytest

from pipeline.sources.synthetic import hashtags as tagging
from pipeline.sources.synthetic.population import ATTRIBUTES
from pipeline.sources.synthetic.posts import Post
from sources.deviation import allowed_deviation

pytestmark = pytest.mark.slow


def hashtag_probability(word: str, label: str, attributes: Mapping[str, str]) -> float:
    """P(a post has the hashtag `word` | T, A), A as visible; `word` in lower case and without its `#`.

    Slots are independent: (1 - SILENT) (1 - prod over slots of (1 - P(used) P(word | slot))).
    """
    absent = 1.0
    for slot in tagging._slots(label, attributes):
        if word in slot.words:
            rank = slot.words.index(word)
            share = slot.cumulative[rank] - (slot.cumulative[rank - 1] if rank else 0.0)
            absent *= 1.0 - slot.used * share
    return (1.0 - tagging.SILENT) * (1.0 - absent)


def bare(hashtag: str) -> str:
    return hashtag.removeprefix("#").lower()


# --- The tables ---


@pytest.mark.parametrize(
    "word",
    ["beach", "nature", "пляж", "海", "green", "big", "ふたつ", "⭐", "love", "いいね返し", "happydaily"],
)
def test_a_hashtag_appears_as_often_as_stated(posts: list[Post], word: str) -> None:
    probabilities = np.array([hashtag_probability(word, post.label, post.attributes) for post in posts])
    appearances = sum(word in map(bare, post.hashtags) for post in posts)
    std = math.sqrt((probabilities * (1 - probabilities)).sum())
    assert probabilities.sum() > 50
    assert abs(appearances - probabilities.sum()) < 5 * std


def test_a_hashtag_follows_what_is_seen_and_what_it_is_about() -> None:
    looks = {attribute.name: attribute.values[0] for attribute in ATTRIBUTES}
    named = (1 - tagging.SILENT) * tagging.NAMED
    assert hashtag_probability("beach", "beach", looks) == pytest.approx(named)
    assert hashtag_probability("beach", "harbour", looks) == 0.0
    assert hashtag_probability("tiny", "beach", looks) > 0.1
    assert hashtag_probability("tiny", "beach", {**looks, "size": "large"}) == 0.0


def test_some_posts_are_silent_and_few_name_their_label(posts: list[Post]) -> None:
    without = sum(not post.hashtags for post in posts) / len(posts)
    assert tagging.SILENT < without < tagging.SILENT + 0.02
    naming = sum(post.label in map(bare, post.hashtags) for post in posts) / len(posts)
    assert 0.05 < naming < 0.2


def test_hashtags_are_spelt_as_users_spell_them(posts: list[Post]) -> None:
    hashtags = [hashtag for post in posts for hashtag in post.hashtags]
    bare_share = sum(not hashtag.startswith("#") for hashtag in hashtags) / len(hashtags)
    assert bare_share == pytest.approx(tagging.BARE, abs=allowed_deviation(tagging.BARE, len(hashtags)))
    latin = [hashtag.removeprefix("#") for hashtag in hashtags if bare(hashtag).isascii()]
    shouted = sum(word.isupper() for word in latin) / len(latin)
    assert shouted == pytest.approx(tagging.UPPER, abs=allowed_deviation(tagging.UPPER, len(latin)))
    titled = sum(word[0].isupper() and not word.isupper() for word in latin) / len(latin)
    assert titled == pytest.approx(tagging.TITLE, abs=allowed_deviation(tagging.TITLE, len(latin)))
    assert all(bare(hashtag) and bare(hashtag) == bare(hashtag).strip() for hashtag in hashtags)


def test_some_hashtags_are_written_twice(posts: list[Post]) -> None:
    ends_as_begun = sum(
        len(post.hashtags) > 1 and bare(post.hashtags[0]) == bare(post.hashtags[-1]) for post in posts
    )
    speaking = sum(bool(post.hashtags) for post in posts)
    assert ends_as_begun / speaking == pytest.approx(tagging.REPEATED, abs=0.012)


def test_spam_has_a_long_tail(posts: list[Post]) -> None:
    words = [bare(hashtag) for post in posts for hashtag in post.hashtags]
    spam = Counter(word for word in words if word in tagging.SPAM_WORDS)
    assert len(set(tagging.SPAM_WORDS)) == len(tagging.SPAM_WORDS) > 300
    assert len(spam) == len(tagging.SPAM_WORDS)
    assert spam["love"] > 50 * min(spam.values())
