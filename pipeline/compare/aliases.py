"""YAML in a repository that DVC reads as it is: aliases in aliases would keep it busy for ever."""

import os
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from pipeline.errors import UserError
from pipeline.safe_paths import SafePath, UnsafePath
from pipeline.safe_yaml import check_aliases

ENDINGS = (".yaml", ".yml", ".lock", ".dvc")
"""Of files that DVC looks for by itself, or that are YAML to anybody."""
NOT_YAML = (".json", ".toml", ".py")
"""Of files that DVC reads as something else, where a dvc.yaml names them. All others it takes for YAML."""
MOST_BYTES_OF = {"params.yaml": 1 << 18, "dvc.yaml": 1 << 18, "dvc.lock": 1 << 22}
"""Of those that DVC reads in every commit. It takes a minute for a million."""
MOST_BYTES = 1 << 24
"""Of others that could hold aliases: a larger one is hardly a file of parameters."""


def check_workspace() -> None:
    """Raises `UserError` for such a file in the workspace, of those that Git tracks."""
    root = _git("rev-parse", "--show-toplevel").rstrip("\n")
    names = [name for name in _git("ls-files", "-z", "--full-name", root).split("\0") if name]
    mentioned = b"\n".join(_read(root, name) for name in names if _is_of_dvc(name))
    for name in names:
        if _may_be_read(name, mentioned):
            _check(_read(root, name), name, name)


def _read(root: str, name: str) -> bytes:
    """Nothing of what was removed, or is a link: DVC says so itself."""
    try:
        with SafePath(Path(root, name)).open_binary() as file:
            return file.read()
    except UnsafePath:
        return b""


def check_commits(revisions: Iterable[str], *, with_history: bool = False) -> None:
    """Raises `UserError` for such a file in one of them, in experiments, or, `with_history`, in what came
    before. A name that Git does not know passes."""
    experiments = _git("for-each-ref", "--format=%(objectname)", "refs/exps").split()
    known = dict.fromkeys([*_commits(revisions), *experiments])
    blobs = {blob: place for commit in known for blob, place in _of_tree(commit)}
    if with_history and known:
        blobs |= dict(_of_history(list(known)))
    mentioned = b"\n".join(_blob(blob) for blob, (name, _) in blobs.items() if _is_of_dvc(name))
    for blob, (name, commit) in blobs.items():
        if _may_be_read(name, mentioned):
            _check(_blob(blob), name, f"{name} of {commit[:12]}")


def _is_of_dvc(name: str) -> bool:
    """Whether it may name further files for DVC to read."""
    return os.path.basename(_plain(name)) in ("dvc.yaml", "dvc.lock")


def _may_be_read(name: str, mentioned: bytes) -> bool:
    name = _plain(name)
    if name.endswith(ENDINGS):
        return True
    base = os.path.basename(name)
    return not name.endswith(NOT_YAML) and bool(base) and os.fsencode(base) in mentioned


def _plain(name: str) -> str:
    # Git quotes names that are no plain text; quotes end them, too.
    return name.rstrip('"')


def _blob(name: str) -> bytes:
    return subprocess.run(["git", "cat-file", "blob", name], capture_output=True, check=False).stdout  # noqa: S603, S607


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
        if name:
            yield about.split()[2], (name, commit)


def _of_history(commits: list[str]) -> Iterator[tuple[str, Place]]:
    """What each commit changed, from the first on."""
    log = _git("log", "--format=%x00%H", "--raw", "--no-abbrev", "--no-renames", "-m", "--root", *commits)
    for of_commit in log.split("\0"):
        commit, *changes = of_commit.split("\n")
        for change in changes:
            about, _, name = change.partition("\t")
            if name and about.split()[3].strip("0"):
                yield about.split()[3], (name, commit)


def _check(content: bytes, name: str, named: str) -> None:
    most = MOST_BYTES_OF.get(os.path.basename(_plain(name)))
    may_have_aliases = b"&" in content and b"*" in content
    if len(content) > (most or MOST_BYTES) and (most or may_have_aliases):
        raise UserError(f"{named} is larger than {(most or MOST_BYTES) >> 10} KiB: no file of its kind is")
    check_aliases(content, named)


def _git(*arguments: str) -> str:
    """Empty where Git refuses."""
    ended = subprocess.run(  # noqa: S603
        ["git", "-c", "core.quotePath=false", *arguments],  # noqa: S607
        capture_output=True, encoding="utf-8", errors="surrogateescape", check=False,
    )  # fmt: skip
    return ended.stdout if ended.returncode == 0 else ""
