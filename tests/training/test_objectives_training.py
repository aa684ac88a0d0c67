"""A short training of every objective: it ends, resumes, and refuses data without what it learns from."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from pipeline.clustering.run import cluster
from pipeline.config.pretrain import PretrainParams
from pipeline.objectives.registry import OBJECTIVES
from pipeline.objectives.traits import TRAITS
from pipeline.runtime.errors import UserError
from pipeline.storage.schema import Layout
from pipeline.training import run as training
from pipeline.training.attribute_inputs import ENCODINGS, Encoding
from support import TINY_OBJECTIVES, TINY_PRETRAIN, params_with
from training.resume import assert_resumes

pytestmark = pytest.mark.slow

SMALL: dict[str, Any] = TINY_OBJECTIVES | {"batch_size": 4, "epochs": 2}


@pytest.fixture
def layout(clustered: Callable[..., Layout]) -> Layout:
    """16 train images of 12 pixels, in clusters by k-means, which are remade."""
    return clustered(21, method="kmeans", kmeans={"clusters": 3, "min_points": 1})


def train(layout: Layout, objective: str, **changes: Any) -> bytes:
    params = PretrainParams.model_validate(TINY_PRETRAIN | SMALL | {"objective": objective} | changes)
    training.pretrain(params, "chosen", 12, 0, layout)
    return (layout.encoder("chosen") / "encoder.safetensors").read_bytes()


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_stopped_within_an_epoch_it_ends_with_the_same_bytes(
    layout: Layout, objective: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = partial(train, layout, objective, optimizer="sgd")
    seen = assert_resumes(run, 8, monkeypatch, stops=(2, 6))
    assert {"convolution", "convolution_backward"} <= seen


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_encoder_learns_in_parts_too(layout: Layout, objective: str) -> None:
    weights = {train(layout, objective, micro_batch=micro_batch, epochs=1) for micro_batch in (2, 4)}
    assert len(weights) == 2, "batch norm sees the part"


@pytest.mark.parametrize(
    "objective", [name for name, traits in TRAITS.items() if traits.learns_from == "attributes"]
)
def test_missing_attributes_are_told_before_anything_is_trained(
    layout: Layout, objective: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = lambda _train, _params: np.zeros((24, 0), np.int8)  # noqa: E731
    monkeypatch.setitem(ENCODINGS, TRAITS[objective].attributes, nothing)
    with pytest.raises(
        UserError, match=rf"pretrain.objective={objective} learns from attributes, and the data has none"
    ):
        train(layout, objective)


def test_only_who_needs_attributes_reads_them(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    requested: list[str] = []

    def spy(encode: Encoding, images: Any, params: PretrainParams) -> Any:
        requested.append(params.objective)
        # Labels are not so much as read.
        monkeypatch.setattr(type(images), "labels", property(lambda _self: pytest.fail("reads labels")))
        return encode(images, params)

    for name, encode in ENCODINGS.items():
        monkeypatch.setitem(ENCODINGS, name, partial(spy, encode))
    train(layout, "cl_infonce", epochs=1)
    assert not requested
    of_attributes = [name for name, traits in TRAITS.items() if traits.learns_from == "attributes"]
    for objective in of_attributes:
        train(layout, objective, epochs=1)
    assert requested == of_attributes


def test_references_are_cl_infonce_s(layout: Layout) -> None:
    cluster(params_with(cluster={"method": "instance"}).cluster, "instance", 16, 0, layout)
    weights = []
    for objective in ("byol", "cl_infonce"):
        params = PretrainParams.model_validate(TINY_PRETRAIN | SMALL | {"objective": objective, "epochs": 1})
        training.pretrain(params, "instance", 12, 0, layout)
        weights.append((layout.encoder("instance") / "encoder.safetensors").read_bytes())
    assert weights[0] == weights[1]
