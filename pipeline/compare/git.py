"""What Git knows of commits, without a word from it where it knows nothing."""

import subprocess


def git(*arguments: str) -> str:
    """Empty where Git refuses."""
    command = ["git", "-c", "core.quotePath=false", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return ended.stdout if ended.returncode == 0 else ""


def is_object(revision: str) -> bool:
    """Whether Git knows it: a branch, tag or commit, or something else."""
    # Git would take what begins with a hyphen for an option; DVC finds no such branch.
    return not revision.startswith("-") and bool(git("rev-parse", "--verify", "--quiet", revision))


def is_other_object(revision: str) -> bool:
    """Whether Git knows it and it is no commit, such as a file of one, which DVC takes for a commit."""
    return is_object(revision) and not is_object(f"{revision}^{{commit}}")


def read_blob(name: str) -> bytes:
    """By its hash, or as `commit:./path` from here; empty where there is none."""
    command = ["git", "cat-file", "blob", name]
    return subprocess.run(command, capture_output=True, check=False).stdout  # noqa: S603
