"""Embedding as a whole: equal to evaluation's features, told in a file that another program can trust."""

import csv
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from typer.testing import CliRunner, Result

from inference.conftest import MakeEncoder
from pipeline.cli import app
from pipeline.dataset.dataset import ImageSplit
from pipeline.dataset.pixels import load_pixels
from pipeline.evaluation.features import features_of, features_of_batch, load_encoder
from pipeline.inference import batching as batches_module
from pipeline.inference import chunks as parts_module
from pipeline.inference.batching import batch_size_for
from pipeline.inference.vectors import Vectors
from pipeline.ingest.run import ingest
from pipeline.storage.files import read_json, sha256_of_file
from pipeline.storage.schema import Layout
from support import params_with, png

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["embed", *map(str, arguments)])


def embedded(*arguments: object) -> None:
    result = run(*arguments)
    assert result.exit_code == 0, result.output


def vectors_in(path: Path, feature_dim: int = 512) -> dict[str, np.ndarray]:
    table = pq.read_table(path)
    kind = table.schema.field("vector").type
    assert table.schema.names == ["id", "vector"]
    assert table.schema.field("id").type == pa.string()
    assert (kind.value_type, kind.list_size) == (pa.float32(), feature_dim)
    vectors_ND = table.column("vector").combine_chunks().flatten().to_numpy().reshape(-1, feature_dim)
    return dict(zip(table.column("id").to_pylist(), vectors_ND, strict=True))


def evaluations_features(layout: Layout) -> dict[str, np.ndarray]:
    trained = load_encoder(layout.encoder("chosen"), CPU)
    found: dict[str, np.ndarray] = {}
    for split in ("train", "test"):
        store = load_pixels(ImageSplit(layout.images, split))
        found |= zip(store.ids, features_of(trained, store, CPU).numpy(), strict=True)
    return found


def assert_equal(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert set(found) == set(expected)
    for name, vector_D in expected.items():
        np.testing.assert_allclose(found[name], vector_D, rtol=1e-5, atol=1e-5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images of several sizes at several depths, with things between them that are none."""
    root = tmp_path / "pictures"
    for place, number in (("b/2.PNG", 2), ("a.png", 0), ("b/1.png", 1), ("c/d/é.png", 3), ("b10.png", 4)):
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_bytes(png(number, width=20 + 15 * number, height=60 - 10 * number))
    (root / "notes.txt").write_text("no image")
    (root / ".hidden.png").write_bytes(png(9))
    (root / "folder.png").mkdir()
    return root


@pytest.mark.parametrize("image_size", [12, 80])
def test_it_equals_the_evaluation(
    make_encoder: MakeEncoder,
    manifest: Callable[..., Path],
    layout: Layout,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    image_size: int,
) -> None:
    """Above 64 pixels ingest stores JPEG, which must be neither left out nor done twice."""
    path = manifest(24)
    for number, (width, height) in enumerate([(300, 90), (81, 200), (100, 100), (30, 40)]):
        (path.parent / f"images/{number:03d}.png").write_bytes(png(number, width, height))
    source = {"source": "manifest", "path": str(path), "image_size": image_size}
    ingest(params_with(ingest=source).ingest, 0, layout)
    make_encoder(image_size=image_size)
    ingest(params_with(ingest=source).ingest, 0, layout)
    monkeypatch.chdir(tmp_path)
    expected = evaluations_features(layout)
    assert len(expected) == 24
    embedded("data/images", "-o", "stored.parquet")
    assert_equal(vectors_in(tmp_path / "stored.parquet"), expected)
    embedded(path.parent, "-o", "originals.parquet", "--encoder", layout.encoder("chosen"))
    assert_equal(vectors_in(tmp_path / "originals.parquet"), expected)
    (shard,) = layout.images.glob("test-*.parquet")
    embedded(shard, "-o", "shard.parquet", "--batch-size", 1)
    part = vectors_in(tmp_path / "shard.parquet")
    assert len(part) == 6
    assert_equal(part, {name: expected[name] for name in part})


def test_files_come_in_one_order(make_encoder: MakeEncoder, folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "vectors.parquet"
    embedded(folder, "-o", output, "--encoder", make_encoder())
    assert list(vectors_in(output)) == ["a.png", "b/1.png", "b/2.PNG", "b10.png", "c/d/é.png"]
    outputs = ["vectors.parquet", "vectors.parquet.rejects.csv"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "pictures", *outputs]


def test_files_of_others_among_the_unfinished_work_stay(
    make_encoder: MakeEncoder, folder: Path, tmp_path: Path
) -> None:
    output, parts = tmp_path / "vectors.parquet", tmp_path / "vectors.parquet.parts"
    (parts / "mine").mkdir(parents=True)
    (parts / "mine/000000.parquet").write_text("of someone else")
    (parts / ("0" * 16)).mkdir()
    (parts / ("0" * 16) / "000000.parquet").write_text("of an earlier embedding")
    embedded(folder, "-o", output, "--encoder", make_encoder())
    assert [path.name for path in parts.rglob("*")] == ["mine", "000000.parquet"]


def test_the_file_says_what_made_it(make_encoder: MakeEncoder, folder: Path, tmp_path: Path) -> None:
    output, encoder = tmp_path / "vectors.parquet", make_encoder()
    embedded(folder, "-o", output, "--encoder", encoder)
    opened = Vectors.open(output)
    messages = opened.description
    assert messages["encoder"]["weights_sha256"] == sha256_of_file(encoder / "encoder.safetensors")
    assert messages["encoder"]["mean"] == read_json(encoder / "config.json")["mean"]
    assert (messages["encoder_folder"], messages["source"]["path"]) == (str(encoder), str(folder))
    assert (pq.read_metadata(output).num_rows, opened.dimension) == (5, 512)


def test_refused_images_are_listed_without_formulas(
    make_encoder: MakeEncoder, folder: Path, tmp_path: Path
) -> None:
    (folder / "=HYPERLINK(1).png").write_bytes(b"")
    (folder / "tiny.png").write_bytes(png(1, 4, 4))
    (folder / "cut.png").write_bytes(png(1, 60, 60)[:2000])
    output = tmp_path / "vectors.parquet"
    result = run(folder, "-o", output, "--encoder", make_encoder())
    assert result.exit_code == 0
    assert "4 inputs were refused" in result.stderr
    with (tmp_path / "vectors.parquet.rejects.csv").open() as file:
        assert list(csv.reader(file)) == [
            ["where", "reason"],
            ["'=HYPERLINK(1).png", "an empty file, not an image"],
            ["cut.png", "truncated image"],
            ["notes.txt", "not an image"],
            ["tiny.png", "a side is shorter than 8 pixels"],
        ]
    assert len(vectors_in(output)) == 5
    for name in ("=HYPERLINK(1).png", "tiny.png", "cut.png", "notes.txt"):
        (folder / name).unlink()
    embedded(folder, "-o", output, "--encoder", make_encoder())
    assert not (tmp_path / "vectors.parquet.rejects.csv").exists()


def test_no_usable_image_is_a_sentence_and_leaves_nothing(make_encoder: MakeEncoder, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/a.png").write_bytes(b"\x1b[31mtext")
    result = run(tmp_path / "pictures", "-o", tmp_path / "v.parquet", "--encoder", make_encoder())
    assert result.exit_code == 2
    assert "gave no usable image (1 x not an image)" in result.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "pictures"]


@pytest.mark.parametrize("within", [True, False])
def test_hugging_face_s_tables(
    make_encoder: MakeEncoder, folder: Path, tmp_path: Path, *, within: bool
) -> None:
    """With the images within, as they are uploaded, and with paths alone, as they are saved locally."""
    import datasets

    paths = sorted(folder.glob("b/*"))
    images = [{"bytes": path.read_bytes(), "path": path.name} if within else str(path) for path in paths]
    features = datasets.Features({"img": datasets.Image(), "label": datasets.Value("int64")})
    table = datasets.Dataset.from_dict({"img": images, "label": [0, 1]}, features)
    (tmp_path / "hub/data").mkdir(parents=True)
    table.to_parquet(tmp_path / "hub/data/train-00000.parquet")
    encoder = make_encoder()
    outside = [] if within else ["--allow-outside-paths"]
    embedded(tmp_path / "hub", "-o", tmp_path / "hub.parquet", "--encoder", encoder, *outside)
    embedded(folder, "-o", tmp_path / "files.parquet", "--encoder", encoder)
    files = vectors_in(tmp_path / "files.parquet")
    names = [path.relative_to(folder).as_posix() for path in paths]
    expected = {f"data/train-00000.parquet:{row}": files[name] for row, name in enumerate(names)}
    assert_equal(vectors_in(tmp_path / "hub.parquet"), expected)


def test_columns_that_are_named(make_encoder: MakeEncoder, tmp_path: Path) -> None:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    fronts = [{"bytes": png(n), "path": None} for n in range(3)]
    backs = [{"bytes": png(n + 3), "path": None} for n in range(2)] + [None]
    table = pa.table({"front": pa.array(fronts, kind), "back": pa.array(backs, kind), "sku": [7, 8, 9]})
    pq.write_table(table, tmp_path / "shop.parquet", row_group_size=2)
    source, output, encoder = tmp_path / "shop.parquet", tmp_path / "v.parquet", make_encoder()
    result = run(source, "-o", output, "--encoder", encoder)
    assert result.exit_code == 2
    assert "several columns of images: choose with --image-column, front, back" in result.stderr
    embedded(source, "-o", output, "--encoder", encoder, "--image-column", "back", "--id-column", "sku")
    assert list(vectors_in(output)) == ["7", "8"]
    rejects = (tmp_path / "v.parquet.rejects.csv").read_text()
    assert rejects == '"where","reason"\n"9","the row holds no image"\n'
    for option in ("--image-column", "--id-column"):
        result = run(source, "-o", output, "--encoder", encoder, option, "side")
        assert result.exit_code == 2
        assert "no such column side" in result.stderr


def test_a_full_memory_halves_the_batch(
    make_encoder: MakeEncoder, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, expected, output = make_encoder(), tmp_path / "expected.parquet", tmp_path / "v.parquet"
    embedded(folder, "-o", expected, "--encoder", encoder)
    holds = 2
    seen: list[int] = []

    def small(trained: Any, canvas_NCHW: torch.Tensor, sizes_N2: torch.Tensor) -> torch.Tensor:
        seen.append(len(canvas_NCHW))
        if len(canvas_NCHW) > holds:
            raise torch.OutOfMemoryError
        return features_of_batch(trained, canvas_NCHW, sizes_N2)

    monkeypatch.setattr(batches_module, "features_of_batch", small)
    embedded(folder, "-o", output, "--encoder", encoder, "--batch-size", 5)
    assert seen == [5, 2, 2, 1]
    assert_equal(vectors_in(output), vectors_in(expected))
    holds = 0
    (folder / "a.png").unlink()
    result = run(folder, "-o", output, "--encoder", encoder)
    assert result.exit_code == 2
    assert "does not hold one image of 32 pixels" in result.stderr


def test_large_stored_images_make_small_batches(
    make_encoder: MakeEncoder, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, expected, output = make_encoder(), tmp_path / "expected.parquet", tmp_path / "v.parquet"
    embedded(folder, "-o", expected, "--encoder", encoder)
    monkeypatch.setattr(batches_module, "CANVAS_BYTES", 1)
    embedded(folder, "-o", output, "--encoder", encoder)
    assert_equal(vectors_in(output), vectors_in(expected))


def test_the_batch_shrinks_with_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 2**21}  # 8 GiB
    monkeypatch.setattr(os, "sysconf", pages.__getitem__)
    sizes = [
        batch_size_for({"image_size": s, "stem_stride": t}, CPU) for s, t in ((32, 4), (64, 1), (512, 1))
    ]
    assert sizes == [256, 16, 1]


def test_mistakes_are_reported(
    make_encoder: MakeEncoder, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, output = make_encoder(), tmp_path / "v.parquet"
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no more")
    shutil.copytree(encoder, tmp_path / "damaged")
    (tmp_path / "damaged/encoder.safetensors").write_bytes(b"x")
    at, from_encoder = ["-o", output], ["--encoder", encoder]
    for arguments, sentence in (
        ([tmp_path / "absent", *at, *from_encoder], "absent does not exist: name a folder"),
        ([tmp_path / "empty", *at, *from_encoder], "holds no image file and no Parquet file"),
        ([folder / "notes.txt", *at, *from_encoder], "neither a folder nor a Parquet file"),
        ([tmp_path / "broken.parquet", *at, *from_encoder], "cannot be read as Parquet"),
        ([folder, "-o", tmp_path / "v.csv", *from_encoder], "must end in .parquet"),
        ([folder, "-o", tmp_path, *from_encoder], "is a folder: name a file"),
        (
            [folder, "-o", os.fsdecode(b"\xff.parquet"), *from_encoder],
            "is not UTF-8, as Parquet files' paths",
        ),
        ([folder, *at, *from_encoder, "--arm", "label"], "give one of them"),
        ([folder, *at, "--arm", "label"], "run this in the project's folder, after `dvc repro`"),
        ([folder, *at, "--encoder", tmp_path], "holds no config.json"),
        ([folder, *at, "--encoder", tmp_path / "damaged"], "is damaged"),
        ([folder, *at, *from_encoder, "--id-column", "x"], "which have no columns"),
    ):
        result = run(*arguments)
        assert (result.exit_code, result.stdout) == (2, "")
        assert sentence in result.stderr
        assert result.stderr.count("\n") == 1
    assert not output.exists()
    assert not list((tmp_path / "empty").iterdir())


def test_an_arm_that_is_not_there_lists_the_others(
    make_encoder: MakeEncoder, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_encoder("instance")
    monkeypatch.chdir(tmp_path)
    assert "choose one of instance" in run(folder, "-o", "v.parquet").stderr
    embedded(folder, "-o", "v.parquet", "--arm", "instance")


def test_images_and_tables_in_one_folder_are_refused(
    make_encoder: MakeEncoder, folder: Path, tmp_path: Path
) -> None:
    table = pa.table({"image": pa.array([png(1)], pa.binary())})
    pq.write_table(table, folder / "images.parquet")
    result = run(folder, "-o", tmp_path / "v.parquet", "--encoder", make_encoder())
    assert result.exit_code == 2
    assert "name the folder of one of them" in result.stderr
    pq.write_table(pa.table({"image": ["a.png"], "label": ["x"]}), folder / "images.parquet")
    embedded(folder, "-o", tmp_path / "v.parquet", "--encoder", make_encoder())


def test_a_table_across_parts_and_row_groups(
    make_encoder: MakeEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts start in the midst of files and row groups."""
    monkeypatch.setattr(parts_module, "IMAGES_PER_CHUNK", 3)
    (tmp_path / "tables").mkdir()
    for number, rows in enumerate((5, 1, 4)):
        names = [f"{number}-{row}" for row in range(rows)]
        images = [png(10 * number + row) for row in range(rows)]
        table = pa.table({"image": pa.array(images, pa.binary()), "id": names})
        pq.write_table(table, tmp_path / f"tables/{number}.parquet", row_group_size=2)
    (tmp_path / "files").mkdir()
    for number, rows in enumerate((5, 1, 4)):
        for row in range(rows):
            (tmp_path / f"files/{number}-{row}").with_suffix(".png").write_bytes(png(10 * number + row))
    encoder = make_encoder()
    for name in ("tables", "files"):
        embedded(tmp_path / name, "-o", tmp_path / f"{name}.parquet", "--encoder", encoder)
    tables = vectors_in(tmp_path / "tables.parquet")
    files = vectors_in(tmp_path / "files.parquet")
    assert [f"{name}.png" for name in tables] == list(files)
    assert_equal({f"{name}.png": vector_D for name, vector_D in tables.items()}, files)


def test_nothing_but_vectors_is_replaced(folder: Path, make_encoder: MakeEncoder, tmp_path: Path) -> None:
    """Not the table of images that it reads, nor anybody's list of refusals."""
    encoder = make_encoder()
    images = pa.table({"image": [png(number) for number in range(3)]})
    table = tmp_path / "photos.parquet"
    pq.write_table(images, table)
    for source in (table, tmp_path, folder):
        result = run(source, "-o", table, "--encoder", encoder)
        assert result.exit_code == 2
        assert "is there, and `clinfonce embed` did not write it: name another file" in result.stderr
        assert pq.read_table(table).equals(images)
    output = tmp_path / "vectors.parquet"
    rejects = tmp_path / "vectors.parquet.rejects.csv"
    rejects.write_text("my own list\n")
    result = run(folder, "-o", output, "--encoder", encoder)
    assert result.exit_code == 2
    assert "did not write it: name another --output" in result.stderr
    assert rejects.read_text() == "my own list\n"
    rejects.unlink()
    for _ in range(2):
        assert run(folder, "-o", output, "--encoder", encoder).exit_code == 0
    (folder / "bad.png").write_bytes(b"no image")
    for _ in range(2):
        assert run(folder, "-o", output, "--encoder", encoder).exit_code == 0
        assert "bad.png" in rejects.read_text()
