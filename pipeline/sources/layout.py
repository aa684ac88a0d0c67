"""Finding a data set's files where its authors put them, and saying what was found where they are not."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.delimited import NotARow, open_text, text_lines
from pipeline.errors import UserError, listed
from pipeline.files import users_path
from pipeline.ingest.params import IngestParams

ENTRIES_SHOWN = 6


def named_path(params: IngestParams, what: str) -> Path:
    """`ingest.path`. Raises `UserError` where the source needs one and there is none.

    `what` says what it must name, such as "the folder that holds images.txt".
    """
    if params.path is None:
        raise UserError(f"ingest.source={params.source} needs ingest.path: set it to {what}")
    return users_path(params.path)


def named_folder(params: IngestParams, what: str) -> Path:
    folder = named_path(params, what)
    if not folder.is_dir():
        wrong = "is a file" if folder.exists() else "does not exist"
        raise UserError(f"{folder} (ingest.path) {wrong}: set ingest.path to {what}")
    return folder


def named_files(params: IngestParams, ending: str, kind: str, what: str) -> tuple[Path, Path, list[Path]]:
    """`ingest.path`, a file or a folder; the folder; and its files that end in `ending`, called `kind`."""
    path = named_path(params, what)
    if not path.exists():
        raise UserError(f"{path} (ingest.path) does not exist: set ingest.path to {what}")
    folder = path if path.is_dir() else path.parent
    found = sorted(path.rglob(f"*{ending}")) if path.is_dir() else [path]
    if not found:
        raise UserError(
            f"ingest.source={params.source} expects {kind} in {path} (ingest.path), which holds "
            f"{entries(path)}"
        )
    return path, folder, found


def first_there(folder: Path, candidates: Sequence[str], params: IngestParams) -> Path:
    """The first of `candidates` that `folder` holds. Raises `UserError` that says what it holds instead."""
    for candidate in candidates:
        if (folder / candidate).exists():
            return folder / candidate
    raise UserError(
        f"ingest.source={params.source} expects {' or '.join(candidates)} in {folder} (ingest.path), which "
        f"holds {entries(folder)}"
    )


def entries(folder: Path) -> str:
    """The first entries of `folder`, for a sentence."""
    names = sorted(f"{path.name}/" if path.is_dir() else path.name for path in folder.iterdir())
    return listed(names, ENTRIES_SHOWN) or "nothing"


def numbered_lines(table: Path) -> Iterator[tuple[str, str]]:
    """Each line that is not empty, with the place where it stands.

    Bytes that are not UTF-8 become characters that `checked` refuses later. Raises `UserError` for a line
    that is too long.
    """
    with open_text(table) as file:
        for number, line in text_lines(file):
            if isinstance(line, NotARow):
                raise UserError(f"{table} can't be read in line {number}: {line.reason}")
            if line.strip():
                yield f"{table.name} line {number}", line.strip()


def pairs(table: Path) -> dict[str, str]:
    """A table of a key and the rest of the line, such as `12 012.Yellow_headed_Blackbird`.

    Raises `UserError` for a line without a second cell.
    """
    found = {}
    for where, line in numbered_lines(table):
        cells = line.split(maxsplit=1)
        if len(cells) != 2:
            raise UserError(f"{table.parent / where} must hold a key and its value, and holds {line[:100]!r}")
        found[cells[0]] = cells[1]
    return found
