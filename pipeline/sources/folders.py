"""All files below a folder, in order, with what can't be followed."""

import os
from collections.abc import Iterator
from pathlib import Path

from pipeline.sources.base import Refusal
from pipeline.sources.inside import Outside, Root


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
    try:
        with os.scandir(root.folder / member) as listing:
            # Of a plain file or folder nothing is to be checked but what was checked above it.
            found = sorted(
                (entry.name, entry.is_dir(), entry.is_symlink() or not (entry.is_dir() or entry.is_file()))
                for entry in listing
            )
    except PermissionError:
        yield Refusal(member, "no permission to read the folder")
        return
    for name, is_folder, doubtful in found:
        path = os.path.join(member, name)
        if doubtful:
            try:
                root.file(path)
            except Outside as outside:
                yield Refusal(path, str(outside))
                continue
        if is_folder:
            yield from files_below(root, path, (*above, here))
        else:
            yield path


def folders_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir())
