"""What revisions name in Git; where Git refuses, the answer is empty and nothing is printed."""

from pipeline.untrusted.git import run_git


def git(*arguments: str) -> str:
    """What `git` prints; empty where it fails."""
    ended = run_git(*arguments)
    return ended.stdout if ended.returncode == 0 else ""


def is_object(revision: str) -> bool:
    """Whether it names an object in Git: a commit, by a branch, tag or hash, or another one."""
    # Git would take what begins with a hyphen for an option; DVC finds no such branch.
    return not revision.startswith("-") and bool(git("rev-parse", "--verify", "--quiet", revision))


def is_other_object(revision: str) -> bool:
    """Whether it names an object that is no commit, such as a file, which DVC would take for a commit."""
    return is_object(revision) and not is_object(f"{revision}^{{commit}}")
