"""The population behind the embedded data set: what a post shows, what is recorded of it, what people write.

The model and every number in it are this project's own; nothing is estimated from data. A post is drawn so:

    label T           ~ P(T)                     RECIPES[T].weight, normalised
    attribute A_i     ~ P(A_i | T)               independent of the others given T, see `attribute_table`
    recorded Z_i      ~ P(Z_i | A_i)             now and then missing or wrong, see `recording_channel`
    hashtags          ~ P(hashtags | T, A)       independent slots, see `hashtag_probability`

Because every table is known and the attributes are independent given the label, I(Z;T) and H(Z|T) of any
set of recorded attributes follow exactly (`population_information`), without a sample.

The attributes that say most about the label take few values and are recorded nearly always; those that say
least (background, colour) take many and are often left out. So joining `column=value` attributes, those of
highest entropy first, gains mutual information at first, and hardly anything but conditional entropy later.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import UserError, listed
from pipeline.randomness import numpy_generator

Table = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Attribute:
    """One visible property of a post, and one column of auxiliary information."""

    name: str
    values: tuple[str, ...]
    likeliest_share: float
    """Probability mass that a label puts on its likeliest value."""
    second_share: float
    """Mass on its second value; what is left is spread evenly over all values."""
    missing: float
    """Probability that nothing is recorded."""
    wrong: float
    """Probability that what is recorded, if anything, is one of the other values."""
    tagged: float
    """Probability that someone who writes hashtags writes one about this attribute."""


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
    """What the posts of one label look like, and where the label stands in the category tree."""

    weight: int
    """P(T) is proportional to it."""
    place: str
    """`theme/branch`: its ancestors in the category tree."""
    looks: str
    """For each attribute, in the order of ATTRIBUTES, `likeliest/second` value, or the likeliest alone."""

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


# The words people write, most frequent first. Scripts are mixed on purpose, and a word may have two meanings:
# "green" is the countryside as well as a colour.
THEME_WORDS = {
    "nature": ("nature", "outdoors", "природа", "自然", "طبيعة"),
    "food": ("food", "yummy", "еда", "美味しい", "😋"),
    "culture": ("culture", "handmade", "культура", "アート", "ثقافة"),
    "play": ("fun", "letsplay", "игра", "楽しい", "🎉"),
}
BRANCH_WORDS = {
    "water": ("sea", "saltywater", "море", "海", "🌊"),
    "land": ("green", "fresh_air", "лес", "🌿"),
    "sweet": ("sweet", "sugar", "сладкое", "甘い", "🍬"),
    "savoury": ("tasty", "lunch", "обед", "غداء"),
    "stage": ("live", "onstage", "сцена", "🎭"),
    "craft": ("diy", "craft", "своимируками", "手作り", "🧶"),
    "sport": ("sport", "training", "спорт", "スポーツ", "رياضة"),
    "party": ("party", "friends", "праздник", "🥳", "حفلة"),
}
LABEL_WORDS = {
    "beach": ("sand", "summer", "пляж", "🏖️"),
    "harbour": ("boats", "sailing", "порт", "⛵"),
    "garden": ("flowers", "bloom", "сад", "🌷"),
    "mountains": ("hike", "summit", "горы", "山"),
    "bakery": ("bread", "croissant", "パン", "🥐"),
    "gelato": ("icecream", "vanilla", "мороженое", "🍦"),
    "market": ("vegetables", "localfood", "рынок", "سوق"),
    "picnic": ("blanket", "sandwich", "пикник", "🧺"),
    "concert": ("livemusic", "band", "концерт", "ライブ"),
    "theatre": ("drama", "premiere", "театр", "مسرح"),
    "pottery": ("clay", "ceramics", "глина", "陶芸"),
    "knitting": ("yarn", "wool", "вязание", "編み物"),
    "football": ("goal", "matchday", "футбол", "⚽"),
    "skating": ("ice", "cold", "каток", "⛸️"),
    "birthday": ("cake", "candles", "деньрождения", "🎂"),
    "carnival": ("mask", "parade", "карнавал", "🎊"),
}
VALUE_WORDS = {
    "small": ("tiny", "mini", "маленький", "小さい"),
    "large": ("big", "huge", "большой", "大きい"),
    "one": ("solo", "single", "один", "ひとつ"),
    "two": ("pair", "duo", "два", "ふたつ"),
    "three": ("trio", "threeofus", "три", "٣"),
    "four": ("four", "squad", "четыре", "٤"),
    "plain": ("minimal", "plain", "просто", "シンプル"),
    "stripes": ("stripes", "striped", "полоска", "しましま"),
    "checks": ("checkered", "plaid", "клетка", "チェック"),
    "dots": ("polkadots", "dotted", "горошек", "水玉"),
    "disc": ("round", "circle", "круг", "⚪"),
    "square": ("square", "boxy", "квадрат", "⬛"),
    "triangle": ("triangle", "pointy", "треугольник", "🔺"),
    "star": ("star", "starry", "звезда", "⭐"),
    "heart": ("heart", "hearts", "сердце", "❤️"),
    "cross": ("cross", "plus", "крест", "✖️"),
    "smooth": ("clean", "calm", "فراغ"),
    "horizon": ("view", "horizon", "горизонт"),
    "grid": ("grid", "geometry", "сетка"),
    "speckles": ("confetti", "glitter", "✨"),
    "waves": ("waves", "flow", "волны"),
    "rays": ("rays", "sunburst", "лучи"),
    "red": ("red", "crimson", "красный", "赤"),
    "orange": ("orange", "tangerine", "оранжевый", "🟠"),
    "yellow": ("yellow", "golden", "жёлтый", "黄色"),
    "green": ("green", "emerald", "зелёный", "緑"),
    "teal": ("teal", "turquoise", "бирюзовый"),
    "blue": ("blue", "navy", "синий", "青"),
    "purple": ("purple", "violet", "фиолетовый", "紫"),
    "pink": ("pink", "rosy", "розовый", "ピンク"),
}
SPAM_WORDS = (
    "love", "instagood", "photooftheday", "follow4follow",
    "いいね返し", "фото", "صباح_الخير", "😍",
    *(
        f"{first}{second}"
        for second in ("daily", "life", "vibes", "gram", "lover", "time", "oftheday", "4u", "world", "goals")
        for first in (
            "happy", "pics", "insta", "good", "best", "mood", "style", "travel", "city", "weekend", "cute",
            "smile", "dream", "real", "super", "simple", "night", "morning", "coffee", "deal", "promo",
            "win", "shop", "link", "repost", "viral", "random", "today", "memory", "story",
        )
    ),
)  # fmt: skip

SILENT = 0.15
"""Probability that a post has no hashtags, whatever it shows."""
NAMED = 0.12
"""Probability, as the ones below, that a post that may have hashtags has one with the label's own name."""
ON_THEME, ON_BRANCH, ON_LABEL = 0.55, 0.35, 0.35
SPAM_SLOTS, SPAM = 4, 0.4
"""Each of the spam slots is used with probability SPAM."""
MEANING_EXPONENT, SPAM_EXPONENT = 1.5, 0.8
"""The r-th word of a list is written with a probability proportional to r ** -exponent (Zipf)."""
BARE, UPPER, TITLE = 0.15, 0.1, 0.2
"""Probability that a hashtag lacks its `#`; that it is written in capitals; with a capital first letter."""
REPEATED = 0.1
"""Probability that the last hashtag repeats the first one, perhaps written otherwise."""


# --- The tables -------------------------------------------------------------------------------------------


@cache
def label_probabilities() -> Table:
    """P(T), shape (T,), in the order of LABELS."""
    weights_T = np.array([recipe.weight for recipe in RECIPES.values()], dtype=np.float64)
    return _constant(weights_T / weights_T.sum())


@cache
def attribute_table(name: str) -> Table:
    """P(A | T) of the attribute as it is drawn and visible, shape (T, A), in the order of its values."""
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
    """P(Z | A) of what is recorded, shape (A, A + 1): the attribute's values, then None (missing)."""
    attribute = ATTRIBUTES[ATTRIBUTE_NAMES.index(name)]
    size = len(attribute.values)
    channel_AA = np.full((size, size), attribute.wrong / (size - 1))
    np.fill_diagonal(channel_AA, 1.0 - attribute.wrong)
    missing_A1 = np.full((size, 1), attribute.missing)
    return _constant(np.hstack([(1.0 - attribute.missing) * channel_AA, missing_A1]))


def recorded_table(name: str) -> Table:
    """P(Z | T) of what is recorded, shape (T, A + 1): the attribute's values, then None (missing)."""
    return attribute_table(name) @ recording_channel(name)


def joint_table(columns: Sequence[str], recorded: bool = True) -> Table:
    """P(T, Z) of the joint value Z of attribute columns, shape (T, Z), sums to 1.

    Z runs over the product of the columns' values, the last column fastest. `recorded=True` takes what is
    recorded, each column's values followed by None; `recorded=False` takes what is visible in the picture.
    Raises `UserError` for a column that there is not.
    """
    _check(columns)
    joint_TZ = label_probabilities()[:, None]
    for name in columns:
        table_TA = recorded_table(name) if recorded else attribute_table(name)
        joint_TZ = (joint_TZ[:, :, None] * table_TA[:, None, :]).reshape(len(LABELS), -1)
    return joint_TZ


def population_information(columns: Sequence[str]) -> tuple[float, float]:
    """Exactly (I(Z;T), H(Z|T)) in bits, Z the joint value of the recorded columns with None as a value.

    I(Z;T) = H(Z) - H(Z|T), enumerated over all values. Raises `UserError` for a column that there is not.
    """
    joint_TZ = joint_table(columns)
    conditional_bits = _entropy_bits(joint_TZ) - _entropy_bits(label_probabilities())
    return _entropy_bits(joint_TZ.sum(axis=0)) - conditional_bits, conditional_bits


def best_top1() -> float:
    """The highest expected top-1 accuracy (0-1) that any classifier of the pictures can reach.

    A picture depends on the label only through its visible attributes A, so it is the sum over A of
    max_T P(T, A), reached by whoever recognises every attribute and knows the tables.
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


# --- Hashtags ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Slot:
    """A place for one hashtag: used with a probability, then filled with one of its words."""

    used: float
    words: tuple[str, ...]
    cumulative: tuple[float, ...]
    """Of the words' probabilities; ends in 1."""


@cache
def _slot(used: float, words: tuple[str, ...], exponent: float = MEANING_EXPONENT) -> _Slot:
    running = list(accumulate(rank**-exponent for rank in range(1, len(words) + 1)))
    return _Slot(used, words, tuple(sum_ / running[-1] for sum_ in running))


def _slots(label: str, attributes: Mapping[str, str]) -> list[_Slot]:
    """The slots of a post that is not silent: equally many for every post, in a fixed order."""
    theme, branch = RECIPES[label].ancestors
    return [
        _slot(NAMED, (label,)),
        _slot(ON_THEME, THEME_WORDS[theme]),
        _slot(ON_BRANCH, BRANCH_WORDS[branch]),
        _slot(ON_LABEL, LABEL_WORDS[label]),
        *(_slot(attribute.tagged, VALUE_WORDS[attributes[attribute.name]]) for attribute in ATTRIBUTES),
        *[_slot(SPAM, SPAM_WORDS, SPAM_EXPONENT)] * SPAM_SLOTS,
    ]


def hashtag_probability(word: str, label: str, attributes: Mapping[str, str]) -> float:
    """P(a post has the hashtag `word` | T, A), A as visible; `word` in lower case and without its `#`.

    Slots are independent: (1 - SILENT) (1 - prod over slots of (1 - P(used) P(word | slot))).
    """
    absent = 1.0
    for slot in _slots(label, attributes):
        if word in slot.words:
            rank = slot.words.index(word)
            share = slot.cumulative[rank] - (slot.cumulative[rank - 1] if rank else 0.0)
            absent *= 1.0 - slot.used * share
    return (1.0 - SILENT) * (1.0 - absent)


_SLOTS_OF_A_POST = 4 + len(ATTRIBUTES) + SPAM_SLOTS
# Uniform numbers that one post's hashtags take: silent or not, repeated or not, then for each slot and for
# the repetition whether it is used, which word, which case, with or without `#`, and its place in the list.
_TAG_DRAWS = 2 + 5 * (_SLOTS_OF_A_POST + 1)


def _hashtags(label: str, attributes: Mapping[str, str], uniforms: list[float]) -> list[str]:
    silent, repeated, *rest = uniforms
    if silent < SILENT:
        return []
    written: list[tuple[float, str]] = []
    for slot, start in zip(_slots(label, attributes), range(0, len(rest), 5), strict=False):
        used, which, case, sign, place = rest[start : start + 5]
        if used < slot.used:
            word = slot.words[bisect_right(slot.cumulative, which)]
            written.append((place, _spelt(word, case, sign)))
    hashtags = [hashtag for _, hashtag in sorted(written)]
    if hashtags and repeated < REPEATED:
        _, _, case, sign, _ = rest[-5:]
        hashtags.append(_spelt(hashtags[0].removeprefix("#").lower(), case, sign))
    return hashtags


def _spelt(word: str, case: float, sign: float) -> str:
    if case < UPPER:
        word = word.upper()
    elif case < UPPER + TITLE:
        word = word[0].upper() + word[1:]
    return word if sign < BARE else f"#{word}"


# --- Drawing ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Post:
    label: str
    attributes: dict[str, str]
    """What the picture shows."""
    recorded: dict[str, str | None]
    """What the auxiliary columns say of it; None: nothing."""
    hashtags: list[str]


def draw_posts(count: int, seed: int) -> list[Post]:
    """`count` independent posts. The first posts of a longer draw are those of a shorter one."""
    # Every post takes one row of uniform numbers and turns them into its values by inverse cumulative tables.
    look_draws = numpy_generator(seed, "synthetic", "looks").random((count, 1 + 2 * len(ATTRIBUTES)))
    tag_draws = numpy_generator(seed, "synthetic", "hashtags").random((count, _TAG_DRAWS)).tolist()

    label_N = _inverse_cumulative(np.tile(label_probabilities(), (count, 1)), look_draws[:, 0])
    shown: dict[str, list[str]] = {}
    recorded: dict[str, list[str | None]] = {}
    for position, attribute in enumerate(ATTRIBUTES):
        value_draws_N, record_draws_N = look_draws[:, 1 + 2 * position], look_draws[:, 2 + 2 * position]
        value_N = _inverse_cumulative(attribute_table(attribute.name)[label_N], value_draws_N)
        record_N = _inverse_cumulative(recording_channel(attribute.name)[value_N], record_draws_N)
        shown[attribute.name] = [attribute.values[value] for value in value_N]
        recorded[attribute.name] = [(*attribute.values, None)[record] for record in record_N]

    posts = []
    for index, label_index in enumerate(label_N):
        label = LABELS[label_index]
        attributes = {name: values[index] for name, values in shown.items()}
        records = {name: values[index] for name, values in recorded.items()}
        posts.append(Post(label, attributes, records, _hashtags(label, attributes, tag_draws[index])))
    return posts


def _inverse_cumulative(probabilities_NK: Table, uniforms_N: Table) -> NDArray[np.intp]:
    """For each row the first k whose cumulative probability exceeds the row's uniform number, shape (N,)."""
    below_NK = probabilities_NK.cumsum(axis=1)[:, :-1] <= uniforms_N[:, None]
    return np.asarray(below_NK.sum(axis=1), dtype=np.intp)
