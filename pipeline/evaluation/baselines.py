"""What accuracy means on given labels: what guessing reaches, and the most that any classifier can."""

from collections import Counter
from collections.abc import Sequence

from pipeline.schema import Baselines


def baselines(train_labels: Sequence[str], test_labels: Sequence[str]) -> Baselines:
    """Accuracies on `test_labels` that need no image, as fractions. Neither sequence is empty.

    Guessing draws evenly among the labels that train has. Of equally frequent train labels the majority is
    the first by name.
    """
    in_train = Counter(train_labels)
    in_test = Counter(test_labels)
    majority = min(in_train, key=lambda label: (-in_train[label], label))
    reachable = sum(images for label, images in in_test.items() if label in in_train)
    return {
        "chance_top1": reachable / len(test_labels) / len(in_train),
        "majority_top1": in_test[majority] / len(test_labels),
        "reachable_top1": reachable / len(test_labels),
    }
