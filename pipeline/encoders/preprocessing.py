"""The weights that belong to the name of an encoder: where they are, and how images are prepared for them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pipeline.encoders.timm_models import PREFIX, model_name_of, pretrained_configuration
from pipeline.runtime.errors import shown

KERNELS = ("bilinear", "bicubic")
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """Scaling, crop and normalisation, in the terms of timm's `pretrained_cfg`."""

    mean: list[float]
    std: list[float]
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    crop_pct: float = 1.0
    notes: list[str] = field(default_factory=list)
    """What the weights require otherwise, one clause each."""

    @classmethod
    def of_configuration(cls, configuration: Mapping[str, Any]) -> "Preprocessing":
        """Reads a `pretrained_cfg`; what it lacks is as for ImageNet. Raises `ValueError` and `TypeError`."""
        kernel = configuration.get("interpolation") or "bicubic"
        crop_mode = configuration.get("crop_mode") or "center"
        notes = []
        if crop_mode != "center":
            notes.append(
                f"their crop_mode is {shown(crop_mode)}, and here the central square is taken: features of "
                "images that are not square differ from timm's, and those of square ones do not"
            )
        if kernel not in KERNELS:
            notes.append(f"their interpolation is {shown(kernel)}, and here it is bicubic")
        return cls(
            mean=[float(value) for value in configuration.get("mean") or IMAGENET_MEAN],
            std=[float(value) for value in configuration.get("std") or IMAGENET_STD],
            # Other kernels are rare, and nearest to bicubic.
            interpolation="bilinear" if kernel == "bilinear" else "bicubic",
            crop_pct=float(configuration.get("crop_pct") or 1.0),
            notes=notes,
        )


def usual_preprocessing(encoder: str, file_name: str | None = None) -> Preprocessing:
    """Returns the preprocessing of the weights that belong to a value of `pretrain.encoder`.

    torchvision has two versions of weights for some networks, with other crops. The version is that which it
    calls `DEFAULT` without a `file_name`, that which it publishes by that name, or else the first one.
    """
    if encoder.startswith(PREFIX):
        return Preprocessing.of_configuration(pretrained_configuration(model_name_of(encoder)))
    versions = _versions_of(encoder)
    named = {version.url.rpartition("/")[2]: version for version in versions}
    first = next(iter(versions))
    version = versions["DEFAULT"] if file_name is None else named.get(file_name, first)
    transform = version.transforms()
    return Preprocessing(
        list(transform.mean),
        list(transform.std),
        transform.interpolation.value,
        transform.crop_size[0] / transform.resize_size[0],
    )


def download_address(encoder: str) -> str:
    """Returns where the weights that belong to a value of `pretrain.encoder` can be fetched by hand."""
    if not encoder.startswith(PREFIX):
        return str(_versions_of(encoder)["DEFAULT"].url)
    configuration = pretrained_configuration(model_name_of(encoder))
    if hub := configuration.get("hf_hub_id"):
        return f"https://huggingface.co/{hub}/resolve/main/model.safetensors"
    return str(configuration.get("url") or "a file of weights from their authors")


def _versions_of(encoder: str) -> Any:
    # Imported here, as in `build_resnet`.
    from torchvision.models import get_model_weights

    return get_model_weights(encoder)
