"""Every operation equals torchvision's, image by image; the draws have torchvision's distribution."""

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.v2 import functional as reference

from pipeline.augment import color, normalize
from pipeline.augment.normalize import Normalizer
from pipeline.augment.resample import resample
from pipeline.augment.views import Draws, central_views, random_crop_boxes, random_views, views_at_once
from pipeline.config.pretrain import AugmentParams

NOTHING = {
    "crop_scale_min": 1.0,
    "flip_probability": 0.0,
    "jitter_probability": 0.0,
    "grayscale_probability": 0.0,
}


def canvas(count: int, height: int, width: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, height, width), generator=generator, dtype=torch.uint8)


def sizes(images: Tensor) -> Tensor:
    return torch.tensor(images.shape[-2:]).expand(len(images), 2)


def column(values: list[float]) -> Tensor:
    return torch.tensor(values)[:, None, None, None]


def draws(count: int, seed: int = 0) -> Draws:
    return Draws(torch.Generator().manual_seed(seed), count)


def unit(images: Tensor) -> Tensor:
    return images.float() / 255


@pytest.mark.parametrize("size", [8, 24, 61])
def test_resample_equals_torchvision_resized_crop(size: int) -> None:
    images = canvas(6, 40, 52)
    boxes = torch.tensor(
        [[0, 0, 40, 52], [3, 5, 20, 11], [39, 51, 1, 1], [10, 2, 30, 40], [0, 1, 7, 50], [5, 5, 24, 24]]
    )
    flipped = torch.tensor([False, True, False, True, True, False])
    ours = resample(images, boxes, size, flipped)
    for index, (top, left, height, width) in enumerate(boxes.tolist()):
        crop = unit(images)[index : index + 1]
        expected = reference.resized_crop(crop, top, left, height, width, [size, size], antialias=True)
        expected = reference.horizontal_flip(expected) if flipped[index] else expected
        torch.testing.assert_close(ours[index : index + 1], expected, atol=5e-6, rtol=0)


@pytest.mark.parametrize(
    ("ours", "theirs", "factors"),
    [
        (color.adjust_brightness, reference.adjust_brightness, [0.6, 1.0, 1.4]),
        (color.adjust_contrast, reference.adjust_contrast, [0.6, 1.0, 1.4]),
        (color.adjust_saturation, reference.adjust_saturation, [0.0, 1.0, 1.4]),
        (color.adjust_hue, reference.adjust_hue, [-0.5, 0.0, 0.31]),
    ],
)
def test_colour_changes_equal_torchvision_s(
    ours: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    theirs: Callable[[torch.Tensor, float], torch.Tensor],
    factors: list[float],
) -> None:
    images = unit(canvas(3, 9, 11))
    images[:, :, 0, 0] = 0.0
    images[:, :, 0, 1] = 1.0
    images[:, :, 0, 2] = torch.tensor([0.7, 0.7, 0.2])
    changed = ours(images.clone(), column(factors))
    for index, factor in enumerate(factors):
        torch.testing.assert_close(changed[index], theirs(images[index], factor), atol=2e-6, rtol=0)


@pytest.mark.parametrize("size", [8, 32, 64, 224])
def test_blur_equals_torchvision_s(size: int) -> None:
    sigmas = [0.1, 0.55, 1.3, 2.0]
    images = unit(canvas(len(sigmas), size, size))
    kernel = {8: 3, 32: 3, 64: 7, 224: 23}[size]
    blurred = color.blur(images.clone(), column(sigmas))
    for image, ours, sigma in zip(images, blurred, sigmas, strict=True):
        theirs = reference.gaussian_blur(image, [kernel, kernel], [sigma, sigma])
        torch.testing.assert_close(ours, theirs, atol=2e-6, rtol=0)


def test_a_blur_of_sigma_zero_leaves_the_very_image() -> None:
    images = unit(canvas(2, 40, 40))
    blurred = color.blur(images.clone(), column([0.0, 1.0]))
    assert torch.equal(blurred[0], images[0])
    assert not torch.allclose(blurred[1], images[1], atol=0.1)


def test_solarize_equals_torchvision_s_and_leaves_images_of_no_threshold() -> None:
    images = unit(canvas(4, 9, 9))
    images[:, :, 0, 0] = 0.5
    solarized = color.solarize(images, column([0.0, 0.5, 1.0, math.inf]))
    for image, ours, threshold in zip(images, solarized, [0.0, 0.5, 1.0], strict=False):
        torch.testing.assert_close(ours, reference.solarize(image, threshold), atol=0, rtol=0)
    assert torch.equal(solarized[3], images[3])


def test_crop_boxes_are_drawn_as_torchvision_draws_them() -> None:
    image_sizes = torch.tensor([30, 44]).expand(20_000, 2)
    ours = random_crop_boxes(image_sizes, 0.2, draws(20_000)).double()
    torch.manual_seed(0)
    image = torch.zeros(1, 30, 44)
    theirs = torch.tensor(
        [RandomResizedCrop.get_params(image, [0.2, 1.0], [3 / 4, 4 / 3]) for _ in range(20_000)],
        dtype=torch.float64,
    )
    assert (ours[:, :2] >= 0).all()
    assert (ours[:, 0] + ours[:, 2] <= 30).all()
    assert (ours[:, 1] + ours[:, 3] <= 44).all()
    for quantile in (0.05, 0.25, 0.5, 0.75, 0.95):
        difference = ours.quantile(quantile, dim=0) - theirs.quantile(quantile, dim=0)
        assert difference.abs().max() <= 1.0, (quantile, difference)
    torch.testing.assert_close(ours.mean(0), theirs.mean(0), atol=0.15, rtol=0)


def test_a_crop_that_never_fits_is_central() -> None:
    boxes = random_crop_boxes(torch.tensor([[4, 400]]), 1.0, draws(1))
    # The whole area at an aspect ratio up to 4 : 3 is far taller than 4 pixels.
    assert boxes.tolist() == [[0, 197, 4, 5]]


def test_every_image_has_its_own_numbers() -> None:
    images = canvas(1, 32, 32).expand(64, 3, 32, 32)
    views = random_views(images, sizes(images), 32, AugmentParams(), seed=1)
    distances = torch.cdist(views.flatten(1), views.flatten(1))
    assert (distances + 1e9 * torch.eye(64)).min() > 0.1
    again = random_views(images, sizes(images), 32, AugmentParams(), seed=1)
    other = random_views(images, sizes(images), 32, AugmentParams(), seed=2)
    assert torch.equal(views, again)
    assert not torch.equal(views, other)
    assert views.min() >= 0
    assert views.max() <= 1.00001


def test_nothing_random_gives_the_image_itself() -> None:
    images = canvas(5, 16, 16)
    views = random_views(images, sizes(images), 16, AugmentParams.model_validate(NOTHING), seed=3)
    torch.testing.assert_close(views, unit(images), atol=1e-6, rtol=0)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("operation", ["flip", "jitter", "grayscale", "blur", "solarize"])
def test_probabilities(operation: str, share: float) -> None:
    images = canvas(1, 8, 8).expand(4000, 3, 8, 8)
    settings = {f"{operation}_probability": share, "blur_sigma_min": 0.5}
    params = AugmentParams.model_validate(NOTHING | settings)
    changed = random_views(images, sizes(images), 8, params, seed=5) - unit(images)
    observed = float((changed.abs().amax(dim=(1, 2, 3)) > 1e-4).double().mean())
    assert abs(observed - share) < 0.03


def test_a_blur_s_sigma_is_uniform_between_its_ends() -> None:
    count, low, high = 4000, 0.4, 1.2
    dot = torch.zeros(1, 3, 9, 9, dtype=torch.uint8)
    dot[:, :, 4, 4] = 255
    images = dot.expand(count, 3, 9, 9)
    settings = {"blur_probability": 1.0, "blur_sigma_min": low, "blur_sigma_max": high}
    params = AugmentParams.model_validate(NOTHING | settings)
    blurred = random_views(images, sizes(images), 9, params, seed=11)
    # The ratio of two neighbours on a Gaussian tells its sigma.
    sigmas = (2 * (blurred[:, 0, 4, 4] / blurred[:, 0, 4, 5]).log()).rsqrt().double()
    assert low - 1e-3 <= sigmas.min() < low + 0.01
    assert high - 0.01 < sigmas.max() <= high + 1e-3
    quantiles = torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)
    expected = low + (high - low) * quantiles
    torch.testing.assert_close(sigmas.quantile(quantiles), expected, atol=0.03, rtol=0)


def test_blur_and_solarize_come_last_and_leave_the_other_numbers_alone() -> None:
    images = canvas(32, 20, 20)
    more = {
        "blur_probability": 1.0,
        "blur_sigma_min": 1.0,
        "blur_sigma_max": 1.0,
        "solarize_probability": 1.0,
    }
    plain = random_views(images, sizes(images), 20, AugmentParams(), seed=4)
    changed = random_views(images, sizes(images), 20, AugmentParams.model_validate(more), seed=4)
    expected = reference.solarize(reference.gaussian_blur(plain, [3, 3], [1.0, 1.0]), 0.5)
    # Rounding may carry a value over the threshold.
    far = (reference.gaussian_blur(plain, [3, 3], [1.0, 1.0]) - 0.5).abs() > 1e-5
    torch.testing.assert_close(changed[far], expected[far], atol=2e-6, rtol=0)


@given(
    places=st.permutations(range(7)),
    cuts=st.sets(st.integers(1, 6)),
    height=st.integers(5, 24),
    width=st.integers(5, 24),
    size=st.sampled_from([5, 8, 13]),
    seed=st.integers(0, 2**32),
)
def test_the_parts_of_a_batch_are_rows_of_the_whole(
    places: list[int], cuts: set[int], height: int, width: int, size: int, seed: int
) -> None:
    params = AugmentParams(blur_probability=0.5, solarize_probability=0.5)
    images = canvas(7, height, width, seed % 1000)
    whole = random_views(images, sizes(images), size, params, seed)
    ends = [0, *sorted(cuts), 7]
    for start, end in pairwise(ends):
        rows = torch.tensor(places[start:end])
        part = images[rows]
        views = random_views(part, sizes(part), size, params, seed, rows_N=rows, of=7)
        assert torch.equal(views, whole[rows])


@pytest.mark.parametrize("pixels", [1, 300, 10**6])
def test_how_many_images_pass_at_once_changes_nothing(pixels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    images = canvas(9, 12, 10)
    params = AugmentParams(blur_probability=0.5)
    expected = random_views(images, sizes(images), 13, params, seed=2)
    monkeypatch.setattr(normalize, "CACHED_PIXELS", pixels)
    assert torch.equal(random_views(images, sizes(images), 13, params, seed=2), expected)


def test_any_memory_layout_gives_the_same_views() -> None:
    images = canvas(3, 12, 10)
    params = AugmentParams(blur_probability=1.0)
    expected = random_views(images, sizes(images), 8, params, seed=2)
    interleaved = images.contiguous(memory_format=torch.channels_last)
    assert torch.equal(random_views(interleaved, sizes(images), 8, params, seed=2), expected)


def test_sigmas_that_are_no_range_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"blur_sigma_min=2\.0 is above .*blur_sigma_max=1\.0: swap"):
        AugmentParams(blur_sigma_min=2.0, blur_sigma_max=1.0)


def test_pixels_outside_an_image_never_show() -> None:
    images = canvas(4, 20, 30)
    inner = torch.tensor([[12, 17], [20, 30], [8, 30], [20, 9]])
    poisoned = images.clone()
    for index, (height, width) in enumerate(inner.tolist()):
        poisoned[index, :, height:] = 255
        poisoned[index, :, :, width:] = 0
    makes: list[Callable[[torch.Tensor], torch.Tensor]] = [
        lambda c: random_views(c, inner, 16, AugmentParams(), seed=7),
        lambda c: central_views(c, inner, 16),
    ]
    for make in makes:
        torch.testing.assert_close(make(images), make(poisoned), atol=1e-6, rtol=0)


def test_central_views_are_central_squares() -> None:
    images = canvas(2, 20, 30)
    expected = reference.resized_crop(unit(images), 0, 5, 20, 20, [16, 16], antialias=True)
    views = central_views(images, sizes(images), 16)
    torch.testing.assert_close(views, expected, atol=2e-6, rtol=0)


def test_the_normalizer_gives_zero_mean_and_unit_deviation() -> None:
    images = unit(canvas(4, 16, 16))
    mean, std = images.mean(dim=(0, 2, 3)), images.std(dim=(0, 2, 3), correction=0)
    normal = Normalizer(mean.tolist(), std.tolist(), torch.device("cpu"))(images)
    torch.testing.assert_close(normal.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(normal.std(dim=(0, 2, 3), correction=0), torch.ones(3), atol=1e-5, rtol=0)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_views_are_normalised_on_the_way_as_they_are_afterwards(layout: torch.memory_format) -> None:
    images = canvas(5, 16, 16).contiguous(memory_format=layout)
    normaliser = Normalizer([0.5, 0.4, 0.3], [0.2, 0.3, 0.1], torch.device("cpu"))
    afterwards = normaliser(random_views(images, sizes(images), 16, AugmentParams(), seed=3))
    on_the_way = random_views(images, sizes(images), 16, AugmentParams(), 3, normalize=normaliser)
    assert torch.equal(on_the_way, afterwards)
    assert on_the_way.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("size", "most", "views"),
    [(32, 512, 512), (256, 512, 512), (257, 512, 256), (2048, 256, 8), (9999, 256, 1)],
)
def test_large_views_pass_in_fewer_at_once(size: int, most: int, views: int) -> None:
    assert views_at_once(size, most) == views
