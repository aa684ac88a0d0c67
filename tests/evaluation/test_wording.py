"""What is said of the rows on which a protocol chose its hyperparameter."""

import pytest

from pipeline.evaluation.registry import PROTOCOLS
from pipeline.evaluation.wording import NUMBERS, chosen_on


def test_every_protocol_has_a_word_for_what_it_chooses() -> None:
    assert NUMBERS.keys() == PROTOCOLS.keys()


@pytest.mark.parametrize(
    ("protocol", "rows", "phrase"),
    [
        ("lbfgs", 1234, "regularisation chosen on 1,234 train images that were not fitted"),
        ("sgd", 7, "learning rate chosen on 7 train images that were not fitted"),
        ("lbfgs", 0, "regularisation chosen on no train image, as no class has two"),
        ("another", 3, "hyperparameter chosen on 3 train images that were not fitted"),
    ],
)
def test_the_phrase_counts_them(protocol: str, rows: int, phrase: str) -> None:
    assert chosen_on(protocol, rows) == phrase
