"""Random views, compared with torchvision and lightly, on one thread and from images in memory.

uv run --group bench python -m benchmarks.augmentation
"""

from collections.abc import Callable
from statistics import median

import torch
import typer
from lightly.transforms import SimCLRTransform
from lightly.transforms.utils import IMAGENET_NORMALIZE
from torch import Tensor
from torch.nn import functional
from torchvision.transforms import v2
from torchvision.transforms.v2.functional import to_pil_image

from benchmarks.harness import Goal, JsonFlag, Outcome, in_turns, times_as_fast
from pipeline.augment.normalize import Normalizer
from pipeline.augment.views import random_views
from pipeline.config.pretrain import AugmentParams

SEED = 7
OURS = "clinfonce"
TENSORS, PIL, LIGHTLY = "torchvision v2, tensors", "torchvision v2, PIL", "lightly SimCLRTransform"

SMALL = AugmentParams()
# The defaults of SimCLRTransform.
LARGE = AugmentParams(
    crop_scale_min=0.08,
    brightness=0.8,
    contrast=0.8,
    saturation=0.8,
    hue=0.2,
    blur_probability=0.5,
)


def measure(small: int = 1024, large: int = 48, rounds: int = 15, as_json: JsonFlag = False) -> None:
    """Views of `small` images at 32 px without blur, and of `large` ones at 256 -> 224 px with it."""
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    # As in a trainer, which has freed tensors of this size: the C library then keeps memory between calls.
    torch.empty(31 * 2**20, dtype=torch.uint8)
    outcome = Outcome("augmentation")
    _compare_at_32(_smooth_noise(small, 32), rounds, outcome)
    _compare_at_224(_smooth_noise(large, 256), rounds, outcome)
    outcome.tell(as_json)


def _compare_at_32(images_NCHW: Tensor, rounds: int, outcome: Outcome) -> None:
    pils = [to_pil_image(image) for image in images_NCHW]
    on_tensors = _torchvision_views(SMALL, 32)
    on_pils = v2.Compose([on_tensors, v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    on_tensors = v2.Compose([on_tensors, v2.ToDtype(torch.float32, scale=True)])
    contenders: dict[str, Callable[[], object]] = {
        OURS: lambda: random_views(images_NCHW, _sizes(images_NCHW), 32, SMALL, SEED),
        TENSORS: lambda: [on_tensors(image) for image in images_NCHW],
        PIL: lambda: [on_pils(image) for image in pils],
    }
    seconds = in_turns(contenders, rounds)
    faster = min((TENSORS, PIL), key=lambda what: median(seconds[what]))
    _tell("32 px", len(pils), seconds, outcome)
    ratio = times_as_fast(seconds, OURS, faster)
    outcome.goals.append(Goal(f"32 px: times as fast as {faster}", ratio, 15))


def _compare_at_224(images_NCHW: Tensor, rounds: int, outcome: Outcome) -> None:
    pils = [to_pil_image(image) for image in images_NCHW]
    two_views = SimCLRTransform(input_size=224)
    mean, std = IMAGENET_NORMALIZE["mean"], IMAGENET_NORMALIZE["std"]
    normalize = Normalizer(mean, std, images_NCHW.device)

    def ours() -> None:
        for seed in (SEED, SEED + 1):
            random_views(images_NCHW, _sizes(images_NCHW), 224, LARGE, seed, normalize=normalize)

    seconds = in_turns({OURS: ours, LIGHTLY: lambda: [two_views(image) for image in pils]}, rounds)
    _tell("256 -> 224 px, with blur, normalised", 2 * len(pils), seconds, outcome)
    ratio = times_as_fast(seconds, OURS, LIGHTLY)
    outcome.goals.append(Goal(f"224 px: times as fast as {LIGHTLY}", ratio, 3))


def _tell(title: str, views: int, seconds: dict[str, list[float]], outcome: Outcome) -> None:
    outcome.tables[title] = [
        {"what": what, "views a second": views / median(taken), "µs a view": 1e6 * median(taken) / views}
        for what, taken in seconds.items()
    ]


def _torchvision_views(params: AugmentParams, size: int) -> v2.Transform:
    jitter = v2.ColorJitter(params.brightness, params.contrast, params.saturation, params.hue)
    return v2.Compose(
        [
            v2.RandomResizedCrop(size, scale=(params.crop_scale_min, 1.0), antialias=True),
            v2.RandomHorizontalFlip(params.flip_probability),
            v2.RandomApply([jitter], params.jitter_probability),
            v2.RandomGrayscale(params.grayscale_probability),
        ]
    )


def _smooth_noise(count: int, side: int) -> Tensor:
    """Returns (N, 3, side, side) uint8 images in channels-last memory, as decoders return them."""
    coarse = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    smooth = functional.interpolate(coarse, (side, side), mode="bicubic").clamp(0, 1)
    return (255 * smooth).to(torch.uint8).contiguous(memory_format=torch.channels_last)


def _sizes(images_NCHW: Tensor) -> Tensor:
    return torch.tensor(images_NCHW.shape[-2:]).expand(len(images_NCHW), 2)


if __name__ == "__main__":
    typer.run(measure)
