"""Notes on images with further frames or a single color, and the check that train images differ."""

from collections import Counter

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.ingest.index import SEVERAL_COLORS
from pipeline.runtime.errors import UserError
from pipeline.runtime.sanitize import shortened

BLACK, WHITE = 0x000000, 0xFFFFFF
SEPARATE = "only the first is used: save each as an image of its own where the others matter"
NAMES = {BLACK: "black", WHITE: "white"}


def frame_notes(further_frames_N: NDArray[np.bool_], ids: pa.ChunkedArray) -> list[str]:
    """Returns a note on the images whose file holds further frames, with the first of them."""
    rows = np.flatnonzero(further_frames_N)
    if not len(rows):
        return []
    return [f"{len(rows):,} images have further pages or frames, such as {_shown(ids, rows)}, and {SEPARATE}"]


def blank_notes(single_colors_N: NDArray[np.int32], ids: pa.ChunkedArray) -> list[str]:
    """Returns a note on the images of a single color, with the first of them.

    `single_colors_N`: see `ImageIndex`.
    """
    rows = np.flatnonzero(single_colors_N != SEVERAL_COLORS)
    if not len(rows):
        return []
    counts = Counter(NAMES.get(color, "of other colors") for color in single_colors_N[rows].tolist())
    of_color = ", ".join(f"{count:,} {name}" for name, count in counts.most_common())
    return [
        f"{len(rows):,} images have a single color after decoding ({of_color}), such as {_shown(ids, rows)}, "
        f"and show nothing: {_cure(counts[NAMES[WHITE]] > 0)}"
    ]


def check_train_differs(
    contents_N2: NDArray[np.uint64],
    single_colors_N: NDArray[np.int32],
    further_frames_N: NDArray[np.bool_],
    train_N: NDArray[np.bool_],
    ids: pa.ChunkedArray,
) -> None:
    """Raises `UserError` if all of several train images are one and the same, of whatever size if blank."""
    rows = np.flatnonzero(train_N)
    if len(rows) < 2:
        return
    contents_N2, colors_N = contents_N2[rows], single_colors_N[rows]
    color = int(colors_N[0])
    is_blank = color != SEVERAL_COLORS and bool((colors_N == color).all())
    if not is_blank and (contents_N2 != contents_N2[0]).any():
        return
    what = f" of the single color #{color:06x}" if is_blank else ""
    cure = _cure(color == WHITE) if is_blank else "give ingest.path images that differ"
    if further_frames_N[rows].any():
        cure = f"of their pages or frames {SEPARATE}"
    raise UserError(
        f"all {len(rows):,} train images are one and the same picture{what}, such as {_shown(ids, rows)}, of "
        f"which nothing can be learned: {cure}"
    )


def _cure(white: bool) -> str:
    if not white:
        return "look how they were exported, and leave out what is blank"
    return (
        "transparent pixels are stored as white, so put a darker background behind white drawings, and leave "
        "out what is blank"
    )


def _shown(ids: pa.ChunkedArray, rows: NDArray[np.intp]) -> str:
    return shortened(ids[int(rows[0])].as_py(), 60)
