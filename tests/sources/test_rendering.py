"""Pictures: geometry against what the attributes say, and what is the same or differs between two of them."""

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.sources.synthetic import rendering
from pipeline.sources.synthetic.population import ATTRIBUTES
from pipeline.sources.synthetic.posts import draw_posts
from pipeline.sources.synthetic.rendering import BACKGROUNDS, COUNTS, HUES, SIZES, render
from pipeline.sources.synthetic.shapes import SHAPES, TEXTURES

LOOK = {
    "size": "large", "count": "two", "texture": "plain",
    "shape": "disc", "background": "smooth", "colour": "red",
}  # fmt: skip
VALUES = {attribute.name: attribute.values for attribute in ATTRIBUTES}


def picture(seed: int = 0, pixels: int = 32, **changes: str) -> NDArray[np.uint8]:
    return render({**LOOK, **changes}, pixels, np.random.default_rng(seed))


@pytest.fixture
def undisturbed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even light, no blur and no noise: what is left is the scene itself."""
    for name, value in {
        "BLUR": 0.0, "NOISE": (0.0, 0.0), "EXPOSURE": (1.0, 1.0), "LIGHT_SLOPE": 0.0, "LIGHT_PATCH": 0.0,
    }.items():  # fmt: skip
        monkeypatch.setattr(rendering, name, value)
    monkeypatch.setattr(rendering, "SHADOW", np.float32(0.0))


def shape_mask(seed: int, **changes: str) -> NDArray[np.bool_]:
    """Where the shapes are: the pixels that change when they are left out, all else being equal."""
    scene = picture(seed, pixels=128, **changes).astype(int)
    nowhere = dict.fromkeys(SHAPES, lambda u, v: np.ones_like(u))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rendering, "SHAPES", nowhere)
        background = picture(seed, pixels=128, **changes).astype(int)
    changed: NDArray[np.bool_] = np.abs(scene - background).sum(axis=2) > 30
    return changed


def test_every_value_of_the_population_can_be_drawn_and_no_other() -> None:
    assert tuple(VALUES["shape"]) == tuple(SHAPES)
    assert tuple(VALUES["texture"]) == tuple(TEXTURES)
    assert tuple(VALUES["background"]) == tuple(BACKGROUNDS)
    assert tuple(VALUES["colour"]) == tuple(HUES)
    assert tuple(VALUES["count"]) == tuple(COUNTS)
    assert tuple(VALUES["size"]) == tuple(SIZES)


@pytest.mark.parametrize("size", [8, 16, 32, 75, 128, 256])
def test_a_picture_has_the_size_that_was_asked_for(size: int) -> None:
    drawn = picture(pixels=size)
    assert drawn.shape == (size, size, 3)
    assert drawn.dtype == np.uint8


def test_equal_generators_give_equal_pictures_and_others_do_not() -> None:
    np.testing.assert_array_equal(picture(seed=1), picture(seed=1))
    assert (picture(seed=1) != picture(seed=2)).mean() > 0.5


@pytest.mark.parametrize("name", list(VALUES))
def test_every_attribute_is_visible(name: str) -> None:
    for one, other in itertools.pairwise(VALUES[name]):
        before, after = picture(3, 32, **{name: one}), picture(3, 32, **{name: other})
        assert (np.abs(before.astype(int) - after).max(axis=2) > 40).mean() > 0.01, (one, other)


@pytest.mark.usefixtures("undisturbed")
@pytest.mark.parametrize("count", list(COUNTS))
@pytest.mark.parametrize("shape", list(SHAPES))
def test_the_shapes_can_be_counted_and_are_whole(count: str, shape: str) -> None:
    """Equal areas: none is cut by the picture's edge or by another."""
    for seed, size in enumerate(SIZES):
        parts, number = ndimage.label(shape_mask(seed, count=count, shape=shape, size=size), np.ones((3, 3)))
        areas = np.bincount(parts.ravel())[1:]
        assert number == COUNTS[count]
        assert areas.min() > 0.93 * areas.max()


@pytest.mark.usefixtures("undisturbed")
def test_small_shapes_are_smaller() -> None:
    for count in COUNTS:
        small, large = (shape_mask(7, count=count, size=size).mean() for size in ("small", "large"))
        assert small / large == pytest.approx(SIZES["small"] ** 2, rel=0.05)


@pytest.mark.usefixtures("undisturbed")
def test_shapes_differ_from_their_background_without_colour() -> None:
    for seed, colour in enumerate(HUES):
        mask = shape_mask(seed, count="one", colour=colour)
        grey = picture(seed, pixels=128, count="one", colour=colour).astype(float) @ [0.299, 0.587, 0.114]
        assert abs(grey[mask].mean() - grey[~mask].mean()) > 0.15 * 255


@pytest.mark.parametrize("shape", list(SHAPES))
def test_a_shape_fills_the_disc_of_its_radius_and_no_more(shape: str) -> None:
    grid = np.linspace(-1.5, 1.5, 601, dtype=np.float32)
    u, v = np.meshgrid(grid, grid)
    inside = SHAPES[shape](u, v) < 0
    assert 0.88 < np.hypot(u, v)[inside].max() <= 1.0
    np.testing.assert_array_equal(inside, inside[:, ::-1])


@pytest.mark.parametrize("shape", list(SHAPES))
def test_a_shapes_function_is_a_distance_at_its_edge(shape: str) -> None:
    """Its slope is 1 there, so that the anti-aliased ramp is one pixel wide."""
    grid = np.linspace(-1.2, 1.2, 961, dtype=np.float32)
    u, v = np.meshgrid(grid, grid)
    distance = SHAPES[shape](u, v)
    down, across = np.gradient(distance, grid[1] - grid[0])
    at_edge = np.abs(distance) < 0.02
    assert np.median(np.hypot(down, across)[at_edge]) == pytest.approx(1.0, abs=0.01)


def test_known_areas() -> None:
    grid = np.linspace(-1.2, 1.2, 1201, dtype=np.float32)
    u, v = np.meshgrid(grid, grid)
    cell = float(grid[1] - grid[0]) ** 2
    areas = {
        "disc": math.pi * 0.9**2,
        "square": 1.4**2,
        "triangle": 3 * math.sqrt(3) * 0.5**2,
        "star": 10 * 0.5 * 1.0 * 0.48 * math.sin(math.pi / 5),
        "heart": 1.0 + math.pi * 0.5**2,
        "cross": 4 * 0.92 * 0.72 - 0.72**2,
    }
    assert set(areas) == set(SHAPES)
    for shape, area in areas.items():
        assert float((SHAPES[shape](u, v) < 0).sum()) * cell == pytest.approx(area, rel=0.01), shape


@pytest.mark.parametrize(
    ("texture", "low", "high"), [("stripes", 0.4, 0.6), ("checks", 0.4, 0.6), ("dots", 0.2, 0.4)]
)
def test_textures_share_the_surface(texture: str, low: float, high: float) -> None:
    grid = np.linspace(-1.0, 1.0, 401, dtype=np.float32)
    u, v = np.meshgrid(grid, grid)
    second = TEXTURES[texture](u, v, np.float32(0.4), np.float32(0.01))
    assert low < second.mean() < high
    assert second.min() == 0.0
    assert second.max() == 1.0


def test_checks_alternate_and_stripes_run_across() -> None:
    u, v = np.meshgrid(np.array([0.0, 0.4], np.float32), np.array([0.0, 0.4], np.float32))
    checks = TEXTURES["checks"](u, v, np.float32(0.4), np.float32(0.01))
    assert checks[0, 0] == checks[1, 1] != checks[0, 1] == checks[1, 0]
    stripes = TEXTURES["stripes"](u, v, np.float32(0.4), np.float32(0.01))
    np.testing.assert_array_equal(stripes[:, 0], stripes[:, 1])


def test_nuisance_dominates_the_distance_between_pixels() -> None:
    generator = np.random.default_rng(0)
    posts = draw_posts(150, seed=0)
    first, again = (
        np.stack([render(post.attributes, 32, generator) for post in posts]).astype(float) for _ in range(2)
    )
    same = np.sqrt(((first - again) ** 2).mean(axis=(1, 2, 3))).mean()
    unrelated = np.sqrt(((first[1:] - again[:-1]) ** 2).mean(axis=(1, 2, 3))).mean()
    assert 0.7 < same / unrelated < 0.9
