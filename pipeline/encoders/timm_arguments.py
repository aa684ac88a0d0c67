"""Arguments beside its name by which a network of timm was built: `model_args` of a Hugging Face folder."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.runtime.errors import listed

LayerName = Annotated[str, Field(pattern="^[A-Za-z][A-Za-z0-9_]{0,40}$")]
WITHOUT_EFFECT = frozenset(
    (
        *("num_classes", "in_chans", "img_size", "dynamic_img_size", "strict_img_size", "pretrained"),
        *("drop_rate", "drop_path_rate", "drop_block_rate", "drop_connect_rate", "head_dropout"),
        *("proj_drop_rate", "attn_drop_rate", "pos_drop_rate", "patch_drop_rate", "attn_drop", "proj_drop"),
        *("weight_init", "fix_init", "zero_init_last", "head_init_scale", "head_init_bias"),
        *("scriptable", "exportable", "no_jit", "device", "dtype"),
    )
)
"""Arguments of the classifier, of training, of the first weights, and of the image size, which this project
sets; `fit_weights` checks the channels of images."""


class TimmArguments(BaseModel):
    """The arguments that change the features and are supported; None leaves it to the network's name.

    They are validated whenever they are read, since a configuration may be untrusted.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    global_pool: LayerName | None = None
    fc_norm: bool | None = None
    class_token: bool | None = None
    act_layer: LayerName | None = None
    norm_layer: LayerName | None = None
    output_stride: Literal[8, 16, 32] | None = None

    def given(self) -> dict[str, str | int | bool]:
        return self.model_dump(exclude_none=True)

    def __str__(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.given().items())


def timm_arguments_of(configuration: Mapping[str, Any]) -> TimmArguments | None:
    """Returns the arguments in a `config.json` as timm writes it; None if there are none with an effect.

    As in timm, `global_pool` may also stand in `pretrained_cfg`. Raises `ValueError` for arguments that are
    not supported, as a clause without a subject.
    """
    arguments = configuration.get("model_args") or {}
    if not isinstance(arguments, dict):
        raise ValueError("has a damaged config.json (model_args holds no object)")
    # Before 2023 the configuration of the weights was the whole file.
    of_weights = configuration.get("pretrained_cfg", configuration)
    pool = of_weights.get("global_pool") if isinstance(of_weights, dict) else None
    decisive = {"global_pool": pool} | {
        name: value for name, value in arguments.items() if name not in WITHOUT_EFFECT and value is not None
    }
    try:
        found = TimmArguments.model_validate(decisive)
    except ValidationError as error:
        names = sorted({str(each["loc"][0]) for each in error.errors()})
        others = listed([f"{name:.40}={decisive[name]!r:.40}" for name in names])
        raise ValueError(
            f"was built by timm with {others} (model_args in its config.json), and of such arguments only "
            f"{listed(list(TimmArguments.model_fields))} are read: name weights of a network that was built "
            "without others"
        ) from None
    return found if found.given() else None
