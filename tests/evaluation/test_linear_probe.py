"""What holds for every protocol, and how rows are drawn."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from pipeline.config.evaluate import EvaluateParams, SgdParams
from pipeline.config.params import check_params
from pipeline.evaluation.linear_probe import (
    ENOUGH_ROWS,
    LinearProbe,
    choose,
    held_out_parts,
    labelled_mask,
    standardisation,
    weakest_of_equals,
    weakest_within_an_error,
)
from pipeline.evaluation.registry import PROTOCOLS
from probes import accuracy, blobs, few_of_each

pytestmark = pytest.mark.slow

CLASSES = st.lists(st.integers(0, 4), min_size=1, max_size=60)
SHARES = st.floats(0.05, 0.9)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_params_take_every_protocol(protocol: str) -> None:
    assert check_params({"evaluate": {"protocol": protocol}}).evaluate.protocol == protocol


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_constant_feature_is_harmless(protocol: str) -> None:
    features, labels = blobs(60, 3, 2, 0.3)
    with_constant = torch.cat([features, torch.ones(60, 1)], dim=1)
    probe = PROTOCOLS[protocol](with_constant, labels, 2, EvaluateParams(), 0)
    assert probe.logits(with_constant).isfinite().all()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_with_one_image_a_class_there_is_still_a_probe(protocol: str) -> None:
    probe = PROTOCOLS[protocol](torch.eye(3), torch.arange(3), 3, EvaluateParams(selection_fraction=0.5), 0)
    assert probe.logits(torch.eye(3)).argmax(dim=1).tolist() == [0, 1, 2]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_same_seed_gives_the_same_probe(protocol: str) -> None:
    features, labels = blobs(90, 4, 3, 0.5)
    params = EvaluateParams(sgd=SgdParams(epochs=3, batch_size=16))
    one, other = (PROTOCOLS[protocol](features, labels, 3, params, 7) for _ in range(2))
    assert torch.equal(one.weights_DC, other.weights_DC)
    assert torch.equal(one.bias_C, other.bias_C)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("counts", [[12, *[2] * 60], [62, *[2] * 19], [150, *[3] * 30]])
def test_a_large_class_among_small_ones_does_not_choose_for_all(protocol: str, counts: list[int]) -> None:
    train, test = few_of_each(counts, 64, 1.0)
    probe = PROTOCOLS[protocol](*train, len(counts), EvaluateParams(), 0)
    theirs = LogisticRegression(max_iter=2000).fit(*(tensor.numpy() for tensor in train))
    expected = theirs.score(*(tensor.numpy() for tensor in test))
    assert expected > 0.9
    assert accuracy(probe, *test) >= expected - 0.05
    assert probe.selection_rows == sum(counts)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("share", [1e-20, 1e-7, 1e-5])
def test_features_that_hardly_vary_on_the_images_of_the_encoder_do_not_decide(
    protocol: str, share: float
) -> None:
    (train, classes), (test, of_test) = few_of_each([20] * 3, 40, 0.7)
    train[:, 4:] *= share
    theirs = LogisticRegression(max_iter=2000).fit(train.numpy(), classes.numpy())
    expected = theirs.score(test.numpy(), of_test.numpy())
    assert expected > 0.6
    probe = PROTOCOLS[protocol](train, classes, 3, EvaluateParams(), 0, own_deviations=False)
    assert accuracy(probe, test, of_test) >= expected - 0.05


@pytest.mark.parametrize("exponent", [-30, 0, 30])
def test_without_their_own_deviations_features_share_one(exponent: int) -> None:
    features, _ = blobs(30, 4, 2, 1.0)
    features[:, 0] *= 100
    mean, std = standardisation(features * 10.0**exponent, own_deviations=False)
    expected = features.double().std(0, correction=0).square().mean().sqrt() * 10.0**exponent
    torch.testing.assert_close(std.double(), expected.expand(4), atol=0, rtol=1e-5)
    torch.testing.assert_close(mean, (features * 10.0**exponent).mean(0), atol=0, rtol=1e-4)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_where_no_row_can_choose_the_probe_says_so(protocol: str) -> None:
    probe = PROTOCOLS[protocol](torch.eye(3), torch.arange(3), 3, EvaluateParams(), 0)
    assert (probe.selection_rows, probe.selection_top1) == (0, None)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("exponent", [-12, -7, 12])
def test_the_unit_of_the_features_does_not_matter(protocol: str, exponent: int) -> None:
    train, test = few_of_each([12] * 3, 4, 0.7)
    params = EvaluateParams(sgd=SgdParams(epochs=5))

    def probed(unit: float) -> tuple[LinearProbe, float]:
        probe = PROTOCOLS[protocol](train[0] * unit, train[1], 3, params, 0)
        return probe, accuracy(probe, test[0] * unit, test[1])

    plain, expected = probed(1.0)
    decimal, of_decimal = probed(10.0**exponent)
    binary, of_binary = probed(2.0**exponent)
    assert expected > 0.6
    assert of_decimal == of_binary == expected
    assert (decimal.strength, decimal.learning_rate) == (plain.strength, plain.learning_rate)
    # Powers of two change no digit.
    assert torch.equal(binary.weights_DC, plain.weights_DC)


@given(st.integers(-36, 36))
def test_rows_are_standardised_at_any_scale(exponent: int) -> None:
    features, _ = blobs(200, 4, 2, 1.0)
    features[:, 3] = 0.7
    rows = features * 10.0**exponent
    mean, std = standardisation(rows)
    standard = (rows - mean) / std
    expected = (features - features.double().mean(0)) / features.double().std(0, correction=0)
    torch.testing.assert_close(standard[:, :3].double(), expected[:, :3], atol=1e-5, rtol=1e-5)
    assert standard[:, 3].abs().max() < 1e-5, "a feature that never changes says nothing"


@settings(max_examples=100)
@given(CLASSES, st.floats(0.01, 0.5), st.integers(0, 3))
def test_each_row_with_company_is_held_out_once(classes: list[int], fraction: float, seed: int) -> None:
    numbers = np.unique(classes, return_inverse=True)[1]
    parts = list(held_out_parts(torch.from_numpy(numbers), fraction, seed))
    times = np.sum([part.numpy() for part in parts], axis=0) if parts else np.zeros(len(classes))
    sizes = np.bincount(numbers)[numbers]
    assert times.tolist() == (sizes > 1).tolist()
    for part in parts:
        assert set(numbers[part.numpy()]) <= set(numbers[~part.numpy()]), "a class that is not fitted"
        per_class = np.bincount(numbers[part.numpy()], minlength=numbers.max() + 1)
        assert (abs(per_class - np.bincount(numbers) / round(1 / fraction)) < 1 + 1e-9).all()


@pytest.mark.parametrize(("rows", "voting", "chosen"), [(2 * ENOUGH_ROWS, ENOUGH_ROWS, 1), (90, 90, 2)])
def test_of_equals_few_rows_choose_the_weakest_and_many_the_strongest(
    rows: int, voting: int, chosen: int
) -> None:
    classes = torch.arange(rows) % 2
    features = torch.nn.functional.one_hot(classes).float()

    def fit(some: torch.Tensor, their_classes: torch.Tensor) -> Sequence[LinearProbe]:
        assert len(some) == len(their_classes)
        return [
            LinearProbe(torch.zeros(2), torch.ones(2), weights, torch.zeros(2))
            for weights in (-torch.eye(2), torch.eye(2), torch.eye(2))
        ]

    choice = choose(3, fit, features, classes, 0.5, 0, weakest_of_equals)
    assert (choice.position, choice.top1, choice.rows) == (chosen, 1.0, voting)


@settings(max_examples=100)
@given(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=30))
def test_the_weakest_within_a_standard_error_is_taken(right: list[list[bool]]) -> None:
    correct = [sum(row[candidate] for row in right) for candidate in range(3)]
    best = correct.index(max(correct))
    within = [
        candidate
        for candidate in range(3)
        if (correct[best] - correct[candidate]) ** 2 <= sum(row[candidate] != row[best] for row in right)
    ]
    assert weakest_within_an_error(np.array(right)) == within[-1]


@settings(max_examples=50)
@given(CLASSES, SHARES, SHARES, st.integers(0, 3))
def test_labelled_rows_are_stratified_and_nested(
    classes: list[int], one: float, other: float, seed: int
) -> None:
    tensor = torch.tensor(classes)
    fewer, more = (labelled_mask(tensor, fraction, seed) for fraction in sorted([one, other]))
    for value in set(classes):
        rows = tensor == value
        assert int(more[rows].sum()) == max(round(int(rows.sum()) * max(one, other)), 1)
    assert bool((more | ~fewer).all()), "what the smaller share has, the larger has too"
    assert torch.equal(labelled_mask(tensor, max(one, other), seed), more)
