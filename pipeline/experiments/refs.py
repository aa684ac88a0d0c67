"""DVC's experiments as Git keeps them: those that succeeded are commits under `refs/exps/`."""

LISTING = ("for-each-ref", "--format=%(objectname) %(refname)", "refs/exps")
"""The arguments of Git that list them."""


def experiments_in(listing: str) -> dict[str, list[tuple[str, str]]]:
    """By the experiment's name the commit that it started from, and its own, from the output of `LISTING`."""
    found: dict[str, list[tuple[str, str]]] = {}
    for line in filter(None, listing.split("\n")):
        own, name = line.split(" ", 1)
        parts = name.split("/")
        # refs/exps/<two digits of the first commit>/<its other digits>/<name>; others are DVC's own.
        if len(parts) == 5 and len(parts[2]) == 2:
            found.setdefault(parts[4], []).append((parts[2] + parts[3], own))
    return found
