"""The only module that runs Git. An untrusted repository can make Git neither reach another machine nor start
a program: what a partial clone lacks is not fetched, and hooks and file system monitors are disabled."""

import os
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

from pipeline.runtime.errors import UserError, shown

_SETTINGS = {
    "protocol.allow": "never",
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
}
_VARIABLES = {
    "GIT_ALLOW_PROTOCOL": "",  # not even protocols that the user's configuration allows by name
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
}
_TRUST = re.compile(r"git config --global --add safe\.directory .*")
"""The command in Git's refusal, which names the top of the repository."""
_PARTIAL = r"^(remote\..*\.promisor|extensions\.partialclone)$"


def git_environment() -> dict[str, str]:
    """Returns the environment variables of a process that runs Git, or a library that does."""
    # Settings that the user passes in the same way, such as safe.directory, are kept.
    given = os.environ.get("GIT_CONFIG_COUNT", "")
    first = int(given) if given.isdecimal() else 0
    settings: dict[str, str] = {}
    for number, (key, value) in enumerate(_SETTINGS.items(), first):
        settings |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return os.environ | _VARIABLES | settings | {"GIT_CONFIG_COUNT": str(first + len(_SETTINGS))}


def run_git(*arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Runs Git. Raises `UserError` if it cannot be started; the caller checks the exit status."""
    with _started(arguments, folder) as process:
        output, errors = process.communicate()
    # File names may be in any encoding.
    texts = [text.decode("utf-8", "surrogateescape") for text in (output, errors)]
    return subprocess.CompletedProcess(process.args, process.returncode, *texts)


def read_blob(name: str, most_bytes: int, folder: Path | None = None) -> bytes:
    """Returns the bytes of a file, named by its hash or as `commit:./path` relative to the folder; at most
    `most_bytes` + 1 of them, and none if there is no such file."""
    with _started(["cat-file", "blob", name], folder) as process:
        assert process.stdout is not None
        content = process.stdout.read(most_bytes + 1)
        process.kill()
        process.communicate()
    return content


def check_trusted(folder: Path | None = None) -> None:
    """Raises `UserError` for a repository of another user, in which Git runs no command."""
    refusal = run_git("rev-parse", "--git-dir", folder=folder).stderr
    if command := _TRUST.search(refusal):
        raise UserError(
            "Git does not read this repository, which belongs to another user: if you trust it, run "
            f"`{command[0].strip()}`"
        )


def check_complete(revisions: Iterable[str]) -> None:
    """Raises `UserError` for a partial clone that lacks files of these commits: DVC, which reads Git's
    objects itself, would wait for them forever."""
    if run_git("config", "--get-regexp", _PARTIAL).returncode:
        return
    for revision in revisions:
        listing = run_git("rev-list", "--no-walk", "--objects", "--missing=print", revision, "--")
        if any(line.startswith("?") for line in listing.stdout.splitlines()):
            raise UserError(
                f"this clone is partial and lacks files of {shown(revision)}: fetch them by checking that "
                "commit out once, or clone without --filter"
            )


def _started(arguments: Iterable[str], folder: Path | None) -> "subprocess.Popen[bytes]":
    try:
        return subprocess.Popen(  # noqa: S603
            ["git", *arguments],  # noqa: S607
            cwd=folder,
            env=git_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except (FileNotFoundError, PermissionError) as error:
        if folder is not None and not folder.is_dir():
            raise
        raise UserError(
            f"git can't be started ({error.strerror}): install Git, in which DVC keeps experiments"
        ) from None
