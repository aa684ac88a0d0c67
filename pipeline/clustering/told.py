"""What the cluster stage says on the terminal."""

from collections.abc import Iterator
from typing import Any


def told(arm: str, statistics: dict[str, Any]) -> Iterator[str]:
    """The figures in a line, then what a person should know: notes, counts and findings."""
    information = statistics["mutual_information_bits"]
    figures = "no labels to compare with"
    if information is not None:
        figures = f"I(Z;T) {information:.2f}, H(Z|T) {statistics['conditional_entropy_bits']:.2f} bits"
    yield f"cluster {arm}: {statistics['clusters']:,} clusters by {statistics['method']}, {figures}"
    for note in statistics["notes"]:
        yield f"cluster {arm}: {note}"
    if statistics["images_missing"]:
        yield f"cluster {arm}: nothing is known of {statistics['images_missing']:,} images (cluster.missing)"
    for finding in statistics["findings"]:
        yield f"cluster {arm}: {finding['code']}: {finding['sentence']} {finding['cure']}"
