import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from pipeline.evaluation import knn as neighbours
from pipeline.evaluation.knn import knn_predict


def test_it_is_scikit_learn_s_vote_with_our_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    train, queries = torch.randn(200, 6, generator=generator), torch.randn(50, 6, generator=generator)
    labels = torch.randint(0, 5, (200,), generator=generator)
    reference = KNeighborsClassifier(
        15,
        metric="cosine",
        algorithm="brute",
        weights=lambda distance: 2.718281828459045 ** (-distance / 0.07),
    ).fit(train.numpy(), labels.numpy())
    monkeypatch.setattr(neighbours, "QUERIES_AT_ONCE", 16)
    votes = knn_predict(train, labels, queries, 5, 15)
    assert votes.tolist() == reference.predict(queries.numpy()).tolist()


def test_fewer_images_than_neighbours() -> None:
    train, labels = torch.eye(3), torch.tensor([0, 1, 2])
    assert knn_predict(train, labels, torch.eye(3) + 0.1, 3, 20).tolist() == [0, 1, 2]


@pytest.mark.parametrize("exponent", range(-30, 31, 6))
def test_the_unit_of_the_features_does_not_matter(exponent: int) -> None:
    generator = torch.Generator().manual_seed(0)
    train, queries = torch.randn(200, 6, generator=generator), torch.randn(50, 6, generator=generator)
    labels = torch.randint(0, 5, (200,), generator=generator)
    unit = 10.0**exponent
    votes = knn_predict(train * unit, labels, queries * unit, 5, 15)
    assert votes.tolist() == knn_predict(train, labels, queries, 5, 15).tolist()
