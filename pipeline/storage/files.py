"""Writing files atomically: a reader sees the old file or the new one, never a part of one."""

import csv
import errno
import glob
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from pipeline.runtime.console import json_text
from pipeline.runtime.errors import UserError, shown
from pipeline.runtime.json_text import parse_json
from pipeline.runtime.sanitize import for_spreadsheet, for_utf8

STATE_VARIABLE = "CLINFONCE_STATE_DIR"

MOST_LINKS = 40
"""Maximum number of links that are followed one after another, as on Linux."""
_NO_FLUSH = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}
"""Error codes of file systems that write to their disks only when they like."""
MOST_OF_JSON = 64 << 20
"""Maximum number of characters of a JSON file; the encoder's configuration and summaries have thousands."""


def resolve_user_path(text: str) -> Path:
    """Returns a path that a user wrote in params.yaml, relative to the project.

    Symptom: a queued experiment does not find `../photos/manifest.csv`. Cause: DVC runs it in a temporary
    copy elsewhere. Cure: a path that does not exist from here is resolved from the project that was copied.
    """
    path = Path(text)
    from_project = users_project() / path
    # os.path.exists also returns False for a path that is too long.
    return from_project if not os.path.exists(path) and os.path.exists(from_project) else path


def state_root() -> Path:
    """Returns `.clinfonce/` of the project, which experiments that DVC runs in a temporary copy share.

    The environment variable CLINFONCE_STATE_DIR overrides it.
    """
    named = os.environ.get(STATE_VARIABLE)
    return Path(named) if named else users_project() / ".clinfonce"


def users_project() -> Path:
    """Returns this folder, or the project of which it is DVC's temporary copy.

    DVC_ROOT is the root of the repository, of which the project may be a subfolder.
    """
    root = os.environ.get("DVC_ROOT")
    if root is None:
        return Path()
    here = Path.cwd()
    own_root = next((folder for folder in (here, *here.parents) if (folder / ".dvc").is_dir()), here)
    return Path(root) / here.relative_to(own_root)


def check_output(path: Path, option: str | None = None) -> None:
    """Checks that `path` can be written, before the work is done; writing checks it again.

    `option` is the command-line option that names it. Raises `UserError` for a folder, as the empty path and
    `/` are, and for a device, a pipe or a link to what a process has open, which a file would replace: root
    can do that to `/dev/null`.
    """
    named = shown(path) if option is None else f"{option} {shown(path)}"
    with suppress(OSError):
        if _leads_into_proc(path):
            # Such as /dev/stdout, which a file would replace if root named it.
            raise UserError(f"{named} is a link to what a process has open: name a file for the output")
        kind = stat.S_IFMT(path.stat().st_mode)
        if kind == stat.S_IFDIR:
            raise UserError(
                f"{named} is a folder, where a file is needed: move it away, or name another file"
            )
        if kind != stat.S_IFREG:
            raise UserError(f"{named} is a device or a pipe: name a file for the output")


def _leads_into_proc(path: Path) -> bool:
    """Returns whether `path` is a link, or the first of several, to what a process has open."""
    for _ in range(MOST_LINKS):
        if not path.is_symlink():
            return False
        path = Path(os.path.realpath(path.parent), os.readlink(path))
        path = Path(os.path.realpath(path.parent), path.name)
        if path.is_relative_to("/proc") and path.parent != Path("/proc"):
            return True
    return False


def check_utf8(path: Path, named: str, cure: str) -> None:
    """Raises `UserError` for a path that Arrow does not open: it takes only UTF-8."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise UserError(
            f"{named} {shown(for_utf8(str(path)))} is not UTF-8, as Parquet files' paths must be: {cure}"
        ) from None


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Calls `write` on a sibling temporary file, flushes it to the disk, and moves it to `path`.

    A process killed at any moment leaves `path` unchanged or complete. Raises `UserError` like
    `check_output`.
    """
    check_output(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for left_behind in _left_by_the_dead(path):
        left_behind.unlink(missing_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    # An untrusted folder may contain a link of this name, which `write` would follow.
    temporary.unlink(missing_ok=True)
    try:
        write(temporary)
        _flush_to_disk(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _flush_to_disk(path: Path) -> None:
    with path.open("rb+") as file:
        try:
            os.fsync(file.fileno())
        except OSError as error:
            if error.errno not in _NO_FLUSH:
                raise


def _left_by_the_dead(path: Path) -> Iterator[Path]:
    """Yields the temporary files of `path` whose process no longer runs on this machine."""
    for temporary in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        process = temporary.name.split(".")[-2]
        if process.isdecimal() and not _runs(int(process)):
            yield temporary


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass  # another user's process, or not a process id
    return True


def write_text(path: Path, text: str) -> None:
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: Any) -> None:
    write_text(path, json_text(value) + "\n")


def read_json(path: Path) -> Any:
    """Reads a JSON file. Raises `ValueError`, also for an empty file or one longer than `MOST_OF_JSON`: a
    sparse file can have any length."""
    with path.open(encoding="utf-8") as file:
        text = file.read(MOST_OF_JSON + 1)
    if len(text) > MOST_OF_JSON:
        raise ValueError(f"{path.name} holds more than {MOST_OF_JSON >> 20} MiB")
    if not text.strip():
        raise ValueError("it is empty")
    return parse_json(text)


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes `rows` under a header of `columns`; a missing or None value is an empty cell.

    Text is written by `for_spreadsheet`, which `from_spreadsheet` undoes.
    """

    def write(temporary: Path) -> None:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            write_cells(file, columns, rows)

    write_atomically(path, write)


def write_cells(file: TextIO, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes to an open file as `write_csv` does. All cells are quoted, so that no other separator starts a
    new one."""
    writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow([for_spreadsheet(column) for column in columns])
    for row in rows:
        cells = [row.get(column) for column in columns]
        writer.writerow([for_spreadsheet(cell) if isinstance(cell, str) else cell for cell in cells])


def _remove_whole(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)


@contextmanager
def replaced_directory(path: Path, remove: Callable[[Path], object] = _remove_whole) -> Iterator[Path]:
    """Yields an empty sibling directory that replaces `path` when the block ends without an error.

    `remove` removes `path` before that. After an error the sibling is removed, and `path` is unchanged.
    """
    for left_behind in _left_by_the_dead(path):
        shutil.rmtree(left_behind, ignore_errors=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    fresh.mkdir(parents=True)
    try:
        yield fresh
        remove(path)
        os.replace(fresh, path)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def version_of(status: os.stat_result) -> tuple[int, int, int, int]:
    """Returns values that change with the content of a file, without reading it: size, times and inode.

    Symptom: a resumed embedding holds vectors of images that no longer exist. Cause: uncompressed images have
    the same size, and `cp -p`, `rsync -t` and `tar` set the modification time (mtime). Cure: the time at
    which the inode changed (ctime), which no program sets, and the inode number. Both may change although the
    content does not, for example by a hard link, or on a file system that renumbers inodes when it is
    mounted: then work is repeated.
    """
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def sha256_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
