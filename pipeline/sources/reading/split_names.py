"""Splits from names of folders and files: train, test, or validation, which becomes either of them."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from pipeline.runtime.errors import listed
from pipeline.sources.base import Split, SplitWord
from pipeline.untrusted.safe_paths import SafePath

WORDS: dict[str, SplitWord] = {
    "train": "train", "training": "train", "trainset": "train", "trainval": "train",
    "test": "test", "testing": "test", "testset": "test",
    "val": "validation", "valid": "validation", "validation": "validation", "valset": "validation",
    "dev": "validation", "devset": "validation", "eval": "validation", "evaluation": "validation",
}  # fmt: skip
"""Common names of splits, in lower case."""

NEGATIONS = frozenset({"no", "non", "not", "pre", "un"})
BESIDE = frozenset({"split", "set", "subset", "partition", "data", "fold"})
"""Words that may accompany that of a split in a cell."""

Splits = dict[str, Split | None]


def split_word(name: str) -> str | None:
    """Returns the word for a split in `name`, delimited by non-letters, in any case, as in
    `mnist-train-00000-of-00004.parquet`, `Train` or `trainImages`; None without a split or with several."""
    words = _words(name)
    found = [word for word in words if word in WORDS]
    is_one = len({WORDS[word] for word in found}) == 1 and not NEGATIONS.intersection(words)
    return found[0] if is_one else None


def split_of_cell(cell: str) -> SplitWord | None:
    """Returns the split in a cell without other words: `is_train=False` names none."""
    words = [word for word in _words(cell) if word not in BESIDE]
    return WORDS.get(words[0]) if len(words) == 1 else None


def _words(name: str) -> list[str]:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()
    return re.findall(r"[^\W\d_]+", spaced)


def splits_of(names: Iterable[str]) -> tuple[Splits, list[str]]:
    """Returns the split of each name that contains one, and notes for the user, one sentence each.

    Validation images are test images if there are no others, else train images. Without any held-out images
    all are None, and ingest makes the split.
    """
    words = {name: word for name in sorted(set(names)) if (word := split_word(name)) is not None}
    kinds = {WORDS[word] for word in words.values()}
    if kinds == {"train"}:
        return dict.fromkeys(words), [f"only {next(iter(words))} is there: a split is made"]
    validation, why = meaning_of_validation(has_test="test" in kinds)
    notes = [
        f"{name} is taken as {validation} images, since {why}"
        for name, word in words.items()
        if WORDS[word] == "validation"
    ]
    meanings: dict[str, Split] = {"train": "train", "test": "test", "validation": validation}
    return {name: meanings[WORDS[word]] for name, word in words.items()}, notes


def meaning_of_validation(*, has_test: bool) -> tuple[Split, str]:
    """Returns the split of validation images, and why."""
    return ("train", "there are test images besides") if has_test else ("test", "there are no test images")


def by_split(files: Sequence[SafePath], folder: Path) -> tuple[dict[SafePath, Split | None], list[str]]:
    """Returns the split in the name of each file, or else of a folder between it and `folder`; with notes.

    If only some files have one, the others are skipped, with a note.
    """
    words = {file: _word_in_path(file.path, folder) for file in files}
    named = {file: word for file, word in words.items() if word is not None}
    if not named:
        return dict.fromkeys(files), []
    splits, notes = splits_of(named.values())
    if left_out := [str(file.path.relative_to(folder)) for file in files if file not in named]:
        notes.append(f"not looked at, since their names name no split: {listed(left_out, 6)}")
    return {file: splits[word] for file, word in named.items()}, notes


def _word_in_path(file: Path, folder: Path) -> str | None:
    parts = file.relative_to(folder).parts
    return next((word for part in reversed(parts) if (word := split_word(part))), None)
