"""Central views as weights of others require: to the byte what timm's transform makes by Pillow."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from timm.data.transforms_factory import create_transform

from pipeline.augment.views import CentralCrop, central_views

Interpolation = Literal["bilinear", "bicubic"]


def by_timm(images: list[Image.Image], size: int, crop: CentralCrop) -> torch.Tensor:
    transform = create_transform(
        (3, size, size),
        interpolation=crop.interpolation,
        crop_pct=crop.crop_pct,
        mean=(0.0,) * 3,
        std=(1.0,) * 3,
    )
    return torch.stack([transform(image) for image in images])


def ours(images: list[Image.Image], size: int, crop: CentralCrop) -> torch.Tensor:
    side = max(image.width for image in images)
    canvas_NHWC = np.zeros((len(images), side, side, 3), np.uint8)
    for canvas_HWC, image in zip(canvas_NHWC, images, strict=True):
        canvas_HWC[: image.height, : image.width] = np.asarray(image)
    sizes_N2 = torch.tensor([[image.height, image.width] for image in images])
    return central_views(torch.from_numpy(canvas_NHWC).permute(0, 3, 1, 2), sizes_N2, size, crop)


@given(
    sides=st.lists(st.integers(8, 90), min_size=1, max_size=3),
    size=st.integers(8, 80),
    crop_pct=st.sampled_from([0.7, 0.875, 0.9, 0.95, 1.0]),
    interpolation=st.sampled_from(["bilinear", "bicubic"]),
    seed=st.integers(0, 1000),
)
def test_squares_of_any_size_are_as_timm_prepares_them(
    sides: list[int], size: int, crop_pct: float, interpolation: Interpolation, seed: int
) -> None:
    if (interpolation, crop_pct) == ("bilinear", 1.0):
        return  # this project's own views, which are not rounded
    random = np.random.default_rng(seed)
    images = [Image.fromarray(random.integers(0, 256, (side, side, 3), np.uint8)) for side in sides]
    crop = CentralCrop(interpolation, crop_pct)
    assert torch.equal(ours(images, size, crop), by_timm(images, size, crop))


@pytest.mark.parametrize(("size", "crop"), [(64, 0.875), (224, 0.9), (56, 1.0), (24, 0.95)])
def test_real_images_are_as_timm_prepares_them(shared_data: Path, size: int, crop: float) -> None:
    paths = sorted((shared_data / "cifar100" / "test").rglob("*.png"))[:50]
    assert paths
    images = [Image.open(path).convert("RGB") for path in paths]
    cropped = CentralCrop("bicubic", crop)
    assert torch.equal(ours(images, size, cropped), by_timm(images, size, cropped))
