"""The protocol `lbfgs` against scikit-learn's logistic regression."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from pipeline.evaluation import lbfgs
from pipeline.evaluation.lbfgs import fit_by_lbfgs
from pipeline.evaluation.linear import stratified_mask
from pipeline.evaluation.params import EvaluateParams
from probes import blobs


@pytest.mark.parametrize("strength", [1.0, 0.01, 0.0001])
def test_it_finds_scikit_learn_s_optimum(strength: float, monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = blobs(300, 6, 4, 1.0)
    monkeypatch.setattr(lbfgs, "STRENGTHS", (strength,))
    probe = fit_by_lbfgs(features, labels, 4, EvaluateParams(selection_fraction=0.2), 0)
    standard = StandardScaler().fit_transform(features.double().numpy())
    theirs = LogisticRegression(C=1 / (strength * 300), max_iter=5000, tol=1e-10).fit(
        standard, labels.numpy()
    )
    expected = theirs.predict_proba(standard)
    np.testing.assert_allclose(probe.logits(features).softmax(dim=1).numpy(), expected, atol=2e-3)


def test_the_strength_is_the_strongest_of_the_best_on_held_out_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    # Few rows and many useless features: weak regularisation fits noise, the strongest fits nothing.
    useful, labels = blobs(150, 3, 3, 1.0)
    features = torch.cat([useful, torch.randn(150, 200, generator=torch.Generator().manual_seed(5))], dim=1)
    held = stratified_mask(labels, 0.3, seed=0)
    accuracies = []
    for strength in lbfgs.STRENGTHS:
        monkeypatch.setattr(lbfgs, "STRENGTHS", (strength,))
        # With one strength only, the probe is fitted on the rows that it is given.
        probe = fit_by_lbfgs(features[~held], labels[~held], 3, EvaluateParams(selection_fraction=0.3), 0)
        accuracies.append(float((probe.logits(features[held]).argmax(1) == labels[held]).float().mean()))
    monkeypatch.undo()
    assert len(set(accuracies)) > 1
    best = lbfgs.STRENGTHS[accuracies.index(max(accuracies))]
    assert fit_by_lbfgs(features, labels, 3, EvaluateParams(selection_fraction=0.3), 0).strength == best


def test_features_that_hang_together_do_not_keep_it_from_the_minimum(monkeypatch: pytest.MonkeyPatch) -> None:
    # Like an encoder's: 60 features of which a few directions hold nearly all variance.
    generator = torch.Generator().manual_seed(3)
    directions = torch.randn(60, 60, generator=generator) * torch.logspace(0, -3, 60)[:, None]
    labels = torch.randint(0, 4, (800,), generator=generator)
    centers = torch.randn(4, 60, generator=generator)
    features = (0.3 * centers[labels] + torch.randn(800, 60, generator=generator)) @ directions
    monkeypatch.setattr(lbfgs, "STRENGTHS", (1e-4,))
    probe = fit_by_lbfgs(features, labels, 4, EvaluateParams(selection_fraction=0.2), 0)
    standard = StandardScaler().fit_transform(features.double().numpy())
    theirs = LogisticRegression(C=1 / (1e-4 * 800), max_iter=20_000, tol=1e-10).fit(standard, labels.numpy())

    def loss(logits: torch.Tensor, weights: torch.Tensor) -> float:
        return float(torch.nn.functional.cross_entropy(logits, labels) + 0.5e-4 * weights.square().sum())

    minimum = loss(torch.from_numpy(theirs.decision_function(standard)), torch.from_numpy(theirs.coef_))
    assert loss(probe.logits(features), probe.weights_DC) < 1.01 * minimum
