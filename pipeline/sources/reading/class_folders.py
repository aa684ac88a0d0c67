"""Folders of images as the sources see them: files, and a refusal for what is not read."""

from collections.abc import Iterator

from pipeline.sources.base import Refusal
from pipeline.untrusted.safe_paths import Root
from pipeline.untrusted.walk import Skipped, Walk, names_in


def files_below(walk: Walk, member: str = "") -> Iterator[str | Refusal]:
    """What `walk` finds below the folder `member`."""
    for found in walk.files(member):
        yield Refusal(found.path, found.reason) if isinstance(found, Skipped) else found


def folders_in(folder: Root) -> list[str]:
    """Names of folders, and of links to folders, which are read only where they lead inside. Raises
    `UserError` where `folder` can't be read or leads out."""
    return names_in(folder)[0]
