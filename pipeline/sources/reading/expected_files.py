"""Finding the files of a published data set; errors list what a folder contains instead."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.config.ingest import IngestParams
from pipeline.runtime.errors import UserError, listed
from pipeline.sources.reading.source_root import source_root
from pipeline.storage.files import resolve_user_path
from pipeline.tables.file_series import check_series, series_notes
from pipeline.tables.lines import NotARow, open_text, text_lines
from pipeline.untrusted.safe_paths import Root, SafePath
from pipeline.untrusted.unsafe_path import UnsafePath
from pipeline.untrusted.walk import Skipped, Walk, names_in

ENTRIES_SHOWN = 6


def named_path(params: IngestParams, what: str) -> Path:
    """Returns `ingest.path`. Raises `UserError` if it is null.

    `what` describes it, such as "the folder that holds images.txt".
    """
    if params.path is None:
        raise UserError(f"ingest.source={params.source} needs ingest.path: set it to {what}")
    return resolve_user_path(params.path)


def named_folder(params: IngestParams, what: str) -> Root:
    folder = SafePath(named_path(params, what))
    if not folder.is_folder():
        wrong = "is a file" if folder.is_there() else "does not exist"
        raise UserError(f"{folder} (ingest.path) {wrong}: set ingest.path to {what}")
    return source_root(folder.path, params)


@dataclass(frozen=True)
class NamedFiles:
    """The files at `ingest.path`."""

    path: Path
    """`ingest.path`."""
    folder: Path
    """`path` or its folder, below which names are searched for splits."""
    files: list[SafePath]
    notes: list[str]


def named_files(params: IngestParams, ending: str, kind: str, what: str) -> NamedFiles:
    """Returns the file `ingest.path`, or the files in that folder that end in `ending`, called `kind`.

    Raises `UserError` if there are none, if one of a numbered series is missing, and for one that cannot be
    read, such as a link to the outside.
    """
    path = named_path(params, what)
    if not SafePath(path).is_there():
        raise UserError(f"{path} (ingest.path) does not exist: set ingest.path to {what}")
    if not SafePath(path).is_folder():
        # Named by the user, so it may be anywhere.
        return NamedFiles(path, path.parent, [SafePath(path)], series_notes(path))
    root = source_root(path, params)
    walk = Walk(root)
    files, left_out = _files_that_end_in(ending, root, walk, f"{path} (ingest.path)")
    if not files:
        raise UserError(
            f"ingest.source={params.source} expects {kind} in {path} (ingest.path), which holds "
            f"{entries(root)}"
        )
    notes = [f"not looked at: {listed(left_out, ENTRIES_SHOWN)}"] if left_out else []
    return NamedFiles(path, path, files, notes + walk.passed_over.notes())


def _files_that_end_in(ending: str, root: Root, walk: Walk, folder: str) -> tuple[list[SafePath], list[str]]:
    """Returns the files, without duplicates and sorted by path, and skipped entries with reasons.

    Raises `UnsafePath` for a file that cannot be read, and `UserError`, which calls `root` `folder`, if one
    of a series is missing.
    """
    files: dict[object, SafePath] = {}
    names: list[str] = []
    left_out: list[str] = []
    for found in walk.files():
        if isinstance(found, Skipped):
            if found.path.endswith(ending):
                raise UnsafePath(root.folder / found.path, found.reason)
            left_out.append(f"{found.path} ({found.reason})")
        elif found.endswith(ending):
            # In Hugging Face's cache, equal files of a series are links to one.
            names.append(found)
            file = root.at(found)
            status = file.status()
            identity = (status.st_dev, status.st_ino) if status else found
            if files.setdefault(identity, file) is not file:
                left_out.append(f"{found} (a file that is read already, under another name)")
    check_series(names, folder)
    return sorted(files.values(), key=lambda file: file.path), left_out


def find_first(root: Root, candidates: Sequence[str], params: IngestParams) -> str:
    """Returns the first of `candidates` in `root`. Raises a `UserError` that lists its entries instead."""
    for candidate in candidates:
        if root.has(candidate):
            return candidate
    raise UserError(
        f"ingest.source={params.source} expects {' or '.join(candidates)} in {root.folder} (ingest.path), "
        f"which holds {entries(root)}"
    )


def entries(folder: Root) -> str:
    """Returns the first entries of `folder`, for a message."""
    folders, others = names_in(folder)
    return listed(sorted([*(f"{name}/" for name in folders), *others]), ENTRIES_SHOWN) or "nothing"


def numbered_lines(table: SafePath) -> Iterator[tuple[str, str]]:
    """Yields each non-empty line with its place.

    Bytes that are not UTF-8 become surrogates, which `checked` refuses later. Raises `UserError` for a line
    that is too long.
    """
    with open_text(table) as file:
        for number, line in text_lines(file):
            if isinstance(line, NotARow):
                raise UserError(f"{table} can't be read in line {number}: {line.reason}")
            if line.strip():
                yield f"{table.name} line {number}", line.strip()


def pairs(table: SafePath) -> dict[str, str]:
    """Reads a table of a key and the rest of the line, such as `12 012.Yellow_headed_Blackbird`.

    Raises `UserError` for a line without a second cell.
    """
    found = {}
    for where, line in numbered_lines(table):
        cells = line.split(maxsplit=1)
        if len(cells) != 2:
            raise UserError(
                f"{table.path.parent / where} must hold a key and its value, and holds {line[:100]!r}"
            )
        found[cells[0]] = cells[1]
    return found
