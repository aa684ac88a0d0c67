"""The probe against scikit-learn's logistic regression."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from pipeline.evaluation import linear
from pipeline.evaluation.linear import fit_probe, stratified_mask


def blobs(
    count: int, dim: int, classes: int, spread: float, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    centers = torch.randn(classes, dim, generator=torch.Generator().manual_seed(99))
    labels = torch.randint(0, classes, (count,), generator=generator)
    return centers[labels] + spread * torch.randn(count, dim, generator=generator), labels


@pytest.mark.parametrize("strength", [1.0, 0.01, 0.0001])
def test_it_finds_scikit_learn_s_optimum(strength: float, monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = blobs(300, 6, 4, 1.0)
    monkeypatch.setattr(linear, "STRENGTHS", (strength,))
    probe = fit_probe(features, labels, 4, 0.2, seed=0)
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
    for strength in linear.STRENGTHS:
        monkeypatch.setattr(linear, "STRENGTHS", (strength,))
        # With one strength only, the probe is fitted on the rows that it is given.
        probe = fit_probe(features[~held], labels[~held], 3, 0.3, seed=0)
        accuracies.append(float((probe.logits(features[held]).argmax(1) == labels[held]).float().mean()))
    monkeypatch.undo()
    assert len(set(accuracies)) > 1
    best = linear.STRENGTHS[accuracies.index(max(accuracies))]
    assert fit_probe(features, labels, 3, 0.3, seed=0).strength == best


def test_a_constant_feature_is_harmless() -> None:
    features, labels = blobs(60, 3, 2, 0.3)
    probe = fit_probe(torch.cat([features, torch.ones(60, 1)], dim=1), labels, 2, 0.2, seed=0)
    assert probe.logits(torch.cat([features, torch.ones(60, 1)], dim=1)).isfinite().all()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.floats(0.05, 0.9), st.integers(0, 3))
def test_held_rows_are_stratified(classes: list[int], fraction: float, seed: int) -> None:
    tensor = torch.tensor(classes)
    held = stratified_mask(tensor, fraction, seed)
    for value in set(classes):
        rows = tensor == value
        assert int(held[rows].sum()) == min(round(int(rows.sum()) * fraction), int(rows.sum()) - 1)


def test_with_one_image_a_class_there_is_still_a_probe() -> None:
    features = torch.eye(3)
    probe = fit_probe(features, torch.arange(3), 3, 0.5, seed=0)
    assert probe.logits(features).argmax(dim=1).tolist() == [0, 1, 2]
