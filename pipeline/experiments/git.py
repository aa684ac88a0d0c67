"""Look-ups of revisions in Git; if Git fails, the result is empty and nothing is printed."""

from pipeline.untrusted.git import run_git


def git(*arguments: str) -> str:
    """Returns the output of `git`; empty if it fails."""
    ended = run_git(*arguments)
    return ended.stdout if ended.returncode == 0 else ""


def is_object(revision: str) -> bool:
    """Returns whether `revision` names an object in Git: a commit (by branch, tag or hash), or another."""
    # Git would parse a leading hyphen as an option; DVC finds no such branch.
    return not revision.startswith("-") and bool(git("rev-parse", "--verify", "--quiet", revision))


def is_other_object(revision: str) -> bool:
    """Returns whether `revision` names an object other than a commit, which DVC would read as a commit."""
    return is_object(revision) and not is_object(f"{revision}^{{commit}}")
