"""What was prepared is not prepared again, and what comes out does not depend on how often it was killed."""

import csv
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.ingest import chunk_files
from pipeline.ingest import chunks as parts_module
from pipeline.ingest import prepare as images
from pipeline.ingest.chunk_files import chunk_folder, is_whole, read_chunk, refusals_of
from pipeline.ingest.chunks import Row, Task, chunk_name, cut, prepare_chunk
from pipeline.ingest.parallel import prepared_chunks
from pipeline.runtime.errors import UserError
from pipeline.sources.base import Refusal, SourceRow
from pipeline.storage.schema import ValueRange, images_schema
from pipeline.untrusted.isolation.limits import CRASHED, TOO_SLOW
from pipeline.untrusted.safe_paths import SafePath
from support import REPOSITORY, png

TASK = Task(images_schema([]), 32, look=True)
KILLER = b"kills the process by signal "


def rows_of(count: int) -> list[Row]:
    return [SourceRow(f"{n}", png(n), f"{n}.png") for n in range(count)]


def log_and_prepare(rows: Sequence[Row], task: Task, path: Path) -> None:
    """In a worker. Each part that is made becomes a line of the file `log`, as does each image."""
    log_of_images(path.with_name("log"))
    with path.with_name("log").open("a") as log:
        log.write(f"{path.name}\n")
    prepare_chunk(rows, task, path)


def prepare_in_pieces(rows: Sequence[Row], task: Task, path: Path) -> None:
    """In a worker. Each row is a piece; those whose image says so end the process."""
    log_of_images(path.with_name("log"))
    parts_module.SECONDS_PER_PIECE = parts_module.SECONDS_AFTER_A_DEATH = -1.0
    prepare_chunk(rows, task, path)


def log_of_images(path: Path) -> None:
    def prepare(image: bytes, size: int, value_range: None, *, look: bool) -> images.PreparedImage:
        with path.open("a") as log:
            log.write(f"image {sha256(image).hexdigest()}\n")
        if image.startswith(KILLER):
            os.kill(os.getpid(), int(image.removeprefix(KILLER)))
        return images.prepare_image(image, size, value_range, look=look)

    # For as long as the worker lives.
    pytest.MonkeyPatch().setattr(parts_module, "prepare_image", prepare)


def test_parts_are_cut_by_rows_and_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts_module, "ROWS_PER_CHUNK", 10)
    assert [len(part) for part in cut(rows_of(25))] == [10, 10, 5]
    monkeypatch.setattr(parts_module, "BYTES_PER_CHUNK", 1)
    assert [len(part) for part in cut(rows_of(3))] == [1, 1, 1]
    assert list(cut([])) == []


def said(row: int, **auxiliary: Any) -> SourceRow:
    return SourceRow(str(row), SafePath(Path("a.png")), f"{row}.png", **auxiliary)


HEAVY: dict[str, Callable[[int], SourceRow]] = {
    "columns": lambda row: said(row, attributes=dict.fromkeys(map(str, range(1000)), "yes")),
    "empty-columns": lambda row: said(row, attributes=dict.fromkeys(map(str, range(1500)))),
    "texts": lambda row: said(row, attributes={"a": "x" * 30_000, "b": "x" * 30_000}),
    "wide-texts": lambda row: said(row, attributes={"a": "\U0001f600" * 15_000}),
    "hashtags": lambda row: said(row, hashtags=["#"] * 1000),
    "hierarchy": lambda row: said(row, hierarchy=[f"level {level}" for level in range(1000)]),
    "label": lambda row: said(row, label="x" * 60_000),
    "image": lambda row: SourceRow(str(row), bytes(60_000), f"{row}.png"),
}


@pytest.mark.parametrize("row_of", HEAVY.values(), ids=HEAVY)
def test_parts_are_cut_by_what_tables_say(
    monkeypatch: pytest.MonkeyPatch, row_of: Callable[[int], SourceRow]
) -> None:
    monkeypatch.setattr(parts_module, "BYTES_PER_CHUNK", 1_000_000)
    rows = list(map(row_of, range(100)))
    parts = list(cut(rows))
    assert list(chain.from_iterable(parts)) == rows
    assert 3 <= len(parts) <= 20
    assert len(list(cut([said(row) for row in range(1000)]))) == 1


def test_parts_of_other_code_are_not_taken() -> None:
    names = {path.relative_to(REPOSITORY).as_posix() for path in parts_module._sources()}
    assert names > {"pipeline/ingest/prepare.py", "pipeline/untrusted/isolation/limits.py"}


def test_a_part_is_named_by_all_that_it_follows_from(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(png(1))
    row = SourceRow("a", SafePath(file), "a.png", label="cat")
    name = chunk_name([row], TASK)
    assert chunk_name([SourceRow("a", SafePath(file), "a.png", label="cat")], TASK) == name
    others = [
        chunk_name([SourceRow("a", SafePath(file), "a.png", label="dog")], TASK),
        chunk_name([row], Task(TASK.schema, 64, look=True)),
        chunk_name([row], Task(TASK.schema, 32, look=False)),
        chunk_name([row], Task(TASK.schema, 32, look=True, value_range=ValueRange(0, 4095))),
        chunk_name([row, Refusal("b", "no image")], TASK),
    ]
    os.utime(file, ns=(0, 0))
    others.append(chunk_name([row], TASK))
    file.write_bytes(png(1) + b"longer")
    os.utime(file, ns=(0, 0))
    others.append(chunk_name([row], TASK))
    other = tmp_path / "b.png"
    other.write_bytes(png(1) + b"larger")
    os.utime(other, ns=(0, 0))
    other.replace(file)
    others.append(chunk_name([row], TASK))
    file.unlink()
    others.append(chunk_name([row], TASK))
    assert len({name, *others}) == 1 + len(others)


def test_whole_parts_are_taken_and_damaged_ones_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts_module, "ROWS_PER_CHUNK", 4)
    monkeypatch.setenv("CLINFONCE_WORKERS", "1")

    def paths_of_run() -> list[Path]:
        log = tmp_path / "log"
        names = [line for line in log.read_text().splitlines() if line.endswith(".arrow")]
        log.unlink()
        return [tmp_path / name for name in names]

    first = list(prepared_chunks(rows_of(10), TASK, tmp_path, prepare=log_and_prepare))
    assert paths_of_run() == first
    content = first[1].read_bytes()
    first[1].write_bytes(content[:-100])
    first[2].unlink()
    assert not is_whole(first[1])
    assert list(prepared_chunks(rows_of(10), TASK, tmp_path, prepare=log_and_prepare)) == first
    assert paths_of_run() == first[1:]
    assert first[1].read_bytes() == content


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("rows_a_part", [4, 10])
def test_an_image_that_kills_its_process_is_refused_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: str, rows_a_part: int
) -> None:
    monkeypatch.setattr(parts_module, "ROWS_PER_CHUNK", rows_a_part)
    monkeypatch.setenv("CLINFONCE_WORKERS", workers)
    rows = rows_of(10)
    rows[3] = Refusal("3.png", "it was refused before")
    killed = {0: signal.SIGSEGV, 5: signal.SIGABRT, 6: signal.SIGPROF, 9: signal.SIGKILL}
    for place, number in killed.items():
        rows[place] = SourceRow(f"{place}", KILLER + b"%d" % number, f"{place}.tif")
    read = [read_chunk(path) for path in prepared_chunks(rows, TASK, tmp_path, prepare=prepare_in_pieces)]
    refusals = [refusal for part in read for refusal in refusals_of(part)]
    assert refusals == [
        Refusal("0.tif", CRASHED),
        Refusal("3.png", "it was refused before"),
        Refusal("5.tif", CRASHED),
        Refusal("6.tif", TOO_SLOW),
        Refusal("9.tif", CRASHED),
    ]
    # No image is prepared a second time but those which are suspected.
    tries = Counter(line for line in (tmp_path / "log").read_text().splitlines() if line.startswith("image"))
    assert sorted(tries.values()) == [1] * 6 + [2] * 3
    assert not list(tmp_path.glob("*.tmp"))

    monkeypatch.setattr(parts_module, "ROWS_PER_CHUNK", 10)
    (tmp_path / "innocent").mkdir()
    innocent = [row for place, row in enumerate(rows) if place not in killed]
    (alone,) = prepared_chunks(innocent, TASK, tmp_path / "innocent")
    assert pa.concat_tables([part.replace_schema_metadata() for part in read]).equals(
        read_chunk(alone).replace_schema_metadata()
    )


REFUSED, TAKEN = Refusal("0.tar", "no image"), SourceRow("a", png(1), "a.png")
ALIKE: dict[str, list[Row]] = {
    "refusals": [REFUSED] * 12,
    "refusals, the last part shorter": [REFUSED] * 10,
    "images": [TAKEN] * 12,
    "both": [REFUSED, TAKEN, REFUSED, TAKEN] * 3,
    "one that differs between": [*[REFUSED] * 4, *rows_of(4), *[REFUSED] * 4],
}


@pytest.mark.parametrize("rows", ALIKE.values(), ids=ALIKE)
def test_parts_that_are_alike_are_all_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: list[Row]
) -> None:
    monkeypatch.setattr(parts_module, "ROWS_PER_CHUNK", 4)
    monkeypatch.setenv("CLINFONCE_WORKERS", "2")
    result = list(prepared_chunks(rows, TASK, tmp_path))
    assert len(result) == len(set(result)) == 3
    assert sum(chunk_files.rows_of(read_chunk(path)) for path in result) == len(rows)
    times = [path.stat().st_mtime_ns for path in result]
    assert list(prepared_chunks(rows, TASK, tmp_path)) == result
    assert [path.stat().st_mtime_ns for path in result] == times


def die_between_images(rows: Sequence[Row], task: Task, path: Path) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_who_dies_of_no_image_costs_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the process that prepares images was killed several times"):
        list(prepared_chunks(rows_of(2), TASK, tmp_path, prepare=die_between_images))


def test_pieces_make_the_bytes_of_a_part_in_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [*rows_of(5), Refusal("no", "image"), *rows_of(2)]
    prepare_chunk(rows, TASK, tmp_path / "whole.arrow")
    monkeypatch.setattr(parts_module, "SECONDS_PER_PIECE", -1.0)
    prepare_chunk(rows, TASK, tmp_path / "pieces.arrow")
    assert (tmp_path / "whole.arrow").read_bytes() == (tmp_path / "pieces.arrow").read_bytes()


SCRIPT = """
import sys
from pathlib import Path
from pipeline.ingest import chunks as parts
from pipeline.ingest import parallel as workers
from pipeline.config.ingest import IngestParams
from pipeline.ingest.run import ingest
from pipeline.storage.schema import Layout

parts.ROWS_PER_CHUNK = 16
if __name__ == "__main__":
    params = IngestParams.model_validate(
        {"source": "manifest", "path": sys.argv[1], "image_size": 128, "max_reject_fraction": 0.5}
    )
    ingest(params, 0, Layout(Path(sys.argv[2])))
"""


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """Ingests some hundred images of 300 px, sixteen a part."""
    (tmp_path / "run.py").write_text(SCRIPT)
    source = tmp_path / "source"
    source.mkdir()
    with (source / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "label"])
        for number in range(160):
            (source / f"{number:03d}.png").write_bytes(
                b"no image" if number == 70 else png(number % 150, 200, 200)
            )
            writer.writerow([f"{number:03d}.png", str(number % 3)])
    return [sys.executable, str(tmp_path / "run.py"), str(source / "manifest.csv")]


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "images").iterdir())}


@pytest.mark.parametrize("count", ["1", "2"])
def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(
    command: list[str], tmp_path: Path, state: Path, count: str
) -> None:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "CLINFONCE_WORKERS": count}
    subprocess.run([*command, str(tmp_path / "undisturbed")], env=environment, check=True, timeout=120)
    assert list(state.iterdir()) == []

    killed = [*command, str(tmp_path / "killed")]
    with subprocess.Popen(killed, env=environment) as process:
        deadline = time.monotonic() + 100
        while len(list(state.glob("*/*.arrow"))) < 3:
            assert process.poll() is None, "ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.kill()
    assert not (tmp_path / "killed/images").exists()
    # Its workers end with it, and leave nothing half-written under a part's name.
    time.sleep(1.0)
    survived = {path: path.stat().st_mtime_ns for path in state.glob("*/*.arrow")}
    assert 3 <= len(survived) < 10
    assert all(map(is_whole, survived))

    with subprocess.Popen(killed, env=environment) as process:
        seen: dict[Path, int] = {}
        while process.poll() is None:
            for path in survived:
                try:
                    seen[path] = path.stat().st_mtime_ns
                except FileNotFoundError:
                    continue
            time.sleep(0.01)
    assert process.returncode == 0
    assert all(seen[path] == survived[path] for path in seen)
    assert seen
    assert list(state.iterdir()) == []
    assert bytes_of(tmp_path / "killed") == bytes_of(tmp_path / "undisturbed")
    assert list((tmp_path / "killed").iterdir()) == [tmp_path / "killed/images"]


def test_two_runs_at_once_do_not_share_a_folder(state: Path) -> None:
    with chunk_folder("same") as first, chunk_folder("same") as second:
        assert first != second
    assert list(state.iterdir()) == []


@pytest.mark.parametrize("variable", ["CLINFONCE_STATE_DIR", "DVC_ROOT"])
def test_a_folder_whose_name_is_not_utf_8_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """Arrow, which writes the chunks, takes no such path."""
    monkeypatch.delenv("CLINFONCE_STATE_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(variable, os.fsdecode(bytes(tmp_path / "state") + b"\xff"))
    sentence = r"udcff.* is not UTF-8.*: set CLINFONCE_STATE_DIR to another"
    with pytest.raises(UserError, match=sentence), chunk_folder("any"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_failed_run_keeps_its_parts(state: Path) -> None:
    def fail() -> None:
        with chunk_folder("same") as folder:
            (folder / "a.arrow").write_bytes(b"part")
            raise UserError("too many were refused")

    with pytest.raises(UserError):
        fail()
    assert [path.name for path in state.glob("*/*.arrow")] == ["a.arrow"]
