"""Notes on images whose file holds more than is stored."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.runtime.sanitize import shortened


def frame_notes(further_frames_N: NDArray[np.bool_], ids: pa.ChunkedArray) -> list[str]:
    """Returns a note on the images whose file holds further frames, with the first of them."""
    rows = np.flatnonzero(further_frames_N)
    if not len(rows):
        return []
    return [
        f"{len(rows):,} images have further pages or frames, such as {_shown(ids, rows)}, and only the first "
        "is used: save each as an image of its own where the others matter"
    ]


def _shown(ids: pa.ChunkedArray, rows: NDArray[np.intp]) -> str:
    return shortened(ids[int(rows[0])].as_py(), 60)
