"""Features without an encoder: small, decorrelated thumbnails."""

import torch
from torch import Tensor

from pipeline.augment.views import central_views
from pipeline.dataset.dataset import ImageSplit
from pipeline.dataset.pixels import load_pixels

THUMBNAIL_SIDE = 8
COMPONENTS = 32


def pixel_features(train: ImageSplit) -> Tensor:
    """Returns (N, up to 32) float32 features: thumbnails along their principal directions, whitened."""
    store = load_pixels(train)
    views_NC = [
        central_views(canvas, sizes, THUMBNAIL_SIDE).flatten(1)
        for canvas, sizes in zip(store.canvas_NCHW.split(1024), store.sizes_N2.split(1024), strict=True)
    ]
    pixels_NC = torch.cat(views_NC)
    centered_NC = pixels_NC - pixels_NC.mean(dim=0)
    variances_C, directions_CC = torch.linalg.eigh(centered_NC.T @ centered_NC / len(centered_NC))
    kept = min(COMPONENTS, len(variances_C))
    std_D = variances_C[-kept:].clamp(min=1e-8).sqrt()
    whitened_ND: Tensor = centered_NC @ directions_CC[:, -kept:] / std_D
    return whitened_ND
