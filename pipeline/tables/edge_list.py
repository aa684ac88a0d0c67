"""A tree as a table of child and parent, as often published for WordNet."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from pipeline.config.cluster import MOST_LEVELS
from pipeline.runtime.errors import UserError, listed, system_error_message
from pipeline.tables.cells import folded
from pipeline.tables.delimited import CsvRows, delimiter_of, first_lines
from pipeline.tables.lines import NotARow, open_text
from pipeline.untrusted.safe_paths import SafePath
from pipeline.untrusted.unsafe_path import UnsafePath

LEAVES_SHOWN = 3


class LeafPaths(NamedTuple):
    """The paths from the root to each leaf, and the leaves that the tree lacks, which are their own roots."""

    of_leaf: dict[str, list[str]]
    not_in_tree: list[str]


def paths_from_root(file: Path, leaves: Iterable[str], several_parents: str, parameter: str) -> LeafPaths:
    """Reads the path from the root to each leaf.

    A row holds a child and its parent, separated by a tab, a comma or another delimiter of tables, or by
    spaces, with or without quotes; a header `child,parent` is skipped. Raises `UserError`, which names the
    file by its `parameter`, for an invalid row, a cycle, too many levels, a child with several parents unless
    `several_parents` is "first", and a tree without any of the leaves.
    """
    named = f"{file} ({parameter})"
    parent_of = _read(file, several_parents, named)
    in_tree = parent_of.keys() | parent_of.values()
    paths = {leaf: _climb(leaf, parent_of, named) for leaf in leaves}
    missing = sorted(leaf for leaf in paths if leaf not in in_tree)
    if missing and len(missing) == len(paths):
        raise UserError(
            f"{named} holds none of the {len(missing):,} leaves of the images "
            f"({_quoted(missing)}): it holds {_quoted(parent_of) or 'nothing'}; write their names alike"
        )
    return LeafPaths(paths, missing)


def _quoted(names: Iterable[str]) -> str:
    return listed([repr(name) for name in names], LEAVES_SHOWN)


def _read(file: Path, several_parents: str, named: str) -> dict[str, str]:
    parent_of: dict[str, str] = {}
    is_first = True
    for number, names in _rows(file, named):
        is_header = is_first and [name.lower() for name in names] == ["child", "parent"]
        is_first = False
        if is_header:
            continue
        if len(names) != 2:
            raise UserError(
                f"{named} must hold a child and its parent in line {number}, and holds {listed(names, 4)}"
            )
        child, parent = names
        if parent_of.setdefault(child, parent) != parent and several_parents == "refuse":
            raise UserError(
                f"{named} gives {child} the parents {parent_of[child]} and "
                f"{parent}: fix it or set cluster.hierarchy.several_parents=first"
            )
    return parent_of


def _rows(file: Path, named: str) -> Iterator[tuple[int, list[str]]]:
    """Yields the line number and the names of each row that is not blank."""
    path = SafePath(file)
    try:
        lines = [line for _, line in first_lines(path, named)]
        # Without any other delimiter, since names may contain spaces.
        delimiter = (delimiter_of(lines, "\t") if lines else None) or " "
        with open_text(path) as opened:
            for number, cells in CsvRows(opened, delimiter):
                if isinstance(cells, NotARow):
                    raise UserError(f"{named} can't be read in line {number}: {cells.reason}")
                if any("\n" in cell or "\r" in cell for cell in cells):
                    raise UserError(
                        f"{named} can't be read in line {number}: a quote takes the lines that follow into "
                        "a cell"
                    )
                "".join(cells).encode()  # fails for surrogates, which replace bytes that are not UTF-8
                yield number, [name for cell in cells if (name := folded(cell))]
    except UnsafePath as unsafe:
        raise UserError(f"{named} can't be read as text ({unsafe.reason}): name a file") from None
    except UnicodeEncodeError:
        raise UserError(f"{named} can't be read as text: it is not UTF-8") from None
    except OSError as error:
        if system_error_message(error):
            raise
        raise UserError(f"{named} can't be read as text: {error}") from None


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
