"""DVC's experiments as Git refs: successful experiments are commits under `refs/exps/`."""

LISTING = ("for-each-ref", "--format=%(objectname) %(refname)", "refs/exps")
"""Arguments with which Git lists the experiments."""


def experiments_in(listing: str) -> dict[str, list[tuple[str, str]]]:
    """Parses the output of `LISTING`: returns (start commit, own commit) pairs by the experiment's name."""
    found: dict[str, list[tuple[str, str]]] = {}
    for line in filter(None, listing.split("\n")):
        own, name = line.split(" ", 1)
        parts = name.split("/")
        # refs/exps/<two digits of the start commit>/<its other digits>/<name>; other refs are DVC's own.
        if len(parts) == 5 and len(parts[2]) == 2:
            found.setdefault(parts[4], []).append((parts[2] + parts[3], own))
    return found
