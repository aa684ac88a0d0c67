"""YAML in a repository that DVC reads as it is: aliases in aliases would keep it busy for ever."""

import os
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from pipeline.errors import UserError
from pipeline.safe_paths import SafePath, UnsafePath
from pipeline.safe_yaml import check_aliases

ENDINGS = (".yaml", ".yml", ".lock", ".dvc")
"""Of files that a dvc.yaml may name as parameters or variables, or that DVC looks for by itself."""
MOST_BYTES_OF = {"params.yaml": 1 << 18, "dvc.yaml": 1 << 18, "dvc.lock": 1 << 22}
"""Of those that DVC reads in every commit. It takes a minute for a million."""
MOST_BYTES = 1 << 20
"""Of others: a larger one is hardly a file of parameters, and not looked into."""


def check_workspace() -> None:
    """Raises `UserError` for such a file in the workspace, of those that Git tracks."""
    root = _git("rev-parse", "--show-toplevel").rstrip("\n")
    for name in _names(_git("ls-files", "-z", "--full-name", root).split("\0")):
        try:
            with SafePath(Path(root, name)).open_binary() as file:
                _check(file.read(), name, name)
        except UnsafePath:
            continue  # removed, or a link: DVC says so itself


def check_commits(revisions: Iterable[str], *, with_history: bool = False) -> None:
    """Raises `UserError` for such a file in one of them, in experiments, or, `with_history`, in what came
    before. A name that Git does not know passes."""
    experiments = _git("for-each-ref", "--format=%(objectname)", "refs/exps").split()
    known = dict.fromkeys([*_commits(revisions), *experiments])
    blobs = {blob: place for commit in known for blob, place in _of_tree(commit)}
    if with_history and known:
        blobs |= dict(_of_history(list(known)))
    for blob, (name, commit) in blobs.items():
        content = subprocess.run(["git", "cat-file", "blob", blob], capture_output=True, check=False)  # noqa: S603, S607
        _check(content.stdout, name, f"{name} of {commit[:12]}")


def is_other_object(revision: str) -> bool:
    """Whether Git knows it and it is no commit, such as a file of one, which DVC takes for a commit."""
    return bool(_verified(revision)) and not list(_commits([revision]))


def _commits(revisions: Iterable[str]) -> Iterator[str]:
    for revision in revisions:
        yield from _verified(f"{revision}^{{commit}}")


def _verified(revision: str) -> list[str]:
    # Git would take what begins with a hyphen for an option; DVC finds no such branch.
    return [] if revision.startswith("-") else _git("rev-parse", "--verify", "--quiet", revision).split()


Place = tuple[str, str]
"""A file's name, and a commit that has it."""


def _of_tree(commit: str) -> Iterator[tuple[str, Place]]:
    for entry in _git("ls-tree", "-r", "-z", "--full-tree", commit).split("\0"):
        about, _, name = entry.partition("\t")
        if name and list(_names([name])):
            yield about.split()[2], (name, commit)


def _of_history(commits: list[str]) -> Iterator[tuple[str, Place]]:
    """What each commit changed, from the first on."""
    log = _git("log", "--format=%x00%H", "--raw", "--no-abbrev", "--no-renames", "-m", "--root", *commits)
    for of_commit in log.split("\0"):
        commit, *changes = of_commit.split("\n")
        for change in changes:
            about, _, name = change.partition("\t")
            if name and list(_names([name])):
                yield about.split()[3], (name, commit)


def _names(names: Iterable[str]) -> Iterator[str]:
    # Git quotes names that are no plain text; quotes end them, too.
    return (name for name in names if name.rstrip('"').endswith(ENDINGS))


def _check(content: bytes, name: str, named: str) -> None:
    most = MOST_BYTES_OF.get(os.path.basename(name.rstrip('"')))
    if most is not None and len(content) > most:
        raise UserError(f"{named} is larger than {most >> 10} KiB: no file of its kind is")
    if most is not None or len(content) <= MOST_BYTES:
        check_aliases(content, named)


def _git(*arguments: str) -> str:
    """Empty where Git refuses."""
    ended = subprocess.run(  # noqa: S603
        ["git", *arguments],  # noqa: S607
        capture_output=True, encoding="utf-8", errors="surrogateescape", check=False,
    )  # fmt: skip
    return ended.stdout if ended.returncode == 0 else ""
