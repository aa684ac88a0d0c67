"""Notes on labels that are probably no classes: numbers, lists, sentences, or one of its own per image."""

import re
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from pipeline.escaping import shortened

FEW = 20
"""Up to so many distinct labels, numbers with fractions may be names, such as versions."""
SENTENCE_WORDS = 6
MOSTLY = 0.5
FEWEST_IMAGES = 10
_NUMBER = re.compile(r"[+-]?\d*[.,]?\d+(?:[eE][+-]?\d+)?")
_FRACTION = re.compile(r"[+-]?\d*[.,]\d+(?:[eE][+-]?\d+)?")
_LIST = re.compile(r"[\[{(].*[\]})]|[^|;]+(?:[|;][^|;]+)+", re.DOTALL)


def label_notes(labels: list[str], images_L: NDArray[np.integer]) -> list[str]:
    """Notes for the user on the distinct `labels`, each of which `images_L` images have."""
    what = _not_classes(labels)
    notes = [f"the labels {what} (such as {shortened(labels[0], 60)})"] if what is not None else []
    images = int(images_L.sum())
    alone = int(np.count_nonzero(images_L == 1))
    if images >= FEWEST_IMAGES and alone > MOSTLY * images:
        notes.append(
            f"there are {len(labels):,} different labels on {images:,} images, and {alone:,} images have one "
            "that no other image has: such an image cannot be classified correctly"
        )
    return notes


def _not_classes(labels: list[str]) -> str | None:
    """What most of them are instead, and what to do; None where they may be classes."""
    if len(labels) > FEW and all(map(_NUMBER.fullmatch, labels)) and any(map(_FRACTION.fullmatch, labels)):
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
