"""Notes on labels that are probably not classes, or not well separated.

Such labels are numbers, lists, sentences, two spellings of one label, one label of its own per image, or
several labels for equal images.
"""

import re
from collections import defaultdict
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from pipeline.runtime.sanitize import shortened

FEW = 20
"""Number of distinct labels up to which numbers with fractions may be names, such as versions."""
SENTENCE_WORDS = 6
MOSTLY = 0.5
FEWEST_IMAGES = 10
NEARLY_ALL = 0.9995
"""Share from which on it is printed as 100.0 %."""
_VARIES = re.compile(r"[\s_-]+")
_ZEROS = re.compile(r"(?<=\d)\.0+$")
NUMBER = re.compile(r"[+-]?(?:\d+(?:[.,]\d+)?|[.,]\d+)(?:[eE][+-]?\d+)?")
_FRACTION = re.compile(r"[+-]?\d*[.,]\d+(?:[eE][+-]?\d+)?")
_LIST = re.compile(r"[\[{(].*[\]})]|[^|;]+(?:[|;][^|;]+)+", re.DOTALL)


def label_notes(labels: list[str], images_L: NDArray[np.integer]) -> list[str]:
    """Returns notes for the user on the distinct `labels`, each of which `images_L` images have."""
    what = _not_classes(labels)
    notes = [f"the labels {what} (such as {shortened(labels[0], 60)})"] if what is not None else []
    images = int(images_L.sum())
    alone = int(np.count_nonzero(images_L == 1))
    if images >= FEWEST_IMAGES and alone > MOSTLY * images:
        notes.append(
            f"there are {len(labels):,} different labels on {images:,} images, and {alone:,} images have one "
            "that no other image has: such an image cannot be classified correctly"
        )
    return notes + _spelling_notes(labels)


def contradiction_notes(
    contents_N2: NDArray[np.uint64], labels_N: NDArray[np.integer], blank_N: NDArray[np.bool_]
) -> list[str]:
    """Returns a note on labelled images that equal others with another label, and the accuracy it leaves.

    Blank images are not compared: those are equal for another reason than their labels, and have their note.
    """
    images, blank = len(labels_N), int(np.count_nonzero(blank_N))
    contents_N2, labels_N = contents_N2[~blank_N], labels_N[~blank_N]
    _, contents_N = np.unique(contents_N2, axis=0, return_inverse=True)
    pairs_P2, images_P = np.unique(np.stack([contents_N.ravel(), labels_N], 1), axis=0, return_counts=True)
    _, first_C, labels_C = np.unique(pairs_P2[:, 0], return_index=True, return_counts=True)
    if not (labels_C > 1).any():
        return []
    several_C = np.add.reduceat(images_P, first_C)[labels_C > 1]
    reachable = (blank + int(np.maximum.reduceat(images_P, first_C).sum())) / images
    limit = (
        f"at most {reachable:.1%} of the labelled images can be classified rightly, as "
        if reachable < NEARLY_ALL
        else ""
    )
    return [
        f"{several_C.sum():,} labelled images are exact copies of {len(several_C):,}, whose labels differ: "
        f"{limit}only one label per image is supported"
    ]


def _spelling_notes(labels: list[str]) -> list[str]:
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


def _not_classes(labels: list[str]) -> str | None:
    """Returns what most labels are instead of classes, and what to do; None if they may be classes."""
    if len(labels) > FEW and all(map(NUMBER.fullmatch, labels)) and any(map(_FRACTION.fullmatch, labels)):
        return "are numbers with fractions, each of which counts as a class: cut them into ranges"
    if _mostly(_LIST.fullmatch(label) is not None for label in labels):
        return (
            "are lists, each of which counts as a class, and only one label per image is supported: lists "
            "belong to ingest.columns.hashtags"
        )
    if _mostly(len(label.split()) >= SENTENCE_WORDS for label in labels):
        return "are sentences, each of which counts as a class: name the column of the label"
    return None


def _mostly(truths: Iterable[bool]) -> bool:
    values = list(truths)
    return sum(values) > MOSTLY * len(values)
