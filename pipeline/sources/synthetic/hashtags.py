"""Hashtags of the synthetic posts: P(hashtags | T, A), with independent slots."""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

from pipeline.sources.synthetic.population import ATTRIBUTES, RECIPES

# Words, most frequent first. Scripts are mixed on purpose, and a word may have two meanings: "green" is the
# countryside as well as a colour.
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
"""Probability that a post has no hashtags, independent of its content."""
NAMED = 0.12
"""Probability, like those below, that a post with hashtags has the name of the label."""
ON_THEME, ON_BRANCH, ON_LABEL = 0.55, 0.35, 0.35
SPAM_SLOTS, SPAM = 4, 0.4
"""Each of the spam slots is used with probability SPAM."""
MEANING_EXPONENT, SPAM_EXPONENT = 1.5, 0.8
"""Exponents of Zipf's law: the probability of the r-th word of a list is proportional to r ** -exponent."""
BARE, UPPER, TITLE = 0.15, 0.1, 0.2
"""Probabilities that a hashtag lacks its `#`; is in upper case; has an initial capital."""
REPEATED = 0.1
"""Probability that the last hashtag repeats the first one, possibly in another spelling."""


@dataclass(frozen=True, slots=True)
class _Slot:
    """A place for one hashtag: used with a probability, then filled with one of its words."""

    used: float
    words: tuple[str, ...]
    cumulative: tuple[float, ...]
    """Cumulative probabilities of the words; ends in 1."""


@cache
def _slot(used: float, words: tuple[str, ...], exponent: float = MEANING_EXPONENT) -> _Slot:
    running = list(accumulate(rank**-exponent for rank in range(1, len(words) + 1)))
    return _Slot(used, words, tuple(sum_ / running[-1] for sum_ in running))


def _slots(label: str, attributes: Mapping[str, str]) -> list[_Slot]:
    """Returns the slots of a post that is not silent: the same number for every post, in a fixed order."""
    theme, branch = RECIPES[label].ancestors
    return [
        _slot(NAMED, (label,)),
        _slot(ON_THEME, THEME_WORDS[theme]),
        _slot(ON_BRANCH, BRANCH_WORDS[branch]),
        _slot(ON_LABEL, LABEL_WORDS[label]),
        *(_slot(attribute.tagged, VALUE_WORDS[attributes[attribute.name]]) for attribute in ATTRIBUTES),
        *[_slot(SPAM, SPAM_WORDS, SPAM_EXPONENT)] * SPAM_SLOTS,
    ]


_SLOTS_OF_A_POST = 4 + len(ATTRIBUTES) + SPAM_SLOTS
# Uniform numbers per post: silent or not, repeated or not, then for each slot and for the repetition whether
# it is used, which word, which case, with or without `#`, and its place in the list.
DRAWS_OF_A_POST = 2 + 5 * (_SLOTS_OF_A_POST + 1)


def draw_hashtags(label: str, attributes: Mapping[str, str], uniforms: list[float]) -> list[str]:
    """Returns the hashtags of a post; `uniforms` are DRAWS_OF_A_POST numbers in [0, 1)."""
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
