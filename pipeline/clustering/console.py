"""Terminal messages of the cluster stage."""

from collections.abc import Iterator
from typing import Any

_BECOMES = {
    "instance": "each forms its own cluster",
    "own": "together they form one cluster",
    "drop": "training leaves them out",
}
"""What becomes of images without a value, by `cluster.missing`."""


def messages(arm: str, statistics: dict[str, Any], missing: str) -> Iterator[str]:
    """Yields one line of statistics, then notes, counts and findings.

    `missing` is the value of `cluster.missing` for this arm.
    """
    information = statistics["mutual_information_bits"]
    information_text = "no labels to compare with"
    if information is not None:
        information_text = (
            f"mutual information I(Z;T) {information:.2f} bits, "
            f"conditional entropy H(Z|T) {statistics['conditional_entropy_bits']:.2f} bits"
        )
    yield f"cluster {arm}: {statistics['clusters']:,} clusters by {statistics['method']}, {information_text}"
    for note in statistics["notes"]:
        yield f"cluster {arm}: {note}"
    if statistics["images_missing"]:
        yield f"cluster {arm}: {_missing_message(statistics, missing)}"
    for finding in statistics["findings"]:
        yield f"cluster {arm}: {finding['code']}: {finding['sentence']} {finding['cure']}"


def _missing_message(statistics: dict[str, Any], missing: str) -> str:
    images = statistics["images_missing"]
    reason = "have no label" if statistics["method"] == "label" else "have no value to cluster by"
    return f"{images:,} images {reason}: {_BECOMES[missing]} (cluster.missing={missing})"
