"""Reasons why a file that a table names does not exist: its name may be written differently."""

import os
import re
import unicodedata
from collections import Counter
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from pipeline.untrusted.safe_paths import SafePath
from pipeline.untrusted.unsafe_path import MISSING
from pipeline.untrusted.walk import some_names_in

FOLDERS_REMEMBERED = 64
MOST_NAMES = 100_000
"""Maximum number of names of one folder that are compared."""
MOST_CHARACTERS_SHOWN = 3
ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
ADDRESS = re.compile(r"(?:^|/)[a-z][a-z0-9+.-]{1,20}:/", re.IGNORECASE)
"""The beginning of `https://`, `s3://` and `file:///`; joining them to a folder leaves one slash."""


def why_missing(path: SafePath) -> str:
    """Returns the reason for refusing `path`, which does not exist.

    The reason does not contain the path, since equal reasons are counted.

    Only folders within the path's boundary are read.
    """
    if ADDRESS.search(str(path)):
        return "an address, not the path of a file: download the images and name their files"
    difference = _difference_of_similar(path)
    return f"{MISSING}, but one {difference} does" if difference else MISSING


def _difference_of_similar(path: SafePath) -> str | None:
    """Returns how the name of a similar file that exists differs from `path`; None if there is none."""
    written = str(path)
    differences = []
    if written.endswith(("'", '"')):
        written = re.sub(r"""(?<=/)['"]|['"]$""", "", written)
        differences.append("without the quotes")
    if "\\" in written and os.sep != "\\":
        written = written.replace("\\", "/")
        differences.append("with / in place of \\")
    if ".." in Path(written).parts:
        return None  # what was no parent folder with backslashes may lead out of the boundary without
    found, differing = _found(replace(path, path=Path(written)))
    if not found:
        return None
    return " and ".join(differences + differing) or None


def _found(path: SafePath) -> tuple[bool, list[str]]:
    """Returns whether a similar file exists, and how its name differs: in invisible characters, in capitals,
    in its Unicode form, or in its extension."""
    existing = path
    missing: list[str] = []
    while not existing.is_there() and existing.name:
        missing.append(existing.name)
        existing = replace(existing, path=existing.path.parent)
    differing: dict[str, None] = {}
    for name in reversed(missing):
        status = existing.status()
        names = _names(existing, status.st_mtime_ns) if status is not None else {}
        other = names.get(_folded(name))
        if other is None and name == path.name and status is not None:
            other, name = _with_another_ending(existing, status.st_mtime_ns, name)
            differing |= dict.fromkeys([f"with the ending {Path(other).suffix}"] if other else [])
        if other is None:
            return False, []
        if unseen := _unseen_difference(other, name):
            differing[f"with other invisible characters or blanks ({unseen})"] = None
        if _visible(other) != _visible(name):
            differing["in other capitals"] = None
        elif not unseen and other != name:
            differing["in another form of Unicode (NFC or NFD)"] = None
        existing = replace(existing, path=existing.path / other)
    return not existing.is_folder(), list(differing)


@lru_cache(FOLDERS_REMEMBERED)
def _names(folder: SafePath, _changed: int) -> dict[str, str]:
    """Returns the names in a folder, keyed by their form without differences in case and Unicode form."""
    return {_folded(name): name for name in some_names_in(folder, MOST_NAMES)}


def _with_another_ending(folder: SafePath, changed: int, name: str) -> tuple[str | None, str]:
    """Returns the image that differs from `name` only in the extension, which `name` may lack, and `name`
    with that extension."""
    stems = _stems(folder, changed)
    for stem in (name, Path(name).stem):
        if (other := stems.get(_folded(stem))) is not None:
            return other, stem + Path(other).suffix
    return None, name


@lru_cache(FOLDERS_REMEMBERED)
def _stems(folder: SafePath, changed: int) -> dict[str, str]:
    """Returns the names of images in a folder, keyed by the part before the extension."""
    names = _names(folder, changed).values()
    return {_folded(Path(name).stem): name for name in names if Path(name).suffix.lower() in ENDINGS}


def _folded(name: str) -> str:
    return _composed(_visible(name).casefold())


def _visible(name: str) -> str:
    """Returns a name in NFC without invisible characters and with ordinary blanks."""
    if name.isascii():
        return name
    return _composed("".join(" " if _is_blank(sign) else sign for sign in name if not _is_invisible(sign)))


def _unseen_difference(one: str, other: str) -> str:
    """Returns the invisible characters and special blanks that only one of two names has, as `U+200E`."""
    if one.isascii() and other.isascii():
        return ""
    of_one, of_other = (
        Counter(sign for sign in name if _is_invisible(sign) or (_is_blank(sign) and sign != " "))
        for name in (one, other)
    )
    differing = sorted((of_one - of_other) | (of_other - of_one))
    return ", ".join(f"U+{ord(sign):04X}" for sign in differing[:MOST_CHARACTERS_SHOWN])


def _is_invisible(sign: str) -> bool:
    return unicodedata.category(sign) == "Cf"


def _is_blank(sign: str) -> bool:
    return unicodedata.category(sign) == "Zs"


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)
