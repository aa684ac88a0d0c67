"""The population of the embedded data set: the content of a post and its recorded attributes.

The model and its numbers are this project's own; nothing is estimated from data. A post is drawn as follows:

    label T           ~ P(T)                     RECIPES[T].weight, normalised
    attribute A_i     ~ P(A_i | T)               independent of the others given T, see `attribute_table`
    recorded Z_i      ~ P(Z_i | A_i)             sometimes missing or wrong, see `recording_channel`
    hashtags          ~ P(hashtags | T, A)       independent slots, see `hashtags.py`

Since all tables are known and the attributes are independent given the label, I(Z;T) and H(Z|T) of any set
of recorded attributes are exact (`population_information`), without sampling.

The most informative attributes have few values and are nearly always recorded; the least informative ones
(background, colour) have many and are often missing. Joining `column=value` attributes, highest entropy
first, therefore adds mutual information at first, and mostly conditional entropy later.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from pipeline.runtime.errors import UserError, listed

Table = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Attribute:
    """A visible property of a post, and a column of auxiliary information."""

    name: str
    values: tuple[str, ...]
    likeliest_share: float
    """Probability of the likeliest value of a label."""
    second_share: float
    """Probability of its second value; the rest is spread evenly over all values."""
    missing: float
    """Probability that nothing is recorded."""
    wrong: float
    """Probability that a recorded value is one of the others."""
    tagged: float
    """Probability that a post with hashtags has one for this attribute."""


ATTRIBUTES = (
    Attribute(
        name="size", values=("small", "large"),
        likeliest_share=0.88, second_share=0.0, missing=0.03, wrong=0.03, tagged=0.35,
    ),
    Attribute(
        name="count", values=("one", "two", "three", "four"),
        likeliest_share=0.76, second_share=0.14, missing=0.04, wrong=0.04, tagged=0.30,
    ),
    Attribute(
        name="texture", values=("plain", "stripes", "checks", "dots"),
        likeliest_share=0.76, second_share=0.14, missing=0.06, wrong=0.05, tagged=0.35,
    ),
    Attribute(
        name="shape", values=("disc", "square", "triangle", "star", "heart", "cross"),
        likeliest_share=0.74, second_share=0.16, missing=0.05, wrong=0.04, tagged=0.45,
    ),
    Attribute(
        name="background", values=("smooth", "horizon", "grid", "speckles", "waves", "rays"),
        likeliest_share=0.20, second_share=0.10, missing=0.25, wrong=0.05, tagged=0.10,
    ),
    Attribute(
        name="colour", values=("red", "orange", "yellow", "green", "teal", "blue", "purple", "pink"),
        likeliest_share=0.20, second_share=0.10, missing=0.25, wrong=0.05, tagged=0.30,
    ),
)  # fmt: skip

ATTRIBUTE_NAMES = [attribute.name for attribute in ATTRIBUTES]


@dataclass(frozen=True, slots=True)
class Recipe:
    """The appearance of the posts of a label, and its place in the category tree."""

    weight: int
    """Proportional to P(T)."""
    place: str
    """`theme/branch`: its ancestors in the category tree."""
    looks: str
    """`likeliest/second` value, or only the likeliest, per attribute in the order of ATTRIBUTES."""

    @property
    def ancestors(self) -> tuple[str, str]:
        theme, branch = self.place.split("/")
        return theme, branch


# fmt: off
RECIPES = {
    "beach": Recipe(
        5, "nature/water", "large one/two plain/dots disc/square horizon/waves yellow/blue",
    ),
    "harbour": Recipe(
        5, "nature/water", "small one/three stripes/checks triangle/heart waves/horizon blue/teal",
    ),
    "garden": Recipe(
        5, "nature/land", "small one/two dots/plain heart/star smooth/speckles green/pink",
    ),
    "mountains": Recipe(
        4, "nature/land", "large one/four checks/stripes star/triangle horizon/smooth teal/green",
    ),
    "bakery": Recipe(
        5, "food/sweet", "small two/three plain/checks triangle/disc grid/smooth orange/yellow",
    ),
    "gelato": Recipe(
        5, "food/sweet", "large two/one stripes/dots heart/disc rays/smooth pink/teal",
    ),
    "market": Recipe(
        4, "food/savoury", "small two/four checks/stripes square/cross grid/speckles red/orange",
    ),
    "picnic": Recipe(
        5, "food/savoury", "large two/three dots/checks cross/square grid/horizon red/green",
    ),
    "concert": Recipe(
        4, "culture/stage", "large three/two plain/stripes star/cross rays/speckles purple/blue",
    ),
    "theatre": Recipe(
        4, "culture/stage", "small three/one stripes/plain square/star rays/grid red/purple",
    ),
    "pottery": Recipe(
        4, "culture/craft", "small three/four dots/stripes disc/triangle smooth/waves orange/teal",
    ),
    "knitting": Recipe(
        4, "culture/craft", "large three/two checks/dots heart/square smooth/grid pink/purple",
    ),
    "football": Recipe(
        5, "play/sport", "small four/three checks/plain disc/star grid/rays green/blue",
    ),
    "skating": Recipe(
        4, "play/sport", "large four/one plain/stripes cross/triangle waves/speckles teal/purple",
    ),
    "birthday": Recipe(
        5, "play/party", "large four/two stripes/dots star/heart speckles/rays pink/yellow",
    ),
    "carnival": Recipe(
        4, "play/party", "small four/three dots/checks triangle/cross speckles/rays purple/red",
    ),
}
# fmt: on

LABELS = list(RECIPES)


@cache
def label_probabilities() -> Table:
    """Returns P(T), shape (T,), in the order of LABELS."""
    weights_T = np.array([recipe.weight for recipe in RECIPES.values()], dtype=np.float64)
    return _constant(weights_T / weights_T.sum())


@cache
def attribute_table(name: str) -> Table:
    """Returns P(A | T) of the visible attribute, shape (T, A), in the order of its values."""
    position = ATTRIBUTE_NAMES.index(name)
    attribute = ATTRIBUTES[position]
    table_TA = np.zeros((len(LABELS), len(attribute.values)))
    for row_A, recipe in zip(table_TA, RECIPES.values(), strict=True):
        likeliest, _, second = recipe.looks.split()[position].partition("/")
        row_A[attribute.values.index(likeliest)] += attribute.likeliest_share
        if second:
            row_A[attribute.values.index(second)] += attribute.second_share
        row_A += (1.0 - row_A.sum()) / len(attribute.values)
    return _constant(table_TA)


@cache
def recording_channel(name: str) -> Table:
    """Returns P(Z | A) of the recorded value, shape (A, A + 1): the attribute's values, then None."""
    attribute = ATTRIBUTES[ATTRIBUTE_NAMES.index(name)]
    size = len(attribute.values)
    channel_AA = np.full((size, size), attribute.wrong / (size - 1))
    np.fill_diagonal(channel_AA, 1.0 - attribute.wrong)
    missing_A1 = np.full((size, 1), attribute.missing)
    return _constant(np.hstack([(1.0 - attribute.missing) * channel_AA, missing_A1]))


def recorded_table(name: str) -> Table:
    """Returns P(Z | T) of the recorded value, shape (T, A + 1): the attribute's values, then None."""
    return attribute_table(name) @ recording_channel(name)


def joint_table(columns: Sequence[str], recorded: bool = True) -> Table:
    """Returns P(T, Z) of the joint value Z of attribute columns, shape (T, Z), sums to 1.

    Z runs over the product of the columns' values, the last column fastest. `recorded=True`: the
    recorded values of each column, followed by None; `recorded=False`: the values visible in the image.
    Raises `UserError` for an unknown column.
    """
    _check(columns)
    joint_TZ = label_probabilities()[:, None]
    for name in columns:
        table_TA = recorded_table(name) if recorded else attribute_table(name)
        joint_TZ = (joint_TZ[:, :, None] * table_TA[:, None, :]).reshape(len(LABELS), -1)
    return joint_TZ


def population_information(columns: Sequence[str]) -> tuple[float, float]:
    """Returns the exact (I(Z;T), H(Z|T)) in bits, with Z the joint value of the recorded columns, with None.

    I(Z;T) = H(Z) - H(Z|T), enumerated over all values. Raises `UserError` for an unknown column.
    """
    joint_TZ = joint_table(columns)
    conditional_bits = _entropy_bits(joint_TZ) - _entropy_bits(label_probabilities())
    return _entropy_bits(joint_TZ.sum(axis=0)) - conditional_bits, conditional_bits


def best_top1() -> float:
    """Returns the highest expected top-1 accuracy (0-1) of any classifier of the images.

    An image depends on the label only through its visible attributes A, so it is the sum over A of
    max_T P(T, A), reached by recognising every attribute and knowing the tables.
    """
    return float(joint_table(ATTRIBUTE_NAMES, recorded=False).max(axis=0).sum())


def _entropy_bits(probabilities: Table) -> float:
    positive = probabilities[probabilities > 0]
    return float(-(positive * np.log2(positive)).sum())


def _constant(table: Table) -> Table:
    table.setflags(write=False)
    return table


def _check(columns: Sequence[str]) -> None:
    for name in columns:
        if name not in ATTRIBUTE_NAMES:
            known = listed(ATTRIBUTE_NAMES)
            raise UserError(f"the synthetic posts have no attribute {name}: name one of {known}")
