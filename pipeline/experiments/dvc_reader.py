"""Reads experiments from DVC, in a process of its own: `python -m pipeline.experiments.dvc_reader`."""

import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import dvc.api
from dvc.repo import Repo

from pipeline.experiments.git import git, is_object, is_other_object
from pipeline.experiments.refs import LISTING, experiments_in
from pipeline.experiments.selection import Row
from pipeline.runtime.errors import UserError, shown, system_error_message
from pipeline.runtime.json_text import parse_json
from pipeline.storage.schema import CHOSEN, ENCODER_CONFIG, Layout
from pipeline.untrusted.dvc.process import Request, answer
from pipeline.untrusted.dvc_lock import read_lock
from pipeline.untrusted.safe_paths import SafePath

Answer = TypeVar("Answer")

MOST_CACHED_BYTES = 1 << 20
"""Maximum size in bytes; the list of an encoder's files, or its configuration, has some hundred."""
ENCODER = str(Layout().encoder(CHOSEN))


@contextmanager
def found(request: Request) -> Iterator[dict[str, Any]]:
    """Yields the rows for the request's `names`, and further facts that DVC has about them, by `rev`."""
    rows = read_rows(request["names"], request["with_experiments"])
    yield {"rows": rows, "reasons": read_reasons(rows), "train_images": read_train_images(rows)}


def read_rows(names: Sequence[str], with_experiments: bool = False) -> list[Row]:
    """Returns the rows for `names`; without names, those that `dvc exp show` shows.

    A name is that of an experiment, branch, tag or commit. The latter three stand for the commit and, with
    `with_experiments`, also for the experiments made from it. Raises `UserError` for an unknown name.
    """
    if not names:
        return _exp_show(
            "no experiments can be read here: run in the project's folder, a Git and DVC repository"
        )
    baselines = _baselines(names)
    shown_rows = _exp_show("no experiments can be read here", revs=baselines) if baselines else []
    rows: dict[str, Row] = {}
    for name in names:
        found = [row for row in shown_rows if row["Experiment"] == name]
        found = found or _of_revision(name, with_experiments)
        rows |= {str(row["rev"]): row for row in found}
    return list(rows.values())


def _baselines(names: Sequence[str]) -> list[str]:
    """Returns the commits from which the named experiments start, whether finished, failed or queued."""
    finished = experiments_in(git(*LISTING))
    found = {start for name in names for start, _ in finished.get(name, [])}
    if others := {name for name in names if name not in finished and not is_object(name)} - {"workspace"}:
        found |= _from_dvc("no experiments can be read here", lambda: _baselines_in_the_queue(others))
    return sorted(found)


def _baselines_in_the_queue(names: Collection[str]) -> set[str]:
    with Repo() as repo:
        queue = repo.experiments.celery_queue
        failed = (result.entry for result in queue.iter_failed())
        entries = [*queue.iter_queued(), *queue.iter_active(), *failed]
    return {entry.baseline_rev for entry in entries if entry.name in names}


def read_train_images(rows: Sequence[Row]) -> dict[str, float]:
    """Returns by `rev` the number of train images of the chosen arm, where its report did not record it.

    The encoder's files record it; they are read if this machine's cache has them. Nothing is fetched.
    """
    missing = [
        str(row["rev"])
        for row in rows
        if not any(key.endswith("chosen.train_images") and isinstance(row[key], float) for key in row)
    ]
    found = {}
    if missing:
        with Repo() as repo:
            for rev in missing:
                # The contents of lock and cache may be missing, damaged, or not written by DVC.
                with suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
                    found[rev] = _train_images(read_lock(rev), repo.cache.local.oid_to_path)
    return found


def _train_images(lock: Mapping[str, Any] | None, path_of: Callable[[str], str]) -> float:
    """Reads the number of train images; raises one of many errors if the cache lacks the configuration."""
    outs = [out for stage in (lock or {})["stages"].values() for out in stage.get("outs", [])]
    (listing,) = {out["md5"] for out in outs if out["path"] == ENCODER}
    files = {file["relpath"]: file["md5"] for file in _cached(listing, path_of)}
    return float(_cached(files[ENCODER_CONFIG], path_of)["train_images"])


def _cached(name: str, path_of: Callable[[str], str]) -> Any:
    if not re.fullmatch(r"[0-9a-f]{32}(\.dir)?", name):
        raise ValueError("it would become a path")
    content = SafePath(Path(path_of(name))).read_whole(MOST_CACHED_BYTES)
    if content is None:
        raise ValueError("it is larger than any of its kind")
    return parse_json(content)


def read_reasons(rows: Sequence[Row]) -> dict[str, str]:
    """Returns by `rev` the reason at the end of a failed experiment's log, if DVC kept a log."""
    failed = [str(row["rev"]) for row in rows if row.get("State") == "Failed"]
    if not failed:
        return {}
    with Repo() as repo:
        queue = repo.experiments.celery_queue
        entries = [result.entry for result in queue.iter_failed()]
        known = {entry.stash_rev: queue.proc.get(entry.stash_rev) for entry in entries}
        logs = {stash: process.stdout for stash, process in known.items() if process is not None}
    logs_of_failed = {
        rev: next((log for stash, log in logs.items() if stash.startswith(rev)), None) for rev in failed
    }
    return {rev: reason_in(_text(log)) for rev, log in logs_of_failed.items() if log}


def reason_in(log: str) -> str:
    """Returns the line of a stage's log that says why it ended, else the last one; empty if there is none."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    # A stage's own message begins like this; DVC's messages follow it and only say that a stage failed.
    own = [line for line in lines if line.startswith("error: ") or re.match(r"[A-Za-z.]*Error: ", line)]
    return (own or lines or [""])[-1].removeprefix("error: ")


def _text(log: str) -> str:
    try:
        return Path(log).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _of_revision(name: str, with_experiments: bool) -> list[Row]:
    if name == "workspace":
        return [row for row in _exp_show("the workspace cannot be read") if row["rev"] == "workspace"]
    why_not = f"there is no experiment, branch or commit {shown(name)}: `dvc exp list -A` names them"
    if is_other_object(name):
        raise UserError(why_not)
    rows = _exp_show(why_not, revs=[name])
    rows = [row for row in rows if row["rev"] != "workspace"]
    return rows if with_experiments else [row for row in rows if row["typ"] == "baseline"]


def _exp_show(why_not: str, **selection: Any) -> list[Row]:
    rows = _from_dvc(why_not, lambda: dvc.api.exp_show(**selection))
    return [_of_this_folder(row) for row in rows]


def _of_this_folder(row: Row) -> Row:
    """Returns the row with the paths of files relative to this folder.

    DVC writes them relative to the repository's root, and the project may be in a subfolder.
    """
    here = os.path.relpath(os.getcwd(), Repo.find_root())
    prefix = "" if here == os.curdir else f"{here}{os.sep}"
    return {key.removeprefix(prefix): value for key, value in row.items()}


def _from_dvc(why_not: str, read: Callable[[], Answer]) -> Answer:
    try:
        return read()
    except Exception as error:
        # For files that DVC did not write, it raises whatever their parsers raise.
        if isinstance(error, OSError | MemoryError | KeyError) and system_error_message(error):
            raise
        raise UserError(f"{why_not} ({shown(error)})") from None


if __name__ == "__main__":
    answer(found)
