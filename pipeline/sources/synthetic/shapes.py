"""Shapes as signed distances, and the textures that fill them.

Distances are negative inside, in units of the shape's radius, so that edges are smooth at every size.
"""

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


# --- Shapes: signed distance in units of the radius; all lie within the disc of that radius ---------------


def _disc(u: Array, v: Array) -> Array:
    return np.hypot(u, v) - np.float32(0.9)


def _square(u: Array, v: Array) -> Array:
    distance: Array = np.maximum(np.abs(u), np.abs(v)) - np.float32(0.7)
    return distance


def _triangle(u: Array, v: Array) -> Array:
    side = np.float32(math.sqrt(3) / 2) * np.abs(u) + np.float32(0.5) * v
    distance: Array = np.maximum(side, -v) - np.float32(0.5)
    return distance


def _star(u: Array, v: Array) -> Array:
    """A star of five points, folded onto half a point, whose edge is a straight line from tip to notch."""
    sector = math.tau / 5
    tip, notch = 1.0, 0.48
    angle = np.arctan2(u, v)
    folded = np.abs(angle - np.float32(sector) * np.round(angle / np.float32(sector)))
    length = np.hypot(u, v)
    along: Array = length * np.cos(folded)
    across: Array = length * np.sin(folded)
    edge_along, edge_across = notch * math.cos(sector / 2) - tip, notch * math.sin(sector / 2)
    edge = math.hypot(edge_along, edge_across)
    normal_along, normal_across = np.float32(edge_across / edge), np.float32(-edge_along / edge)
    distance: Array = (along - np.float32(tip)) * normal_along + across * normal_across
    return distance


def _heart(u: Array, v: Array) -> Array:
    """A square on its corner, with a half disc on each of its upper sides."""
    half = np.float32(0.5)
    raised = v - np.float32(0.04)
    right, left = (u + raised) * np.float32(math.sqrt(0.5)), (raised - u) * np.float32(math.sqrt(0.5))
    right, left = right + np.float32(0.08), left + np.float32(0.08)
    square = np.maximum(np.abs(right), np.abs(left)) - half
    discs = np.minimum(np.hypot(right - half, left), np.hypot(right, left - half)) - half
    distance: Array = np.minimum(square, discs)
    return distance


def _cross(u: Array, v: Array) -> Array:
    across, along = np.minimum(np.abs(u), np.abs(v)), np.maximum(np.abs(u), np.abs(v))
    distance: Array = np.maximum(across - np.float32(0.36), along - np.float32(0.92))
    return distance


SHAPES: Mapping[str, Callable[[Array, Array], Array]] = {
    "disc": _disc,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "heart": _heart,
    "cross": _cross,
}


# --- Textures: share of the second colour -----------------------------------------------------------------


def _plain(u: Array, v: Array, radius: np.float32, softness: np.float32) -> Array:
    return np.zeros_like(u)


def _stripes(u: Array, v: Array, radius: np.float32, softness: np.float32) -> Array:
    return below_zero(_wave(v, _period(radius, 0.52, 0.1)), softness)


def _checks(u: Array, v: Array, radius: np.float32, softness: np.float32) -> Array:
    period = _period(radius, 0.8, 0.14)
    # Negative where exactly one of the two waves is: the edge of each is where it crosses zero.
    one, other = _wave(u, period), _wave(v, period)
    return below_zero(np.maximum(np.minimum(one, other), -np.maximum(one, other)), softness)


def _dots(u: Array, v: Array, radius: np.float32, softness: np.float32) -> Array:
    period = _period(radius, 0.62, 0.125)
    cell_u, cell_v = u - period * np.round(u / period), v - period * np.round(v / period)
    return below_zero(np.hypot(cell_u, cell_v) - np.float32(0.3) * period, softness)


def _period(radius: np.float32, of_radius: float, of_image: float) -> np.float32:
    """Returns the period of a texture in units of the radius, at least the share of the image that is visible
    at 32 pixels."""
    return np.float32(max(of_radius, of_image / float(radius)))


def _wave(coordinate: Array, period: np.float32) -> Array:
    """Returns a triangle wave of slope 1 that crosses zero every half period: the signed distance to edges of
    stripes."""
    phase = coordinate / period
    distance: Array = period * (np.abs(phase - np.floor(phase) - np.float32(0.5)) - np.float32(0.25))
    return distance


def below_zero(distance: Array, softness: np.float32) -> Array:
    """Returns 1 where `distance` is negative, 0 where positive, with a ramp of one pixel (`softness`)."""
    share: Array = np.clip(np.float32(0.5) - distance / softness, 0.0, 1.0)
    return share


TEXTURES: Mapping[str, Callable[[Array, Array, np.float32, np.float32], Array]] = {
    "plain": _plain,
    "stripes": _stripes,
    "checks": _checks,
    "dots": _dots,
}
