"""Notes on equal images whose labels differ."""

import numpy as np
from numpy.typing import NDArray

NEARLY_ALL = 0.9995
"""Share from which on it is printed as 100.0 %."""


def contradiction_notes(
    contents_N2: NDArray[np.uint64], labels_N: NDArray[np.integer], blank_N: NDArray[np.bool_]
) -> list[str]:
    """Returns a note on labelled images that equal others with another label, and the accuracy it leaves.

    Blank images are not compared: those are equal for another reason than their labels, and have their note.
    """
    images, blank = len(labels_N), int(np.count_nonzero(blank_N))
    contents_N2, labels_N = contents_N2[~blank_N], labels_N[~blank_N]
    _, contents_N = np.unique(contents_N2, axis=0, return_inverse=True)
    pairs_P2, images_P = np.unique(np.stack([contents_N.ravel(), labels_N], 1), axis=0, return_counts=True)
    _, first_C, labels_C = np.unique(pairs_P2[:, 0], return_index=True, return_counts=True)
    if not (labels_C > 1).any():
        return []
    several_C = np.add.reduceat(images_P, first_C)[labels_C > 1]
    reachable = (blank + int(np.maximum.reduceat(images_P, first_C).sum())) / images
    limit = (
        f"at most {reachable:.1%} of the labelled images can be classified rightly, as "
        if reachable < NEARLY_ALL
        else ""
    )
    return [
        f"{several_C.sum():,} labelled images are exact copies of {len(several_C):,}, whose labels differ: "
        f"{limit}only one label per image is supported"
    ]
