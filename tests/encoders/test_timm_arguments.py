"""Arguments by which a network of timm was built, in the `config.json` of a folder."""

from typing import Any

import pytest

from pipeline.encoders.base import Architecture
from pipeline.encoders.config import EncoderConfig
from pipeline.encoders.registry import build_plain_encoder
from pipeline.encoders.timm_arguments import TimmArguments, timm_arguments_of

CONFIG = {"encoder": "timm/resnet10t", "stem_stride": None, "image_size": 32, "mean": [0.5] * 3}


@pytest.mark.parametrize(
    ("configuration", "expected"),
    [
        ({"model_args": {"global_pool": "max"}}, {"global_pool": "max"}),
        ({"model_args": {"act_layer": "silu", "num_classes": 7}}, {"act_layer": "silu"}),
        ({"model_args": {"output_stride": 8, "drop_path_rate": 0.1}}, {"output_stride": 8}),
        (
            {"model_args": {"global_pool": "avg", "fc_norm": False, "img_size": [64, 64]}},
            {"global_pool": "avg", "fc_norm": False},
        ),
        ({"pretrained_cfg": {"global_pool": "max"}}, {"global_pool": "max"}),
        ({"architecture": "resnet18", "global_pool": "max"}, {"global_pool": "max"}),  # as before 2023
        (
            {"model_args": {"global_pool": "avg"}, "pretrained_cfg": {"global_pool": "max"}},
            {"global_pool": "avg"},
        ),
        # The one beside `pretrained_cfg` informs readers, and builds nothing.
        ({"global_pool": "max", "pretrained_cfg": {}}, {}),
        ({"model_args": {"global_pool": None, "in_chans": 3, "drop_rate": 0.5}}, {}),
        ({"model_args": None}, {}),
        ({}, {}),
    ],
)
def test_those_with_an_effect_are_read(configuration: dict[str, Any], expected: dict[str, Any]) -> None:
    found = timm_arguments_of(configuration)
    assert (found.given() if found else {}) == expected
    assert (found is None) == (expected == {})


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"global_pool": ""}, r"global_pool=''"),
        ({"global_pool": ["avg"]}, r"global_pool=\['avg'\]"),
        ({"output_stride": 10**9}, "output_stride=1000000000"),
        ({"output_stride": True}, "output_stride=True"),
        ({"depth": 10**9, "qkv_bias": False}, "depth=1000000000, qkv_bias=False"),
        ({"features_only": True}, "features_only=True"),
        ({"checkpoint_path": "/etc/passwd"}, "checkpoint_path='/etc/passwd'"),
        ({"pretrained_strict": False, "num_classes": 3}, r"pretrained_strict=False \(model_args in"),
        ({"act_layer": "a" * 99}, "act_layer='aaaa"),
    ],
)
def test_others_are_refused_by_name(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=f"^was built by timm with {named}") as raised:
        timm_arguments_of({"model_args": arguments})
    assert len(str(raised.value)) < 500


def test_model_args_that_are_no_object_are_damaged() -> None:
    with pytest.raises(ValueError, match="model_args holds no object"):
        timm_arguments_of({"model_args": ["global_pool"]})


@pytest.mark.parametrize("damage", [{"depth": 10**9}, {"global_pool": "avg; x"}, {"fc_norm": 1}, "max", []])
def test_they_are_checked_in_the_configuration_of_an_encoder(damage: Any) -> None:
    config = CONFIG | {"std": [0.2] * 3}
    own = EncoderConfig.checked(config | {"timm_arguments": {"global_pool": "max"}})
    assert own.architecture.timm_arguments == TimmArguments(global_pool="max")
    assert EncoderConfig.checked(own.model_dump()) == own
    with pytest.raises(ValueError, match=r"^timm_arguments holds"):
        EncoderConfig.checked(config | {"timm_arguments": damage})


@pytest.mark.parametrize("arguments", [{"act_layer": "nothing"}, {"fc_norm": True}, {"global_pool": "token"}])
def test_what_timm_does_not_build_is_refused(arguments: dict[str, Any]) -> None:
    architecture = Architecture("timm/resnet10t", None, 32, False, TimmArguments(**arguments))
    with pytest.raises(ValueError, match=r"^is of timm/resnet10t with .*, which timm does not build"):
        build_plain_encoder(architecture)
