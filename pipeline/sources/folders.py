"""All files below a folder, in order, with what can't be followed."""

import os
from collections.abc import Iterator
from pathlib import Path

from pipeline.sources.base import Refusal
from pipeline.sources.inside import Outside, Root

DEEPEST = 100


def files_below(root: Root, member: str = "", above: tuple[str, ...] = ()) -> Iterator[str | Refusal]:
    """Paths below `root`'s folder, sorted within each folder: the files of `member` and of its folders.

    A folder at a time is listed, so that no tree is too large. A link to a folder is followed as
    `Root.file` allows, and never in a circle. `above` holds the folders passed on the way.
    """
    if not above and member:
        try:
            root.file(member)
        except Outside as outside:
            yield Refusal(member, str(outside))
            return
    here = os.path.realpath(root.folder / member)
    if here in above:
        yield Refusal(member, "a link that goes in a circle")
        return
    if len(above) > DEEPEST:
        yield Refusal(member, f"more than {DEEPEST} folders deep")
        return
    try:
        with os.scandir(root.folder / member) as listing:
            found = sorted((entry.name, _is_folder(entry), _is_plain(entry)) for entry in listing)
    except OSError as error:
        yield Refusal(member, f"the folder can't be read: {error.strerror}")
        return
    for name, is_folder, plain in found:
        path = os.path.join(member, name)
        if not plain:
            try:
                root.file(path)
            except Outside as outside:
                yield Refusal(path, str(outside))
                continue
        if is_folder:
            yield from files_below(root, path, (*above, here))
        else:
            yield path


def _is_folder(entry: os.DirEntry[str]) -> bool:
    # Of a link to itself `entry.is_dir` raises.
    return os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()


def _is_plain(entry: os.DirEntry[str]) -> bool:
    """A file or folder, not a link: nothing is to be checked but what was checked above it."""
    return not entry.is_symlink() and (entry.is_file() or entry.is_dir())


def folders_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir())
