"""Baselines of the accuracy: guessing from the labels alone, and the highest possible accuracy."""

from collections import Counter
from collections.abc import Mapping, Sequence

from pipeline.storage.schema import Baselines


def baselines(train_labels: Sequence[str], test_labels: Sequence[str]) -> Baselines:
    """Returns accuracies on `test_labels` that need no image, as fractions. Neither sequence is empty.

    Guessing is uniform over the labels of train.
    """
    in_train = Counter(train_labels)
    in_test = Counter(test_labels)
    majority = majority_label(in_train)
    reachable = sum(images for label, images in in_test.items() if label in in_train)
    return {
        "chance_top1": reachable / len(test_labels) / len(in_train),
        "majority_top1": in_test[majority] / len(test_labels),
        "reachable_top1": reachable / len(test_labels),
    }


def majority_label(train_images: Mapping[str, int]) -> str:
    """Returns the most frequent label, ties by name. `train_images` counts images by label."""
    return min(train_images, key=lambda label: (-train_images[label], label))
