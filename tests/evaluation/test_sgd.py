"""The protocol `sgd` against torch's own optimiser and scikit-learn's logistic regression."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from pipeline.config.evaluate import EvaluateParams, SgdParams
from pipeline.evaluation import sgd
from pipeline.evaluation.linear_probe import held_out_parts, weakest_of_equals
from pipeline.evaluation.sgd import fit_by_sgd
from pipeline.runtime.errors import UserError
from pipeline.runtime.seeding import numpy_generator
from probes import accuracy, blobs


def slowly(features_ND: Tensor, classes_N: Tensor, class_count: int, params: SgdParams, seed: int) -> Tensor:
    """Logits of a linear layer that torch's SGD trained, batch by batch."""
    standard_ND = (features_ND - features_ND.mean(0)) / features_ND.std(0, correction=0)
    layer = nn.Linear(features_ND.shape[1], class_count)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    optimizer = torch.optim.SGD(layer.parameters(), lr=params.learning_rate, momentum=0.9)
    steps = params.epochs * -(-len(features_ND) // params.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for epoch in range(params.epochs):
        order = torch.from_numpy(numpy_generator(seed, "epoch", epoch).permutation(len(features_ND)))
        for rows in order.split(params.batch_size):
            optimizer.zero_grad()
            nn.functional.cross_entropy(layer(standard_ND[rows]), classes_N[rows]).backward()
            optimizer.step()
            schedule.step()
    logits_NC: Tensor = layer(standard_ND).detach()
    return logits_NC


@settings(max_examples=15)
@given(st.integers(10, 90), st.integers(2, 5), st.integers(1, 6), st.integers(1, 100))
def test_it_is_torch_s_sgd(rows: int, classes: int, epochs: int, batch_size: int) -> None:
    features, labels = blobs(rows, 6, classes, 1.0)
    params = SgdParams(epochs=epochs, batch_size=batch_size, learning_rate=0.03)
    expected = slowly(features, labels, classes, params, seed=3)
    # Beside other rates, as while choosing, and alone, as at the end.
    beside = sgd._fit(features, labels, classes, params, [0.3, 0.03, 0.003], 3)[1]
    alone = sgd._fit(features, labels, classes, params, [0.03], 3)[0]
    for probe in (beside, alone):
        torch.testing.assert_close(probe.logits(features), expected, atol=2e-4, rtol=1e-3)


def test_it_is_as_accurate_as_scikit_learn_on_separable_points() -> None:
    features, labels = blobs(600, 12, 5, 0.4)
    train, test = slice(0, 400), slice(400, None)
    theirs = LogisticRegression(max_iter=2000).fit(features[train].numpy(), labels[train].numpy())
    expected = theirs.score(features[test].numpy(), labels[test].numpy())
    probe = fit_by_sgd(features[train], labels[train], 5, EvaluateParams(), 0)
    assert expected > 0.98
    assert accuracy(probe, features[test], labels[test]) >= expected - 0.01


def test_the_rate_is_chosen_on_rows_that_are_not_fitted() -> None:
    # Few rows and many useless features: large rates fit noise, the smallest hardly move.
    useful, labels = blobs(150, 3, 3, 1.0)
    features = torch.cat([useful, torch.randn(150, 200, generator=torch.Generator().manual_seed(5))], dim=1)
    params = EvaluateParams(selection_fraction=0.3, sgd=SgdParams(epochs=10, batch_size=32))
    rates = [0.3 * factor for factor in sgd.FACTORS]
    right = torch.zeros(150, len(rates), dtype=torch.bool)
    for held in held_out_parts(labels, 0.3, seed=0):
        probes = sgd._fit(features[~held], labels[~held], 3, params.sgd, rates, 0)
        for number, probe in enumerate(probes):
            right[held, number] = probe.logits(features[held]).argmax(1) == labels[held]
    assert len(set(right.sum(dim=0).tolist())) > 1
    expected = rates[weakest_of_equals(right.numpy())]
    assert fit_by_sgd(features, labels, 3, params, 0).learning_rate == expected


def test_steps_that_nobody_waits_for() -> None:
    params = EvaluateParams(sgd=SgdParams(epochs=10_000, batch_size=1))
    features_ND = torch.zeros(10_001, 1)
    with pytest.raises(UserError, match=r"evaluate.sgd.epochs=10000 on 10,001 images, .* 100,010,000 steps"):
        fit_by_sgd(features_ND, torch.arange(10_001) % 2, 2, params, 0)
