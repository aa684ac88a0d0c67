"""A tree as a table of child and parent, as often published for WordNet."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from pipeline.config.cluster import MOST_LEVELS
from pipeline.runtime.errors import UserError, listed, system_error_message
from pipeline.tables.lines import NotARow, open_text, text_lines
from pipeline.untrusted.safe_paths import SafePath, UnsafePath


def paths_from_root(
    file: Path, leaves: Iterable[str], several_parents: str, parameter: str
) -> dict[str, list[str]]:
    """Returns the path from the root to each leaf; a leaf that is not in the file is its own root.

    A line holds a child and its parent, separated by a comma, a tab or spaces; a header `child,parent` is
    skipped. Raises `UserError`, which names the file by its `parameter`, for an invalid line, a cycle, too
    many levels, or a child with several parents unless `several_parents` is "first".
    """
    named = f"{file} ({parameter})"
    parent_of = _read(file, several_parents, named)
    return {leaf: _climb(leaf, parent_of, named) for leaf in leaves}


def _read(file: Path, several_parents: str, named: str) -> dict[str, str]:
    parent_of: dict[str, str] = {}
    for number, line in _lines(file, named):
        cells = _cells(line)
        if not cells or (number == 1 and [cell.lower() for cell in cells] == ["child", "parent"]):
            continue
        if len(cells) != 2:
            raise UserError(
                f"{named} must hold a child and its parent in line {number}, and holds {line.strip()[:100]!r}"
            )
        child, parent = cells
        if parent_of.setdefault(child, parent) != parent and several_parents == "refuse":
            raise UserError(
                f"{named} gives {child} the parents {parent_of[child]} and "
                f"{parent}: fix it or set cluster.hierarchy.several_parents=first"
            )
    return parent_of


def _lines(file: Path, named: str) -> Iterator[tuple[int, str]]:
    try:
        with open_text(SafePath(file)) as opened:
            for number, line in text_lines(opened):
                if isinstance(line, NotARow):
                    raise UserError(f"{named} can't be read in line {number}: {line.reason}")
                line.encode()  # fails for surrogates, which replace bytes that are not UTF-8
                yield number, line
    except UnsafePath as unsafe:
        raise UserError(f"{named} can't be read as text ({unsafe.reason}): name a file") from None
    except (OSError, UnicodeEncodeError) as error:
        if system_error_message(error):
            raise
        why = str(error) if isinstance(error, OSError) else "it is not UTF-8"
        raise UserError(f"{named} can't be read as text: {why}") from None


def _cells(line: str) -> list[str]:
    """Splits at tabs or commas, else at spaces, since names may contain spaces."""
    separator = next((mark for mark in "\t," if mark in line), None)
    return [cell for part in line.split(separator) if (cell := part.strip())]


def _climb(leaf: str, parent_of: dict[str, str], named: str) -> list[str]:
    path = {leaf: None}  # ordered, with fast look-up
    last = leaf
    while (parent := parent_of.get(last)) is not None:
        if parent in path:
            raise UserError(f"{named} has a cycle: {listed([*path, parent])}")
        if len(path) == MOST_LEVELS:
            raise UserError(f"{named} has more than {MOST_LEVELS:,} levels above {leaf}: flatten the tree")
        path[parent] = None
        last = parent
    return list(path)[::-1]
