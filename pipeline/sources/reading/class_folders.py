"""The files in folders of images, and refusals of what cannot be read."""

from collections.abc import Iterator, Sequence

from pipeline.sources.base import Refusal
from pipeline.untrusted.safe_paths import Root
from pipeline.untrusted.walk import Skipped, Walk, names_in


def files_below(walk: Walk, members: Sequence[str] = ("",)) -> Iterator[str | Refusal]:
    """Yields the files below the folders `members`, and refusals."""
    for found in walk.files(members):
        yield Refusal(found.path, found.reason) if isinstance(found, Skipped) else found


def folders_in(folder: Root) -> list[str]:
    """Returns the names of folders and of links to folders, which are read only if their target is inside.
    Raises `UserError` if `folder` cannot be read or is outside."""
    return names_in(folder)[0]
