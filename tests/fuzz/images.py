"""Bytes to the image checker: `ImageRefused`, or something that training can decode."""

import sys
import time
from contextlib import suppress

import atheris

with atheris.instrument_imports(include=["pipeline.ingest"]):
    from pipeline.ingest import decoding
    from pipeline.ingest import prepare as images

import numpy as np

from pipeline.dataset.pixels import decode_center

SIZE = 128
MOST_SECONDS = 5


def check(data: bytes) -> None:
    started = time.process_time()
    with suppress(decoding.ImageRefused):
        prepared = images.prepare_image(data, SIZE, look=True)
        decode_center(prepared.encoded, np.array([prepared.height, prepared.width]))
    assert time.process_time() - started < MOST_SECONDS, "too slow"


def seeds() -> list[bytes]:
    """One file of each kind to begin with; the tests' hostile ones lead further in."""
    sys.path.insert(0, "tests")
    import tempfile
    from pathlib import Path

    from ingest.hostile import FILES

    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name, case in FILES.items():
            path = Path(folder) / name
            case.make(path)
            if path.stat().st_size < 10_000:
                found.append(path.read_bytes())
    return found


def main() -> None:
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(seeds()):
            (Path(corpus) / str(number)).write_bytes(seed)
        # The fuzzer itself grows by some kilobytes a run; what an image may take, other tests measure.
        limits = ["-max_len=12000", "-rss_limit_mb=8192"]
        atheris.Setup([sys.argv[0], corpus, *limits, *sys.argv[1:]], check)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
