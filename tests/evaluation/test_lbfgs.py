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
