"""The population's tables against what is drawn from them, without a picture."""

import math
from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np
import pytest

from pipeline.runtime.errors import UserError
from pipeline.sources.synthetic import hashtags as tagging
from pipeline.sources.synthetic.population import (
    ATTRIBUTE_NAMES,
    ATTRIBUTES,
    LABELS,
    RECIPES,
    attribute_table,
    best_top1,
    joint_table,
    label_probabilities,
    population_information,
    recorded_table,
    recording_channel,
)
from pipeline.sources.synthetic.posts import Post, draw_posts
from sources.deviation import allowed_deviation

INFORMATIVE = ["size", "count", "texture", "shape"]


def plug_in_entropy_bits(values: Sequence[Hashable]) -> float:
    shares = np.array(list(Counter(values).values())) / len(values)
    return float(-(shares * np.log2(shares)).sum())


def test_every_table_is_a_distribution() -> None:
    assert label_probabilities().sum() == pytest.approx(1.0)
    for attribute in ATTRIBUTES:
        for table in (attribute_table, recording_channel, recorded_table):
            values = table(attribute.name)
            assert (values >= 0).all()
            np.testing.assert_allclose(values.sum(axis=1), 1.0)
    assert joint_table(ATTRIBUTE_NAMES).sum() == pytest.approx(1.0)


def test_a_label_favours_the_values_of_its_recipe() -> None:
    knitting = LABELS.index("knitting")
    assert RECIPES["knitting"].looks.split()[ATTRIBUTE_NAMES.index("shape")] == "heart/square"
    shapes = ("disc", "square", "triangle", "star", "heart", "cross")
    shares = dict(zip(shapes, attribute_table("shape")[knitting], strict=True))
    assert shares["heart"] == pytest.approx(0.74 + 0.10 / 6)
    assert shares["square"] == pytest.approx(0.16 + 0.10 / 6)
    assert shares["star"] == pytest.approx(0.10 / 6)


def test_recording_loses_and_confuses_as_stated() -> None:
    channel = recording_channel("texture")
    assert channel[0].tolist() == pytest.approx([0.94 * 0.95, *[0.94 * 0.05 / 3] * 3, 0.06])


def test_tables_cannot_be_changed_by_who_reads_them() -> None:
    with pytest.raises(ValueError, match="read-only"):
        attribute_table("size")[0, 0] = 1.0


def test_no_two_labels_share_more_than_two_of_the_four_telling_attributes() -> None:
    likeliest = {
        label: [look.split("/")[0] for look in recipe.looks.split()[: len(INFORMATIVE)]]
        for label, recipe in RECIPES.items()
    }
    for one in LABELS:
        for other in LABELS:
            if one < other:
                shared = sum(a == b for a, b in zip(likeliest[one], likeliest[other], strict=True))
                assert shared <= 2, (one, other)


def test_a_value_belongs_to_one_attribute_and_every_word_list_exists() -> None:
    values = [value for attribute in ATTRIBUTES for value in attribute.values]
    assert len(set(values)) == len(values)
    assert set(tagging.VALUE_WORDS) == set(values)
    assert set(tagging.LABEL_WORDS) == set(LABELS)
    assert {recipe.ancestors[0] for recipe in RECIPES.values()} == set(tagging.THEME_WORDS)
    assert {recipe.ancestors[1] for recipe in RECIPES.values()} == set(tagging.BRANCH_WORDS)


# --- Information ---


def test_information_of_nothing_is_none() -> None:
    assert population_information([]) == pytest.approx((0.0, 0.0), abs=1e-12)


@pytest.mark.parametrize("columns", [["size"], ["colour"], ["shape", "texture"], ["count", "shape", "size"]])
def test_information_equals_a_large_samples(posts: list[Post], columns: list[str]) -> None:
    information_bits, conditional_bits = population_information(columns)
    labels = [post.label for post in posts]
    joined = [tuple(post.recorded[name] for name in columns) for post in posts]
    joint_bits = plug_in_entropy_bits(list(zip(labels, joined, strict=True)))
    sampled_conditional_bits = joint_bits - plug_in_entropy_bits(labels)
    sampled_information_bits = plug_in_entropy_bits(joined) - sampled_conditional_bits
    # The plug-in estimate of I is too high by (|T| - 1)(|Z| - 1) / (2 N ln 2) bits to first order.
    values = joint_table(columns).shape[1]
    bias_bits = (len(LABELS) - 1) * (values - 1) / (2 * len(posts) * math.log(2))
    allowed_bits = 0.012 + 0.3 * bias_bits
    assert sampled_information_bits - information_bits == pytest.approx(bias_bits, abs=allowed_bits)
    assert sampled_conditional_bits == pytest.approx(conditional_bits, abs=0.02 + bias_bits)


def test_conditional_entropy_adds_up_over_independent_columns() -> None:
    _, together = population_information(ATTRIBUTE_NAMES)
    apart = [population_information([name])[1] for name in ATTRIBUTE_NAMES]
    assert together == pytest.approx(sum(apart))


def test_the_order_of_columns_does_not_matter() -> None:
    one_way, other_way = ["shape", "size"], ["size", "shape"]
    assert population_information(one_way) == pytest.approx(population_information(other_way))


def test_the_telling_attributes_leave_little_for_background_and_colour_to_add() -> None:
    weights = [recipe.weight for recipe in RECIPES.values()]
    label_bits = plug_in_entropy_bits(np.repeat(LABELS, weights).tolist())
    telling_bits, telling_conditional_bits = population_information(INFORMATIVE)
    all_bits, all_conditional_bits = population_information(ATTRIBUTE_NAMES)
    assert 2.5 < telling_bits < all_bits < 3.0 < 3.9 < label_bits
    assert all_bits - telling_bits < 0.1
    assert all_conditional_bits - telling_conditional_bits > 5.0


def test_no_single_attribute_tells_half_of_the_label() -> None:
    for name in ATTRIBUTE_NAMES:
        assert population_information([name])[0] < 2.0


def test_an_unknown_column_is_named() -> None:
    with pytest.raises(UserError, match="no attribute mood: name one of size, count"):
        population_information(["size", "mood"])


def test_the_best_classifier_is_right_as_often_as_the_tables_say(posts: list[Post]) -> None:
    """The rule argmax_T P(T, A), applied post by post to the visible attributes."""
    best_label = joint_table(ATTRIBUTE_NAMES, recorded=False).argmax(axis=0)
    sizes = [len(attribute.values) for attribute in ATTRIBUTES]
    right = 0
    for post in posts:
        position = [a.values.index(post.attributes[a.name]) for a in ATTRIBUTES]
        right += LABELS[best_label[np.ravel_multi_index(position, sizes)]] == post.label
    assert right / len(posts) == pytest.approx(best_top1(), abs=allowed_deviation(best_top1(), len(posts)))


# --- Drawing ---


def test_equal_seeds_draw_equal_posts_and_other_seeds_others() -> None:
    assert draw_posts(50, seed=3) == draw_posts(50, seed=3)
    assert draw_posts(50, seed=3) != draw_posts(50, seed=4)


def test_a_longer_draw_begins_with_the_shorter_one() -> None:
    assert draw_posts(200, seed=3)[:20] == draw_posts(20, seed=3)


def test_labels_are_drawn_with_their_probabilities(posts: list[Post]) -> None:
    counts = Counter(post.label for post in posts)
    for label, probability in zip(LABELS, label_probabilities(), strict=True):
        assert counts[label] / len(posts) == pytest.approx(
            probability, abs=allowed_deviation(probability, len(posts))
        ), label


@pytest.mark.parametrize("name", ATTRIBUTE_NAMES)
def test_values_are_drawn_with_their_probabilities_given_the_label(posts: list[Post], name: str) -> None:
    attribute = ATTRIBUTES[ATTRIBUTE_NAMES.index(name)]
    for label, table in zip(LABELS, attribute_table(name), strict=True):
        drawn = [post.attributes[name] for post in posts if post.label == label]
        for value, probability in zip(attribute.values, table, strict=True):
            allowed = allowed_deviation(probability, len(drawn))
            assert drawn.count(value) / len(drawn) == pytest.approx(probability, abs=allowed), (label, value)


@pytest.mark.parametrize("name", ATTRIBUTE_NAMES)
def test_the_recorded_value_is_the_drawn_one_as_often_as_stated(posts: list[Post], name: str) -> None:
    attribute = ATTRIBUTES[ATTRIBUTE_NAMES.index(name)]
    for value, channel in zip(attribute.values, recording_channel(name), strict=True):
        recorded = [post.recorded[name] for post in posts if post.attributes[name] == value]
        for record, probability in zip((*attribute.values, None), channel, strict=True):
            allowed = allowed_deviation(probability, len(recorded))
            assert recorded.count(record) / len(recorded) == pytest.approx(probability, abs=allowed)


def test_attributes_are_independent_given_the_label(posts: list[Post]) -> None:
    drawn = [post.attributes for post in posts if post.label == "beach"]
    beach = LABELS.index("beach")
    both = attribute_table("size")[beach, 1] * attribute_table("shape")[beach, 0]
    share = sum(look["size"] == "large" and look["shape"] == "disc" for look in drawn) / len(drawn)
    assert share == pytest.approx(both, abs=allowed_deviation(both, len(drawn)))
