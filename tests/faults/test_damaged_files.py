"""Any damage of a file between stages is reported with the command that repairs it, or changes nothing.

`CLINFONCE_FAULTS=20` also damages every file of a project, and repairs each as the sentence says.
"""

import json
import random
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.dataset.assignments import read_assignments, write_assignments
from pipeline.dataset.dataset import ImageSplit
from pipeline.ingest.shard_writer import write_shard
from pipeline.runtime.errors import UserError
from pipeline.storage.checksums import is_unbroken, write_checksummed
from pipeline.storage.schema import ASSIGNMENTS_SCHEMA, IngestSummary, images_schema
from pipeline.storage.validation import check_csv, damaged, open_parquet, read_json, read_parquet
from project import Project
from stage_runs import Workshop, strength
from support import png, write_summary

pytestmark = [pytest.mark.faults, pytest.mark.slow]

BYTES = 400
"""So many bytes of a file are changed, each alone."""
CURE = "run `clinfonce repair {path}` and then `dvc repro`"


def shards(images: Path, split: str) -> list[Path]:
    return ImageSplit(images, split).shards


def damage(path: Path, why: str) -> str:
    return f"{re.escape(str(path))} is damaged \\({why}.*\\): {re.escape(CURE.format(path=path))}"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Two shards of 40 train images, and one of 10 test images."""
    folder, schema = tmp_path / "data/images", images_schema(["colour"])
    folder.mkdir(parents=True)
    rows = [
        {
            "id": f"image {row}",
            "image": {"bytes": png(row), "path": f"{row}.png"},
            "label": ["cat", None, "dog"][row % 3],
            "hashtags": ["pet"] * (row % 3),
            "attributes": {"colour": "red" if row % 2 else None},
            "hierarchy": ["animal"],
            "width": 12,
            "height": 12,
        }
        for row in range(50)
    ]
    for number, part in enumerate([rows[:20], rows[20:40]]):
        shard = folder / f"train-{number:05d}-of-00002.parquet"
        write_shard([pa.Table.from_pylist(part, schema)], schema, shard)
    write_shard([pa.Table.from_pylist(rows[40:], schema)], schema, folder / "test-00000-of-00001.parquet")
    write_summary(folder, 40, 10, attributes=["colour"])
    return folder


def read_all(images: Path) -> pa.Table:
    """By both ways by which stages read: columns, and row groups of images."""
    table = ImageSplit(images, "train").columns(images_schema([]).names)
    stored = []
    for path in ImageSplit(images, "train").shards:
        with open_parquet(path) as file:
            for group in range(file.num_row_groups):
                stored += file.read_row_group(group, columns=["image"]).column("image").to_pylist()
    assert table.column("image").to_pylist() == stored
    return table


def with_one_byte_changed(path: Path, lot: random.Random, read: Callable[[], object]) -> int:
    """Calls `read` for many damages, which must raise or give what the whole file gives; how many raised."""
    whole, expected, found = path.read_bytes(), read(), 0
    # The end has the footer, which holds the schema, the counts and where everything lies.
    places = [lot.randrange(len(whole)) for _ in range(BYTES // 2)]
    places += [len(whole) - 1 - lot.randrange(min(len(whole), 3000)) for _ in range(BYTES // 2)]
    for place in places:
        content = bytearray(whole)
        content[place] ^= lot.randrange(1, 256)
        path.write_bytes(content)
        try:
            assert read() == expected, f"byte {place} of {len(whole)}"
        except UserError as error:
            found += "clinfonce repair" in str(error)
    path.write_bytes(whole)
    assert read() == expected
    return found


def test_a_changed_byte_of_a_shard_is_found(images: Path) -> None:
    path = images / "train-00001-of-00002.parquet"
    lot = random.Random(0)  # noqa: S311 - not for secrets
    assert with_one_byte_changed(path, lot, lambda: read_all(images)) > 0.95 * BYTES


def test_a_changed_byte_of_the_clusters_is_found(tmp_path: Path) -> None:
    """Their footer also says how training remakes them."""
    path = tmp_path / "data/clusters/chosen/assignments.parquet"
    ids = pa.array([f"image {row}" for row in range(300)])
    write_assignments(path, ids, np.arange(300) % 7, {"clusters": 7, "min_points": 10})

    def read() -> object:
        found = read_assignments(path)
        return found.ids, found.clusters_N.tolist(), found.recluster

    lot = random.Random(1)  # noqa: S311 - not for secrets
    assert with_one_byte_changed(path, lot, read) == BYTES


def test_other_readers_take_sealed_files_for_ordinary_ones(tmp_path: Path) -> None:
    table = pa.table({"id": ["a", "b"], "cluster": [0, 1]}, schema=ASSIGNMENTS_SCHEMA)
    write_checksummed(table, tmp_path / "sealed.parquet")
    assert is_unbroken(tmp_path / "sealed.parquet")
    assert pq.read_table(tmp_path / "sealed.parquet", page_checksum_verification=True).equals(table)
    pq.write_table(table, tmp_path / "unsealed.parquet")
    assert not is_unbroken(tmp_path / "unsealed.parquet")


@pytest.mark.parametrize("kept", [0, 3, 8, 500, -1, -9])
def test_a_cut_table_is_reported(images: Path, kept: int) -> None:
    path = images / "train-00000-of-00002.parquet"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match=damage(path, "its bytes are not" if kept else "it is empty")):
        shards(images, "train")


def test_a_lost_shard_is_reported(images: Path) -> None:
    (images / "train-00000-of-00002.parquet").unlink()
    with pytest.raises(UserError, match=damage(images, "it lacks train-00000-of-00002.parquet")):
        shards(images, "train")


def test_a_shard_of_another_run_is_reported(images: Path) -> None:
    (images / "test-00000-of-00003.parquet").write_bytes(b"")
    with pytest.raises(UserError, match=damage(images, ".*test-00000-of-00003.parquet belongs to other")):
        shards(images, "test")


def test_a_number_of_images_that_differs_is_reported(images: Path) -> None:
    write_summary(images, 41, 10, attributes=["colour"])
    with pytest.raises(UserError, match=damage(images, "its train shards hold 40 images, .* counts 41")):
        shards(images, "train")


def test_another_schema_is_reported(images: Path) -> None:
    path = images / "test-00000-of-00001.parquet"
    table = pq.read_table(path)
    write_checksummed(table.drop_columns(["label"]), path)
    with pytest.raises(UserError, match=damage(path, "it has no column label")):
        shards(images, "test")
    wide = table.set_column(6, "width", table.column("width").cast(pa.int64()))
    write_checksummed(wide, path)
    with pytest.raises(UserError, match=damage(path, "its column width holds int64 and not int32")):
        shards(images, "test")


def test_a_damaged_summary_is_reported(images: Path) -> None:
    path = images / "summary.json"
    text = path.read_text()
    for content, why in [
        ("", "it is empty"),
        (text[: len(text) // 2], ""),
        ("[]", "Input should be"),
        (json.dumps(json.loads(text) | {"mean": "grey"}), "mean: Input should be a valid list"),
        (json.dumps({key: value for key, value in json.loads(text).items() if key != "images"}), "images: "),
    ]:
        path.write_text(content)
        with pytest.raises(UserError, match=damage(path, why)):
            shards(images, "train")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=damage(path, "'utf-8' codec")):
        read_json(path, IngestSummary)
    path.unlink()
    with pytest.raises(UserError, match=r"summary\.json is missing: run `dvc repro`"):
        shards(images, "train")


def test_a_cut_list_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    whole = "epoch,loss\n1,0.5\n2,0.4\n"
    for content, why in [
        ("", "it is empty"),
        ("epoch\n1\n", "it has no column loss"),
        (whole[:-3], "its last line is cut"),
        ("epoch,loss\n1\n", "line 2 has 1 of 2 cells"),
    ]:
        path.write_text(content)
        with pytest.raises(UserError, match=damage(path, why)):
            check_csv(path, ["epoch", "loss"])
    path.write_text(whole)
    assert check_csv(path, ["epoch", "loss"]) == 2


def test_a_fault_of_the_machine_is_no_damage(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_path: Path) -> bool:
        raise PermissionError(13, "Permission denied", "summary")

    monkeypatch.setattr("pipeline.storage.validation.is_unbroken", refuse)
    with pytest.raises(PermissionError):
        read_parquet(images / "test-00000-of-00001.parquet", columns=["id"])
    assert "clinfonce repair x" in str(damaged(Path("x"), "why"))


READERS = {
    "images": ["cluster", "pretrain", "evaluate", "report"],
    "clusters": ["pretrain", "report"],
    "encoders": ["evaluate", "report"],
    "evaluations": ["report"],
}


@pytest.mark.parametrize("folder", READERS)
def test_a_stage_with_a_changed_byte_ends_in_a_sentence_or_in_the_same_bytes(
    undisturbed: Workshop, workshop: Workshop, folder: str
) -> None:
    lot = random.Random(f"changed {folder}")  # noqa: S311 - not for secrets
    binary = [*(workshop.root / "data" / folder).rglob("*.parquet")]
    binary += (workshop.root / "data" / folder).rglob("*.safetensors")
    for number in range(strength()):
        path = sorted(binary)[number % len(binary)]
        content = path.read_bytes()
        changed = bytearray(content)
        changed[lot.randrange(len(content))] ^= lot.randrange(1, 256)
        path.write_bytes(changed)
        for stage in READERS[folder][: None if strength() > 1 else 1]:
            workshop.take_away(stage)
            ended = workshop.run(stage)
            assert ended in (0, 2), workshop.said
            if ended == 2:
                assert "clinfonce repair data/" in workshop.said
                assert "Traceback" not in workshop.said
                assert not workshop.outputs(stage)
                workshop.bring_back(stage, undisturbed)
            else:
                assert workshop.outputs(stage) == undisturbed.outputs(stage)
        path.write_bytes(content)


DAMAGED = ["data/clusters/chosen/assignments.parquet"]
"""A hard link to DVC's cache, where there are such links: the cache is damaged, too."""
ALL_DAMAGED = [
    *DAMAGED,
    "data/clusters/instance/statistics.json",
    "data/clusters/chosen/landscape.csv",
    "data/images/train-00000-of-00001.parquet",
    "data/images/summary.json",
    "data/encoders/label/config.json",
    "data/encoders/chosen/history.csv",
    "data/evaluations/chosen/map.parquet",
    "data/evaluations/chosen/metrics.json",
]


@pytest.mark.parametrize("name", ALL_DAMAGED if strength() > 1 else DAMAGED)
def test_what_the_sentence_says_repairs_it(project: Project, name: str) -> None:
    path = project.root / name
    undisturbed = bytes_of(project)
    content = path.read_bytes()
    path.chmod(0o644)
    with path.open("rb+") as file:
        # In its place, so that all names of these bytes are damaged.
        file.truncate(len(content) // 2)
    refused = project.run("python", "stages/report.py", check=False)
    assert refused.returncode == 2, refused.stdout + refused.stderr
    (sentence,) = [line for line in refused.stderr.splitlines() if line.startswith("error: ")]
    first, then = re.findall("`(.*?)`", sentence)
    requested = project.run(*shlex.split(first), check=False)
    assert requested.returncode == 2
    assert "add --yes" in requested.stderr
    assert path.exists()
    project.run(*shlex.split(first), "--yes")
    project.run(*shlex.split(then))
    assert bytes_of(project) == undisturbed
    assert "up to date" in project.run("dvc", "status").stdout


def bytes_of(project: Project) -> dict[Path, bytes]:
    """Of all outputs but those that hold how long something took."""
    told_of_time = {"timing.csv", "report.html", "report.md"}
    files = sorted(path for path in project.root.glob("data/**/*") if path.is_file())
    return {path: path.read_bytes() for path in files if path.name not in told_of_time}
