"""What accuracy means on given labels, and how it is worded."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.evaluation.baselines import baselines
from pipeline.evaluation.wording import accuracies_in_words, baselines_in_words, labels_in_words

LABELS = st.lists(st.sampled_from("abcde"), min_size=1, max_size=12)


@given(LABELS, LABELS)
def test_they_are_the_accuracies_of_classifiers_that_see_no_image(train: list[str], test: list[str]) -> None:
    known = sorted(set(train))

    def accuracy(named: str) -> float:
        return sum(label == named for label in test) / len(test)

    found = baselines(train, test)
    assert found["chance_top1"] == pytest.approx(sum(map(accuracy, known)) / len(known))
    assert found["majority_top1"] == accuracy(max(known, key=train.count))
    assert found["reachable_top1"] == pytest.approx(sum(map(accuracy, known)))


def test_the_reachable_maximum_is_told_where_it_is_not_everything() -> None:
    all_known = baselines_in_words(baselines(["a", "a", "b"], ["a", "b", "b", "b"]))
    assert all_known == (
        "chance level 50.0 % (guessing evenly among the labels), majority share 25.0 % (always naming the "
        "most frequent one)"
    )
    some_new = baselines_in_words(baselines(["a", "a", "b"], ["a", "c", "c", "b"]))
    assert some_new.startswith("chance level 25.0 % ")
    assert some_new.endswith(
        ", at most 50.0 % can be reached: the other test images have labels that no train image has"
    )


@pytest.mark.parametrize(
    ("fraction", "used", "words"),
    [
        ("0.1", 894, "10 %: 894 of 8,937 train labels"),
        ("0.01", 89, "1 %: 89 of 8,937 train labels"),
        (
            "0.001",
            44,
            "0.49 %: 44 of 8,937 train labels, not 0.1 %, as each class gives whole images, at least one",
        ),
    ],
)
def test_the_share_of_labels_is_the_one_that_was_used(fraction: str, used: int, words: str) -> None:
    few = {"top1": 0.5, "top1_low": 0.4, "top1_high": 0.6, "train_images": used}
    assert labels_in_words(fraction, few, 8937) == words  # type: ignore[arg-type]


def test_one_image_of_each_of_forty_classes_is_a_fifth_of_two_hundred() -> None:
    few = {"top1": 0.5, "top1_low": 0.4, "top1_high": 0.6, "train_images": 40}
    words = labels_in_words("0.01", few, 200)  # type: ignore[arg-type]
    assert words == "20 %: 40 of 200 train labels, not 1 %, as each class gives whole images, at least one"


def test_the_stage_says_the_reason_where_nothing_was_measured() -> None:
    nothing: dict[str, Any] = {"top1": None, "knn_top1": None, "baselines": None, "reason": "No label."}
    assert accuracies_in_words(nothing) == "No label."  # type: ignore[arg-type]
    measured = nothing | {"top1": 0.5, "knn_top1": 0.25, "baselines": baselines(["a", "b"], ["a"])}
    measured |= {"protocol": "lbfgs", "selection_rows": 7}
    words = accuracies_in_words(measured)  # type: ignore[arg-type]
    assert words == (
        "linear top-1 50.0 % (regularisation chosen on 7 train images that were not fitted), k-NN 25.0 % "
        "(chance level 50.0 %, majority share 100.0 %)"
    )
