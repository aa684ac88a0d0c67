"""The protocol `lbfgs` against scikit-learn's logistic regression."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from pipeline.config.evaluate import EvaluateParams
from pipeline.evaluation import lbfgs
from pipeline.evaluation.lbfgs import fit_by_lbfgs
from pipeline.evaluation.linear_probe import held_out_parts, weakest_within_an_error
from probes import Rows, accuracy, blobs, few_of_each

pytestmark = pytest.mark.slow


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


def noisy() -> Rows:
    """Few rows and many useless features: weak regularisation fits noise, the strongest fits nothing."""
    useful, labels = blobs(150, 3, 3, 1.0)
    useless = torch.randn(150, 200, generator=torch.Generator().manual_seed(5))
    return torch.cat([useful, useless], dim=1), labels


def test_the_strength_is_chosen_on_rows_that_are_not_fitted() -> None:
    features, labels = noisy()
    right = torch.zeros(150, len(lbfgs.STRENGTHS), dtype=torch.bool)
    for held in held_out_parts(labels, 0.3, seed=0):
        path = lbfgs._Problem(features[~held], labels[~held], 3, True).path(lbfgs.STRENGTHS)
        for number, probe in enumerate(path):
            right[held, number] = probe.logits(features[held]).argmax(1) == labels[held]
    assert len(set(right.sum(dim=0).tolist())) > 1
    expected = weakest_within_an_error(right.numpy())
    probe = fit_by_lbfgs(features, labels, 3, EvaluateParams(selection_fraction=0.3), 0)
    assert probe.strength == lbfgs.STRENGTHS[expected]
    assert probe.selection_top1 == pytest.approx(float(right[:, expected].float().mean()))
    assert probe.selection_rows == 150


def their_cross_validated(features: Tensor, labels: Tensor) -> Pipeline:
    """scikit-learn's logistic regression, by every third of our strengths."""
    rows = len(labels)
    regression = LogisticRegressionCV(
        Cs=[1 / (strength * rows) for strength in lbfgs.STRENGTHS[::3]],
        cv=StratifiedKFold(3, shuffle=True, random_state=0),
        l1_ratios=(0,),
        scoring="accuracy",
        use_legacy_attributes=False,
        max_iter=500,
    )
    return make_pipeline(StandardScaler(), regression).fit(features.numpy(), labels.numpy())


@pytest.mark.parametrize("spread", [0.5, 1.5])
def test_it_is_as_accurate_as_scikit_learn_s_cross_validation(spread: float) -> None:
    train, test = few_of_each([5, 6, 10, 15, 60], 24, spread)
    expected = their_cross_validated(*train).score(*(tensor.numpy() for tensor in test))
    assert accuracy(fit_by_lbfgs(*train, 5, EvaluateParams(), 0), *test) >= expected - 0.04


def test_it_is_as_accurate_as_scikit_learn_on_few_rows_of_a_real_catalogue(
    shared_data: Path,
) -> None:
    """By small thumbnails of fashion products; classes of fewer than five train rows are left out."""
    folder = shared_data / "fashion-products"
    table = pd.read_csv(folder / "manifest.csv").sample(frac=1, random_state=0)
    splits = {split: table[table["split"] == split] for split in ("train", "test")}
    some = splits["train"].head(250).groupby("label").filter(lambda group: len(group) >= 5)
    requested = splits["test"][splits["test"]["label"].isin(some["label"])].head(1000)
    numbers = {label: number for number, label in enumerate(sorted(set(some["label"])))}

    def read(part: pd.DataFrame) -> Rows:
        thumbnails = [Image.open(folder / path).convert("RGB").resize((8, 8)) for path in part["image"]]
        features = np.stack([np.asarray(thumbnail, np.float32).ravel() for thumbnail in thumbnails])
        return torch.from_numpy(features), torch.tensor([numbers[label] for label in part["label"]])

    train, test = read(some), read(requested)
    expected = their_cross_validated(*train).score(*(tensor.numpy() for tensor in test))
    assert expected > 0.4
    assert accuracy(fit_by_lbfgs(*train, len(numbers), EvaluateParams(), 0), *test) >= expected - 0.04


def test_few_rows_of_many_features_have_the_same_optimum(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their principal axes are fewer than the features."""
    features, labels = noisy()
    monkeypatch.setattr(lbfgs, "STRENGTHS", (0.01,))
    probe = fit_by_lbfgs(features, labels, 3, EvaluateParams(), 0)
    standard = StandardScaler().fit_transform(features.double().numpy())
    theirs = LogisticRegression(C=1 / (0.01 * 150), max_iter=5000, tol=1e-10).fit(standard, labels.numpy())
    expected = theirs.predict_proba(standard)
    np.testing.assert_allclose(probe.logits(features).softmax(dim=1).numpy(), expected, atol=2e-3)


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
