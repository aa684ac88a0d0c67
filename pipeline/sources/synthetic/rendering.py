"""Renders a post: its visible attributes as shapes on a background, with nuisances independent of the label.

The image depends on the attributes and a generator, never on the label. The generator determines position
and arrangement, rotation, exact hues, hue and lightness of the background, uneven light, exposure, blur and
noise. The pixel distance of two images with equal attributes is on average about four fifths of that with
unrelated attributes, so similar pixels do not imply similar content.

The distributions are this project's own.

Array names end in their shape: K shapes; H and W the pixels of the canvas.
"""

import colorsys
import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from pipeline.sources.synthetic.shapes import SHAPES, TEXTURES, Array, below_zero

COUNTS = {"one": 1, "two": 2, "three": 3, "four": 4}
ORBIT = {1: 0.0, 2: 0.25, 3: 0.275, 4: 0.295}
"""Radius of the circle with the centres of the shapes, in image widths."""
LARGEST_RADIUS = {1: 0.4, 2: 0.245, 3: 0.225, 4: 0.205}
"""Largest radius of shapes that neither touch nor leave the image, in image widths."""
FIRST_ANGLE = {1: 0.0, 2: math.radians(20), 3: math.radians(-90), 4: math.radians(45)}
"""Angle of the first shape on the circle, plus or minus ARRANGEMENT_TILT."""
SIZES = {"small": 0.68, "large": 1.0}
"""Share of the largest radius, reduced at random by up to 8 %."""

HUES = {
    "red": 0.0, "orange": 0.075, "yellow": 0.15, "green": 0.32,
    "teal": 0.48, "blue": 0.6, "purple": 0.75, "pink": 0.9,
}  # fmt: skip
"""Hues in full turns, shifted at random by up to HUE_SHIFT."""
HUE_SHIFT = 0.02
TILT = math.radians(30)
"""Largest rotation of a shape."""
ARRANGEMENT_TILT = math.radians(25)
RIM, SHADOW_WIDTH = np.float32(0.08), np.float32(0.16)
"""Widths in units of the shape's radius."""
SHADOW = np.float32(0.35)
"""Share of the background's light that a shape removes at its edge."""
BACKGROUND_STEP = 0.08
"""Half the difference in lightness between a background's two colours."""
BLUR = 0.012
"""Largest standard deviation of the blur, in image widths."""
NOISE = (0.005, 0.04)
"""Range of the standard deviation of the noise, where white is 1."""
EXPOSURE = (0.7, 1.15)
LIGHT_SLOPE, LIGHT_PATCH = 0.35, 0.2
"""Largest change of brightness from the middle to an edge; change in a bright and in a dim patch."""


def render(attributes: Mapping[str, str], size: int, generator: np.random.Generator) -> NDArray[np.uint8]:
    """Renders an image of visible `attributes`, uint8 RGB of shape (size, size, 3).

    Names and values are those of `population.ATTRIBUTES`. Equal generators give equal images.
    """
    # Small images are drawn at twice the size and averaged, as the period of a texture is a few pixels.
    oversampling = 2 if size <= 96 else 1
    canvas_HW3 = _draw(attributes, size * oversampling, generator)
    if oversampling > 1:
        canvas_HW3 = canvas_HW3.reshape(size, oversampling, size, oversampling, 3).mean(axis=(1, 3))
    return _photographed(canvas_HW3, generator)


def _draw(attributes: Mapping[str, str], pixels: int, generator: np.random.Generator) -> Array:
    x_W = (np.arange(pixels, dtype=np.float32) + np.float32(0.5)) / np.float32(pixels)
    x_HW, y_HW = np.meshgrid(x_W, x_W)

    main_3, second_3 = _shape_colours(attributes["colour"], generator)
    canvas_HW3 = _background(attributes["background"], x_HW, y_HW, main_3, generator)

    number = COUNTS[attributes["count"]]
    radius = LARGEST_RADIUS[number] * SIZES[attributes["size"]] * generator.uniform(0.92, 1.0)
    x_K, y_K = _arrangement(number, radius, generator)
    tilt_K = generator.uniform(-TILT, TILT, number)
    u_HW, v_HW = _coordinates_in_nearest_shape(x_HW, y_HW, x_K, y_K, tilt_K, radius)
    distance_HW = SHAPES[attributes["shape"]](u_HW, v_HW)
    softness = np.float32(1.0 / (pixels * radius))
    second_HW = TEXTURES[attributes["texture"]](u_HW, v_HW, np.float32(radius), softness)
    # A rim in the main colour keeps the outline where the second colour is near the background's.
    second_HW = second_HW * below_zero(distance_HW + RIM, softness)
    fill_HW3 = main_3 + second_HW[..., None] * (second_3 - main_3)

    shadow_HW = SHADOW * np.exp(np.minimum(-distance_HW / SHADOW_WIDTH, 0.0))
    canvas_HW3 *= 1.0 - shadow_HW[..., None]
    inside_HW1 = below_zero(distance_HW, softness)[..., None]
    return np.asarray(canvas_HW3 + inside_HW1 * (fill_HW3 - canvas_HW3), dtype=np.float32)


# --- Colours ----------------------------------------------------------------------------------------------


def _shape_colours(colour: str, generator: np.random.Generator) -> tuple[Array, Array]:
    """Returns the main colour of the shape, and a much darker or lighter one for its texture."""
    hue = HUES[colour] + generator.uniform(-HUE_SHIFT, HUE_SHIFT)
    saturation, value = generator.uniform(0.6, 0.95), generator.uniform(0.75, 1.0)
    main_3 = _rgb(hue, saturation, value)
    is_darker = _lightness(main_3) > generator.uniform(0.4, 0.65)
    return main_3, _rgb(hue, saturation, 0.25) if is_darker else _rgb(hue, 0.12, 1.0)


def _background_colours(main_3: Array, generator: np.random.Generator) -> tuple[Array, Array]:
    """Returns two colours of arbitrary neighbouring hues, both darker or both lighter than `main_3`."""
    shapes = _lightness(main_3)
    room_below, room_above = max(shapes - 0.42, 0.0), max(0.62 - shapes, 0.0)
    draw = generator.uniform(0.0, room_below + room_above)
    lightness = 0.12 + draw if draw < room_below else shapes + 0.3 + (draw - room_below)
    hue, saturation = generator.random(), generator.uniform(0.15, 0.6)
    step = generator.choice([-BACKGROUND_STEP, BACKGROUND_STEP])
    return (
        _tint(hue, saturation, lightness - step),
        _tint(hue + generator.uniform(-0.12, 0.12), saturation, lightness + step),
    )


def _tint(hue: float, saturation: float, lightness: float) -> Array:
    """Returns the colour of this hue, shaded with black or white to this lightness (0-1)."""
    pure_3 = _rgb(hue, saturation, 1.0)
    pure = _lightness(pure_3)
    if lightness < pure:
        return pure_3 * np.float32(lightness / pure)
    return pure_3 + (1.0 - pure_3) * np.float32((lightness - pure) / (1.0 - pure))


def _rgb(hue: float, saturation: float, value: float) -> Array:
    return np.array(colorsys.hsv_to_rgb(hue % 1.0, saturation, value), dtype=np.float32)


def _lightness(rgb_3: Array) -> float:
    """Returns the luma, 0-1, with the weights of ITU-R BT.601."""
    return float(rgb_3 @ np.array([0.299, 0.587, 0.114], dtype=np.float32))


# --- Positions of the shapes -------------------------------------------------------------------------------


def _arrangement(number: int, radius: float, generator: np.random.Generator) -> tuple[Array, Array]:
    """Returns the centres of the shapes in image widths, (K,) each: around a common centre in the image."""
    first = FIRST_ANGLE[number] + generator.uniform(-ARRANGEMENT_TILT, ARRANGEMENT_TILT)
    angle_K = first + np.arange(number) * (math.tau / number)
    offset_2K = ORBIT[number] * np.stack([np.cos(angle_K), np.sin(angle_K)])
    # The difference to the largest radius is free for displacement along both axes, hence sqrt(2).
    slack = (LARGEST_RADIUS[number] - radius) / math.sqrt(2)
    offset_2K += generator.uniform(-slack, slack, (2, number))
    room_2 = 0.5 - radius - np.abs(offset_2K).max(axis=1)
    centre_2K = 0.5 + offset_2K + generator.uniform(-room_2, room_2)[:, None]
    return centre_2K[0].astype(np.float32), centre_2K[1].astype(np.float32)


def _coordinates_in_nearest_shape(
    x_HW: Array, y_HW: Array, x_K: Array, y_K: Array, tilt_K: NDArray[np.float64], radius: float
) -> tuple[Array, Array]:
    """Returns each pixel in the axes of the shape with the nearest centre, in radii; v points up.

    The shapes are equally large and disjoint, so that no other shape can cover the pixel.
    """
    dx_KHW = x_HW - x_K[:, None, None]
    dy_KHW = y_HW - y_K[:, None, None]
    nearest_HW = (dx_KHW**2 + dy_KHW**2).argmin(axis=0)
    dx_HW = x_HW - x_K[nearest_HW]
    dy_HW = y_HW - y_K[nearest_HW]
    cosine_HW = (np.cos(tilt_K) / radius).astype(np.float32)[nearest_HW]
    sine_HW = (np.sin(tilt_K) / radius).astype(np.float32)[nearest_HW]
    return dx_HW * cosine_HW + dy_HW * sine_HW, dx_HW * sine_HW - dy_HW * cosine_HW


# --- Backgrounds ------------------------------------------------------------------------------------------


def _background(kind: str, x_HW: Array, y_HW: Array, main_3: Array, generator: np.random.Generator) -> Array:
    near_3, far_3 = _background_colours(main_3, generator)
    share_HW = BACKGROUNDS[kind](x_HW, y_HW, generator)
    return near_3 + share_HW[..., None] * (far_3 - near_3)


def _smooth(x_HW: Array, y_HW: Array, generator: np.random.Generator) -> Array:
    angle = generator.uniform(0.0, math.tau)
    along_HW = (x_HW - 0.5) * np.float32(math.cos(angle)) + (y_HW - 0.5) * np.float32(math.sin(angle))
    share_HW: Array = np.clip(along_HW + np.float32(0.5), 0.0, 1.0)
    return share_HW


def _horizon(x_HW: Array, y_HW: Array, generator: np.random.Generator) -> Array:
    height, slope = generator.uniform(0.35, 0.7), generator.uniform(-0.15, 0.15)
    return _edge(np.float32(height) + (x_HW - 0.5) * np.float32(slope) - y_HW)


def _grid(x_HW: Array, y_HW: Array, generator: np.random.Generator) -> Array:
    period = generator.uniform(0.15, 0.22)
    x_shift, y_shift = generator.uniform(0.0, period, 2)
    to_line_HW = np.minimum(
        _to_multiple(x_HW + np.float32(x_shift), period), _to_multiple(y_HW + np.float32(y_shift), period)
    )
    return _edge(to_line_HW - np.float32(0.017))


def _speckles(x_HW: Array, y_HW: Array, generator: np.random.Generator) -> Array:
    """Draws one dot per cell of a lattice, with random position and size."""
    cells = 7
    column_HW, row_HW = (x_HW * cells).astype(np.intp), (y_HW * cells).astype(np.intp)
    x_CC, y_CC = generator.uniform(0.25, 0.75, (2, cells, cells)).astype(np.float32)
    radius_CC = generator.uniform(0.01, 0.035, (cells, cells)).astype(np.float32)
    dx_HW = x_HW - (column_HW + x_CC[row_HW, column_HW]) / cells
    dy_HW = y_HW - (row_HW + y_CC[row_HW, column_HW]) / cells
    return _edge(np.hypot(dx_HW, dy_HW) - radius_CC[row_HW, column_HW])


def _waves(x_HW: Array, y_HW: Array, generator: np.random.Generator) -> Array:
    period, phase = generator.uniform(0.18, 0.26), generator.uniform(0.0, math.tau)
    bent_HW = y_HW + np.float32(0.045) * np.sin(np.float32(2.5 * math.tau) * x_HW + np.float32(phase))
    shift = np.float32(generator.uniform(0.0, period))
    return _edge(_to_multiple(bent_HW + shift, period) - np.float32(period / 4))


def _rays(x_HW: Array, y_HW: Array, generator: np.random.Generator) -> Array:
    x, y = generator.uniform(0.3, 0.7, 2).astype(np.float32)
    turn = np.float32(generator.uniform(0.0, math.tau))
    dx_HW, dy_HW = x_HW - x, y_HW - y
    wave_HW = np.sin(np.float32(7.0) * np.arctan2(dy_HW, dx_HW) + turn)
    return _edge(wave_HW * np.hypot(dx_HW, dy_HW) / np.float32(7.0))


def _edge(distance_HW: Array) -> Array:
    """Returns 1 where the distance in image widths is negative; edges are softer than those of the shapes."""
    return below_zero(distance_HW, np.float32(0.03))


def _to_multiple(coordinate: Array, period: float) -> Array:
    """Returns the distance to the nearest multiple of the period."""
    step = np.float32(period)
    distance: Array = np.abs(coordinate - step * np.round(coordinate / step))
    return distance


BACKGROUNDS: Mapping[str, Callable[[Array, Array, np.random.Generator], Array]] = {
    "smooth": _smooth,
    "horizon": _horizon,
    "grid": _grid,
    "speckles": _speckles,
    "waves": _waves,
    "rays": _rays,
}


# --- Light, lens and sensor -------------------------------------------------------------------------------


def _photographed(scene_HW3: Array, generator: np.random.Generator) -> NDArray[np.uint8]:
    """Returns the scene in uneven light, slightly blurred, with sensor noise; uint8 of the same shape."""
    size = scene_HW3.shape[0]
    lit_HW3 = scene_HW3 * _light(size, generator)[..., None]
    blurred = Image.fromarray(_to_bytes(lit_HW3)).filter(
        ImageFilter.GaussianBlur(generator.uniform(0.0, BLUR) * size)
    )
    noise_HW3 = generator.standard_normal(scene_HW3.shape, dtype=np.float32)
    strength = np.float32(generator.uniform(*NOISE))
    return _to_bytes(np.asarray(blurred, dtype=np.float32) / np.float32(255) + strength * noise_HW3)


def _light(size: int, generator: np.random.Generator) -> Array:
    """Returns the brightness (H, W): exposure times the sum of a gradient, a bright and a dim patch."""
    x_W = (np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(size)
    exposure, slope = generator.uniform(*EXPOSURE), generator.uniform(0.0, LIGHT_SLOPE)
    angle = generator.uniform(0.0, math.tau)
    light_HW = 1.0 + np.float32(slope * math.cos(angle)) * (2 * x_W[None, :] - 1)
    light_HW = light_HW + np.float32(slope * math.sin(angle)) * (2 * x_W[:, None] - 1)
    for change in (LIGHT_PATCH, -LIGHT_PATCH):
        x, y = generator.uniform(0.0, 1.0, 2).astype(np.float32)
        spread = np.float32(generator.uniform(0.1, 0.25))
        along_W, down_W = np.exp(-(((x_W - x) / spread) ** 2)), np.exp(-(((x_W - y) / spread) ** 2))
        light_HW = light_HW + np.float32(change) * down_W[:, None] * along_W[None, :]
    return np.asarray(light_HW * np.float32(exposure), dtype=np.float32)


def _to_bytes(image_HW3: Array) -> NDArray[np.uint8]:
    return (np.clip(image_HW3, 0.0, 1.0) * np.float32(255) + np.float32(0.5)).astype(np.uint8)
