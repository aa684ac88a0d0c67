"""The split into train and test images, where a source names none."""

from collections import defaultdict
from collections.abc import Sequence

from pipeline.sources.base import Split


def split_by_content(
    content_hashes: Sequence[bytes], labels: Sequence[str | None], test_fraction: float
) -> list[Split]:
    """Assigns `test_fraction` of the distinct images of each label to test, at least one of two or more.

    Images with equal content stay together (under the smallest of their labels), and the choice depends on
    their content alone: neither order nor additions to other labels change it.
    """
    label_of: dict[bytes, str] = {}
    for content, label in zip(content_hashes, labels, strict=True):
        # "" stands for unknown, and sorts before every label.
        label_of[content] = min(label_of.get(content, label or ""), label or "")
    contents_of: dict[str, list[bytes]] = defaultdict(list)
    for content, label in label_of.items():
        contents_of[label].append(content)
    test: set[bytes] = set()
    for label, contents in contents_of.items():
        requested = round(len(contents) * test_fraction)
        if label and len(contents) > 1:
            requested = min(max(1, requested), len(contents) - 1)
        test.update(sorted(contents)[:requested])
    return ["test" if content in test else "train" for content in content_hashes]
