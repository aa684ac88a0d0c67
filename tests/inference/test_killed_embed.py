"""SIGKILL at any moment of an embedding, and what else must not be taken for its beginning."""

import os
import random
import signal
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from inference.conftest import MakeEncoder
from pipeline.inference import chunks as parts_module
from pipeline.inference import embedder as ranges
from pipeline.inference.chunks import write_chunk
from pipeline.inference.embed import embed
from pipeline.inference.embedder import Request
from pipeline.inference.images.base import state_of_file
from pipeline.runtime.console import terminal
from pipeline.runtime.errors import UserError
from pipeline.untrusted.safe_paths import SafePath
from processes import started
from support import png

pytestmark = [pytest.mark.faults, pytest.mark.slow]

IMAGES, A_PART = 60, 4
KILLS = 8


def run(source: Path, output: Path, encoder: Path, seconds_a_part: float = 0.0) -> None:
    """`clinfonce embed` in small parts, which may be slowed down so that there is something to kill."""
    parts_module.IMAGES_PER_CHUNK = A_PART

    def slow(*arguments: Any) -> None:
        time.sleep(seconds_a_part)
        write_chunk(*arguments)

    # For as long as the process lives.
    pytest.MonkeyPatch().setattr(ranges, "write_chunk", slow)
    with (output.parent / "said.txt").open("a") as said:
        embed(Request(source, None, None, encoder, None), output, terminal(file=said))


def start(*arguments: Any) -> BaseProcess:
    # All runs are children of one server: the fingerprint covers the modules that are loaded.
    return started(run, *arguments)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(IMAGES):
        # Some cannot be used: what was refused before the kill must be listed after it.
        content = b"no image" if number % 17 == 3 else png(number, 20, 20)
        (folder / f"{number:03d}.png").write_bytes(content)
    return folder


def finish(process: BaseProcess) -> None:
    process.join(120)
    assert process.exitcode == 0


def results(output: Path) -> tuple[bytes, bytes]:
    return output.read_bytes(), output.with_name(f"{output.name}.rejects.csv").read_bytes()


def parts_of(output: Path) -> list[Path]:
    return sorted(output.with_name(f"{output.name}.parts").glob("*/*.chunk"))


def kill_after(parts: int, process: BaseProcess, output: Path) -> None:
    deadline = time.monotonic() + 60
    while len(parts_of(output)) < parts and process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.002)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(30)
    assert process.exitcode == -signal.SIGKILL


def test_killed_at_any_moment_it_ends_with_the_same_bytes(
    make_encoder: MakeEncoder, pictures: Path, tmp_path: Path
) -> None:
    encoder, output = make_encoder(), tmp_path / "vectors.parquet"
    finish(start(pictures, output, encoder))
    undisturbed = results(output)
    output.unlink()
    lot, reused = random.Random(0), 0  # noqa: S311 - not for secrets
    for _ in range(KILLS):
        before = {path: path.stat().st_mtime_ns for path in parts_of(output)}
        process = start(pictures, output, encoder, 0.05)
        kill_after(min(len(before) + lot.randint(0, 2), IMAGES // A_PART - 1), process, output)
        after = {path: path.stat().st_mtime_ns for path in parts_of(output)}
        # What was made is not made again.
        assert before.items() <= after.items()
        reused += len(before)
        assert not output.exists()
    assert reused > KILLS
    finish(start(pictures, output, encoder))
    assert results(output) == undisturbed
    assert "going on: " in (tmp_path / "said.txt").read_text()
    assert not output.with_name("vectors.parquet.parts").exists()


@pytest.fixture
def interrupted(make_encoder: MakeEncoder, pictures: Path, tmp_path: Path) -> Path:
    """The output of an embedding that was killed after some parts."""
    output = tmp_path / "vectors.parquet"
    kill_after(3, start(pictures, output, make_encoder(), 0.05), output)
    assert len(parts_of(output)) >= 3
    return output


def made_anew(pictures: Path, encoder: Path, folder: Path) -> tuple[bytes, bytes]:
    folder.mkdir()
    finish(start(pictures, folder / "vectors.parquet", encoder))
    return results(folder / "vectors.parquet")


def test_parts_of_another_encoder_are_not_reused(
    interrupted: Path, make_encoder: MakeEncoder, pictures: Path, tmp_path: Path
) -> None:
    other = make_encoder(seed=1)
    finish(start(pictures, interrupted, other))
    assert results(interrupted) == made_anew(pictures, other, tmp_path / "anew")
    assert "going on" not in (tmp_path / "said.txt").read_text()


def test_parts_of_other_images_are_not_reused(interrupted: Path, pictures: Path, tmp_path: Path) -> None:
    encoder = tmp_path / "data/encoders/chosen"
    (pictures / "001.png").write_bytes(png(1000, 20, 20))
    finish(start(pictures, interrupted, encoder))
    assert results(interrupted) == made_anew(pictures, encoder, tmp_path / "anew")


def test_an_image_that_is_replaced_by_one_of_the_same_size_and_time_is_another(tmp_path: Path) -> None:
    """As `rsync -t` does with pictures that are not compressed."""
    file = tmp_path / "a.bmp"
    states = []
    for colour in ("red", "blue"):
        fresh = tmp_path / f"{colour}.bmp"
        Image.new("RGB", (8, 8), colour).save(fresh)
        os.utime(fresh, ns=(0, 0))
        fresh.replace(file)
        states.append(state_of_file(SafePath(file)))
    assert states[0] != states[1]
    assert state_of_file(SafePath(file)) == states[1]


def test_a_damaged_part_is_made_again(interrupted: Path, pictures: Path, tmp_path: Path) -> None:
    part = parts_of(interrupted)[1]
    part.write_bytes(part.read_bytes()[:100])
    encoder = tmp_path / "data/encoders/chosen"
    finish(start(pictures, interrupted, encoder))
    assert results(interrupted) == made_anew(pictures, encoder, tmp_path / "anew")
    assert "going on" in (tmp_path / "said.txt").read_text()


def test_one_process_at_a_time(make_encoder: MakeEncoder, pictures: Path, tmp_path: Path) -> None:
    encoder, output = make_encoder(), tmp_path / "vectors.parquet"
    process = start(pictures, output, encoder, 0.3)
    while not parts_of(output):
        time.sleep(0.01)
    with pytest.raises(UserError, match=rf"process {process.pid} is embedding into .* already"):
        embed(Request(pictures, None, None, encoder, None), output, terminal(quiet=True))
    kill_after(0, process, output)


def test_what_is_there_already_is_not_made_again(
    make_encoder: MakeEncoder, pictures: Path, tmp_path: Path
) -> None:
    encoder, output = make_encoder(), tmp_path / "vectors.parquet"
    for _ in range(2):
        finish(start(pictures, output, encoder))
    said = (tmp_path / "said.txt").read_text()
    assert said.count("images/s") == 1
    assert "holds the vectors of these images already" in said
    assert not output.with_name("vectors.parquet.parts").exists()
