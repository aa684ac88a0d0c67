"""What the cluster stage says on the terminal."""

from collections.abc import Iterator
from typing import Any

_BECOMES = {
    "instance": "each is a cluster of its own",
    "own": "they are a cluster together",
    "drop": "they are not trained on",
}
"""By `cluster.missing`."""


def messages(arm: str, statistics: dict[str, Any], missing: str) -> Iterator[str]:
    """The figures in a line, then what a person should know: notes, counts and findings.

    `missing` is the value of `cluster.missing` by which the arm was clustered.
    """
    information = statistics["mutual_information_bits"]
    figures = "no labels to compare with"
    if information is not None:
        figures = (
            f"mutual information I(Z;T) {information:.2f} bits, "
            f"conditional entropy H(Z|T) {statistics['conditional_entropy_bits']:.2f} bits"
        )
    yield f"cluster {arm}: {statistics['clusters']:,} clusters by {statistics['method']}, {figures}"
    for note in statistics["notes"]:
        yield f"cluster {arm}: {note}"
    if statistics["images_missing"]:
        yield f"cluster {arm}: {_missing_message(statistics, missing)}"
    for finding in statistics["findings"]:
        yield f"cluster {arm}: {finding['code']}: {finding['sentence']} {finding['cure']}"


def _missing_message(statistics: dict[str, Any], missing: str) -> str:
    images = statistics["images_missing"]
    what = "have no label" if statistics["method"] == "label" else "have nothing to be clustered by"
    return f"{images:,} images {what}: {_BECOMES[missing]} (cluster.missing={missing})"
