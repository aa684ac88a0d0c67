"""Reads commits through Git; where Git refuses, the answer is empty and nothing is printed.

All functions raise `UserError` where Git is not installed.
"""

from pipeline.runtime.git import run_git


def git(*arguments: str) -> str:
    """What `git` prints; empty where it fails."""
    ended = run_git(*arguments)
    return ended.stdout.decode(errors="surrogateescape") if ended.returncode == 0 else ""


def is_object(revision: str) -> bool:
    """Whether it names an object in Git: a commit, by a branch, tag or hash, or another one."""
    # Git would take what begins with a hyphen for an option; DVC finds no such branch.
    return not revision.startswith("-") and bool(git("rev-parse", "--verify", "--quiet", revision))


def is_other_object(revision: str) -> bool:
    """Whether it names an object that is no commit, such as a file, which DVC would take for a commit."""
    return is_object(revision) and not is_object(f"{revision}^{{commit}}")


def read_blob(name: str) -> bytes:
    """A file's bytes, by its hash or as `commit:./path` from this folder; empty where there is none."""
    return run_git("cat-file", "blob", name).stdout
