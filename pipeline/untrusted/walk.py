"""Listing of all files below a folder, in order, and of what can't be followed."""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from pipeline.untrusted.safe_paths import DEEPEST, TOO_DEEP, Root, SafePath
from pipeline.untrusted.unsafe_path import UnsafePath, reason_of

CIRCLE = "a link that goes in a circle"
TWICE = "a folder that is read already, under another name"
Kind = Literal["folder", "file", "other"]


@dataclass(frozen=True, slots=True)
class Skipped:
    """An entry below a folder that is not read: its path relative to the folder, and why."""

    path: str
    reason: str


SYSTEM = frozenset(
    {"__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found"}
    | {"Thumbs.db", "ehthumbs.db", "desktop.ini", "Icon\r"}
)
"""Names of folders and files that operating systems add to a user's own."""


def is_hidden(name: str) -> bool:
    return name.startswith(".") or name in SYSTEM


@dataclass
class PassedOver:
    """The number of hidden files and folders, and those of operating systems, that are not listed."""

    count: int = 0
    first: str = ""

    def add(self, path: str) -> None:
        self.first = self.first or path
        self.count += 1

    def notes(self) -> list[str]:
        what = f"{self.count:,} hidden files and folders, or such of systems, are passed over"
        return [f"{what}, the first of them {self.first}"] if self.count else []


class Walk:
    """Lists what lies below `root`, each folder once, however many links lead to it: links, even circular
    ones, never multiply the files."""

    def __init__(self, root: Root, *, hidden: bool = False) -> None:
        """`hidden`: whether to list names that are hidden according to `is_hidden`."""
        self._root = root
        self._hidden = hidden
        self._seen: set[tuple[int, int]] = set()
        self.passed_over = PassedOver()

    def files(self, members: Sequence[str] = ("",)) -> Iterator[str | Skipped]:
        """Yields the paths, relative to `root`, of the files in the folders `members` and below, sorted per
        folder.

        One folder is listed at a time, so that no tree is too large. Folders behind links come last of all,
        so that a folder is read under its own name, whichever of `members` it lies in.
        """
        linked: deque[str] = deque()
        for member in members:
            if self._is_behind_link(member):
                linked.append(member)
            else:
                yield from self._below(member, linked)
        while linked:
            yield from self._below(linked.popleft(), linked)

    def _below(self, member: str, linked: deque[str]) -> Iterator[str | Skipped]:
        """Yields the files in the folder `member` and below. Adds links to folders to `linked`."""
        if member.count(os.sep) >= DEEPEST:
            yield Skipped(member, TOO_DEEP)
            return
        try:
            with self._root.at(member).opened_folder() as descriptor:
                if self._is_known(os.fstat(descriptor)):
                    yield Skipped(member, CIRCLE if self._leads_up(member) else TWICE)
                    return
                entries = _entries(member, descriptor)
        except UnsafePath as unsafe:
            yield Skipped(member or ".", unsafe.reason)
            return
        for name, kind in entries:
            path = os.path.join(member, name)
            if is_hidden(name) and not self._hidden:
                self.passed_over.add(path)
                continue
            if kind == "folder":
                yield from self._below(path, linked)
            elif kind == "file":
                yield path
            else:
                yield from self._followed(path, linked)

    def _followed(self, path: str, linked: deque[str]) -> Iterator[str | Skipped]:
        """Yields the path of a link to a file, or the reason why an entry that is not a file is skipped."""
        try:
            file = self._root.file(path)
        except UnsafePath as unsafe:
            yield Skipped(path, unsafe.reason)
            return
        if file.is_folder():
            linked.append(path)
        else:
            yield path

    def _is_behind_link(self, member: str) -> bool:
        real_root = os.path.realpath(self._root.folder)
        return os.path.realpath(os.path.join(real_root, member)) != os.path.normpath(
            os.path.join(real_root, member)
        )

    def _leads_up(self, member: str) -> bool:
        """Returns whether it is a link to a folder above it."""
        path = self._root.folder / member
        folder = os.path.realpath(path)
        return os.path.commonpath([folder, os.path.realpath(path.parent)]) == folder

    def _is_known(self, folder: os.stat_result) -> bool:
        identity = (folder.st_dev, folder.st_ino)
        known = identity in self._seen
        self._seen.add(identity)
        return known


def names_in(folder: Root) -> tuple[list[str], list[str]]:
    """Returns the names of the folders and links to folders in `folder`, and the names of everything else;
    both sorted, without those that are hidden according to `is_hidden`.

    Raises `UnsafePath` if the folder does not exist, can't be read or lies outside of its boundary.
    """
    names: tuple[list[str], list[str]] = ([], [])
    with folder.at("").opened_folder() as descriptor:
        entries = _entries(folder.folder, descriptor)
    for name, kind in entries:
        if is_hidden(name):
            continue
        is_folder = kind == "folder" or (kind == "other" and folder.has_folder(name))
        names[0 if is_folder else 1].append(name)
    return names


def some_names_in(folder: SafePath, most: int) -> list[str]:
    """Returns at most `most` names in `folder`, unordered and including hidden ones; none if it can't be
    read."""
    try:
        with folder.opened_folder() as descriptor, os.scandir(descriptor) as listing:
            return [entry.name for entry in islice(listing, most)]
    except (UnsafePath, OSError):
        return []


def _entries(folder: str | Path, descriptor: int) -> list[tuple[str, Kind]]:
    """Returns the entries, sorted by name. A link is "other", whatever it leads to."""
    try:
        with os.scandir(descriptor) as listing:
            return sorted((entry.name, _kind(entry)) for entry in listing)
    except OSError as error:
        reason = reason_of(error)
        if reason is None:
            raise
        raise UnsafePath(folder, reason) from None


def _kind(entry: os.DirEntry[str]) -> Kind:
    if entry.is_dir(follow_symlinks=False):
        return "folder"
    return "file" if entry.is_file(follow_symlinks=False) else "other"
