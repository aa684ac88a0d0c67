"""What holds for every protocol, and how rows are drawn."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evaluation.linear import labelled_mask, stratified_mask
from pipeline.evaluation.params import EvaluateParams, SgdParams
from pipeline.evaluation.registry import PROTOCOLS
from pipeline.params import check_params
from probes import blobs

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


@settings(max_examples=50, deadline=None)
@given(CLASSES, SHARES, st.integers(0, 3))
def test_held_rows_are_stratified(classes: list[int], fraction: float, seed: int) -> None:
    tensor = torch.tensor(classes)
    held = stratified_mask(tensor, fraction, seed)
    for value in set(classes):
        rows = tensor == value
        assert int(held[rows].sum()) == min(round(int(rows.sum()) * fraction), int(rows.sum()) - 1)


@settings(max_examples=50, deadline=None)
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
