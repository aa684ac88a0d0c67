"""Notes on labels that are probably not classes, or not well separated.

Such labels are numbers, lists, sentences, two spellings of one label, or one label of its own per image.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.runtime.sanitize import shortened

FEW = 20
"""Number of distinct labels up to which numbers with fractions may be names, such as versions."""
SENTENCE_WORDS = 6
MOSTLY = 0.5
FEWEST_IMAGES = 10
_VARIES = re.compile(r"[\s_-]+")
_ZEROS = re.compile(r"(?<=\d)\.0+$")
NUMBER = re.compile(r"[+-]?(?:\d+(?:[.,]\d+)?|[.,]\d+)(?:[eE][+-]?\d+)?")
_FRACTION = re.compile(r"[+-]?\d*[.,]\d+(?:[eE][+-]?\d+)?")
_LIST = re.compile(r"\[.*\]|\{.*\}|\(.*\)|[^|;]+(?:[|;][^|;]+)+", re.DOTALL)
_INTERVAL = re.compile(r"([\[(])\s*([^,;|]+?)\s*[,;]\s*([^,;|]+?)\s*([\])])")
"""An interval as pandas and numpy write it, such as (0, 20] or [2020-01-01, 2020-02-01)."""
_LISTS = (
    "are lists{joined}, each of which counts as a class, and only one label per image is supported: {cure}"
)


def label_notes(labels: Sequence[str], images_L: NDArray[np.integer]) -> list[str]:
    """Returns notes for the user on the distinct `labels`, each of which `images_L` images have."""
    notes = []
    if (found := _not_classes(labels)) is not None:
        what, example = found
        notes.append(f"the labels {what} (such as {shortened(example, 60)})")
    images = int(images_L.sum())
    alone = int(np.count_nonzero(images_L == 1))
    if images >= FEWEST_IMAGES and alone > MOSTLY * images:
        notes.append(
            f"there are {len(labels):,} different labels on {images:,} images, and {alone:,} images have one "
            "that no other image has: such an image cannot be classified correctly"
        )
    return notes + _spelling_notes(labels)


def _spelling_notes(labels: Iterable[str]) -> list[str]:
    spellings: dict[str, list[str]] = defaultdict(list)
    for label in labels:
        if not (len(label) == 1 and label.isalpha()):  # `a` and `A` may be classes of letters
            spellings[_VARIES.sub(" ", _ZEROS.sub("", label.casefold()))].append(label)
    alike = [names for names in spellings.values() if len(names) > 1]
    if not alike:
        return []
    such = " and ".join(repr(shortened(name, 60)) for name in alike[0][:2])
    return [
        f"{sum(map(len, alike)):,} labels differ from others in capitals, blanks, _, - or .0 alone (such as "
        f"{such}), and each counts as a class: write those alike that are one"
    ]


def _not_classes(labels: Sequence[str]) -> tuple[str, str] | None:
    """Returns what most labels are instead of classes, and what to do, with an example; None if they may be
    classes."""
    are_numbers = all(map(NUMBER.fullmatch, labels))
    if are_numbers and len(labels) > FEW and (fraction := next(filter(_FRACTION.fullmatch, labels), None)):
        return "are numbers with fractions, each of which counts as a class: cut them into ranges", fraction
    if _are_intervals(labels):
        return None
    hashtags = _LISTS.format(joined="", cure="lists belong to ingest.columns.hashtags")
    if lists := _most_of(labels, lambda label: _LIST.fullmatch(label) is not None):
        return hashtags, lists[0]
    if are_numbers:  # in which a comma is a decimal mark
        return None
    if lists := _recombined(labels, ","):
        return hashtags, lists[0]
    if sentences := _most_of(labels, lambda label: len(label.split()) >= SENTENCE_WORDS):
        what = "are sentences, each of which counts as a class: name the column of the label"
        return what, sentences[0]
    for mark in "/+& ":
        if lists := _recombined(labels, mark):
            joined = f" joined by {mark}" if mark.strip() else " joined by blanks"
            cure = "write ; between the parts, and name the column as ingest.columns.hashtags"
            return _LISTS.format(joined=joined, cure=cure), lists[0]
    return None


def _are_intervals(labels: Sequence[str]) -> bool:
    """Returns whether most labels are intervals, as `pandas.cut` makes them.

    One bracket of another kind than the other makes an interval. With two of a kind it looks as a list of two
    numbers does, but intervals of one column ascend, and do not overlap.
    """
    found = [match for label in labels if (match := _INTERVAL.fullmatch(label))]
    if len(found) <= MOSTLY * len(labels):
        return False
    if all(
        (opening, closing) in (("(", "]"), ("[", ")"))
        for opening, _, _, closing in map(re.Match.groups, found)
    ):
        return True
    try:
        bounds = sorted((float(match[2]), float(match[3])) for match in found)
    except ValueError:
        return False
    flat = [bound for interval in bounds for bound in interval]
    return flat == sorted(flat) and len(flat) > 2


def _most_of(labels: Collection[str], has: Callable[[str], bool]) -> list[str]:
    """Returns the labels that `has` accepts if they are most of all, else none."""
    found = [label for label in labels if has(label)]
    return found if len(found) > MOSTLY * len(labels) else []


# --- lists that look like names of classes ------------------------------------------------------------------

MOST_COMPARED = 100_000
LONGEST_COMPARED = 1000
COMBINATIONS_PER_PART = 2
FEWEST_PLACES = 3


def _recombined(labels: Sequence[str], mark: str) -> list[str]:
    """Returns those of `labels` that join parts by `mark`, if these parts are combined freely, else none.

    Names of classes have such marks, too: golden retriever; Shirts, long. In lists few parts make many
    combinations, of several lengths, and most parts occur at several places. In names such as `long red
    skirt` each part keeps its place, counted from the first or the last.
    """
    some = labels[:: max(1, len(labels) // MOST_COMPARED)]
    lists = _most_of(some, lambda label: mark in label)
    if not lists:
        return []
    places_of: dict[str, set[tuple[int, int]]] = defaultdict(set)
    for label in some:
        parts = [part.strip() for part in label[:LONGEST_COMPARED].split(mark) if part.strip()]
        for place, part in enumerate(parts):
            places_of[part].add((place, len(parts)))
    free = sum(len(places) >= FEWEST_PLACES for places in places_of.values())
    is_few = COMBINATIONS_PER_PART * len(places_of) <= len(lists)
    return lists if is_few and free > MOSTLY * len(places_of) else []
