"""What strangers put into a folder or name in a table is embedded if it is a file and lies in that folder."""

import csv
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from inference.conftest import MakeEncoder
from pipeline.cli import app
from pipeline.inference.images.base import InputImage
from pipeline.inference.images.open import open_again, open_pictures
from pipeline.runtime.errors import UserError
from support import NO_FILES, at_once, png

pytestmark = pytest.mark.slow

OUT = "a link leads out of the source's folder, which needs --allow-outside-paths"
KIND = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


@pytest.fixture(autouse=True)
def without_waiting() -> Iterator[None]:
    with at_once(60):
        yield


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "set/pictures"
    (folder / "b").mkdir(parents=True)
    for number, name in enumerate(("a.png", "b/b.png")):
        (folder / name).write_bytes(png(number))
    (tmp_path / "private").mkdir()
    (tmp_path / "private/p.png").write_bytes(png(9))
    return folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


def seen(source: Path, *, outside: bool = False) -> dict[str, str]:
    """Ids, with the reason of each refusal or "image"."""
    pictures = open_pictures(source, allow_outside_paths=outside)
    return {
        one.id if isinstance(one, InputImage) else one.where: "image"
        if isinstance(one, InputImage)
        else one.reason
        for one in pictures.between(0, pictures.count)
    }


def test_links_and_pipes_in_a_folder(folder: Path, tmp_path: Path) -> None:
    (folder / "link.png").symlink_to(tmp_path / "private/p.png")
    (folder / "far").symlink_to(tmp_path / "private")
    (folder / "near.png").symlink_to("a.png")
    (folder / "again").symlink_to("b")
    os.mkfifo(folder / "pipe.png")
    os.mkfifo(folder / "pipe")
    (folder / "zero.jpg").symlink_to("/dev/zero")
    (folder / "notes.txt").symlink_to("/etc/passwd")
    images = {"a.png": "image", "b/b.png": "image", "near.png": "image"}
    again = {"again": "a folder that is read already, under another name"}
    special = "a pipe, socket or device, not a file"
    assert seen(folder) == images | again | {
        "link.png": OUT,
        "far": OUT,
        "zero.jpg": OUT,
        "notes.txt": OUT,
        "pipe.png": special,
        "pipe": special,
    }
    linked = {"link.png": "image", "far/p.png": "image", "notes.txt": "image"}  # until it is decoded
    expected = images | again | linked | {"zero.jpg": special, "pipe.png": special, "pipe": special}
    assert seen(folder, outside=True) == expected


def test_paths_in_a_table(folder: Path, tmp_path: Path) -> None:
    (folder / "b/far.png").symlink_to(tmp_path / "private/p.png")
    os.mkfifo(folder / "b/pipe.png")
    secret = tmp_path / "private/p.png"
    paths = ["b.png", str(secret), "../a.png", "far.png", "pipe.png", "a\0b", "absent.png", "", None]
    images = pa.array([{"bytes": None, "path": path} for path in paths], KIND)
    pq.write_table(pa.table({"image": images}), folder / "b/t.parquet")
    found = seen(folder / "b/t.parquet")
    assert [*found.values()] == [
        "image",
        "the path is absolute, which needs --allow-outside-paths",
        "the path holds .., which needs --allow-outside-paths",
        OUT,
        "a pipe, socket or device, not a file",
        "the path holds a null byte",
        "image",
        "the row holds no image",
        "the row holds no image",
    ]
    assert [*seen(folder / "b/t.parquet", outside=True).values()][1:4] == ["image"] * 3


@pytest.mark.parametrize("kind", NO_FILES)
def test_what_is_no_table(folder: Path, kind: str) -> None:
    shutil.rmtree(folder)
    folder.mkdir()
    kept = pa.table({"image": pa.array([{"bytes": png(1), "path": None}], KIND)})
    pq.write_table(kept, folder / "b.parquet")
    NO_FILES[kind](folder / "a.parquet")
    result = run("embed", folder / "a.parquet", "-o", folder.parent / "v.parquet", "--encoder", folder)
    assert result.exit_code == 2
    if kind == "folder":
        assert seen(folder) == {"b.parquet:0": "image"}
    else:
        result = run("embed", folder, "-o", folder.parent / "v.parquet", "--encoder", folder)
        assert result.exit_code == 2


def test_a_table_behind_a_link(folder: Path, tmp_path: Path) -> None:
    """In a folder it stays inside; the one that the user names may lie anywhere."""
    shutil.rmtree(folder)
    folder.mkdir()
    table = pa.table({"image": pa.array([{"bytes": png(1), "path": None}], KIND)})
    pq.write_table(table, tmp_path / "private/t.parquet")
    (folder / "a.parquet").symlink_to(tmp_path / "private/t.parquet")
    assert seen(folder / "a.parquet") == {"a.parquet:0": "image"}
    with pytest.raises(UserError, match=r"a.parquet can't be read \(a link leads out"):
        seen(folder)
    assert seen(folder, outside=True) == {"a.parquet:0": "image"}


def test_links_of_ingest_s_output_lead_to_the_cache_of_dvc_alone(tmp_path: Path) -> None:
    table = pa.table({"image": pa.array([{"bytes": png(1), "path": None}], KIND)})
    images, cached = tmp_path / "repo/data/images", tmp_path / f"cache/files/md5/ab/{'c' * 30}"
    images.mkdir(parents=True)
    cached.parent.mkdir(parents=True)
    pq.write_table(table, cached)
    shard = images / "train-00000-of-00001.parquet"
    shard.symlink_to(cached)
    with pytest.raises(UserError, match="a link leads out"):
        seen(images)  # not of a repository
    (tmp_path / "repo/.dvc").mkdir()
    expected = {f"{shard.name}:0": "image"}
    assert seen(images) == expected
    (tmp_path / "way").symlink_to(images)
    assert seen(tmp_path / "way") == expected
    # Another folder of the repository is not ingest's output.
    shutil.copytree(images, tmp_path / "repo/data/other", symlinks=True)
    with pytest.raises(UserError, match="a link leads out"):
        seen(tmp_path / "repo/data/other")
    # A link to a file that is no object, and an object that is itself a link to one.
    pq.write_table(table, tmp_path / "private.parquet")
    own = tmp_path / f"repo/.dvc/cache/files/md5/ab/{'d' * 30}"
    own.parent.mkdir(parents=True)
    own.symlink_to(tmp_path / "private.parquet")
    for target in (tmp_path / "private.parquet", own):
        shard.unlink()
        shard.symlink_to(target)
        with pytest.raises(UserError, match="a link leads out"):
            seen(images)
    own.unlink()
    pq.write_table(table, own)
    assert seen(images) == expected


def test_the_option_reaches_the_embedding_and_the_search(
    make_encoder: MakeEncoder, folder: Path, tmp_path: Path
) -> None:
    (folder / "link.png").symlink_to(tmp_path / "private/p.png")
    output, encoder = tmp_path / "v.parquet", make_encoder()
    result = run("embed", folder, "-o", output, "--encoder", encoder)
    assert result.exit_code == 0, result.output
    assert pq.read_table(output)["id"].to_pylist() == ["a.png", "b/b.png"]
    rejects = tmp_path / "v.parquet.rejects.csv"
    with rejects.open(newline="") as file:
        assert [*csv.DictReader(file)] == [{"where": "link.png", "reason": OUT}]
    result = run("embed", folder, "-o", output, "--encoder", encoder, "--allow-outside-paths")
    assert result.exit_code == 0, result.output
    assert pq.read_table(output)["id"].to_pylist() == ["a.png", "b/b.png", "link.png"]
    assert not rejects.exists()
    search = ["search", folder / "a.png", "--vectors", output, "--picture", tmp_path / "s.png"]
    assert "1 without their pictures" in run(*search).output
    result = run(*search, "--allow-outside-paths")
    assert result.exit_code == 0, result.output
    assert "without their pictures" not in result.output


@pytest.mark.parametrize("kind", ["pipe", "circle"])
def test_search_with_what_is_no_picture(
    make_encoder: MakeEncoder, folder: Path, tmp_path: Path, kind: str
) -> None:
    output, encoder = tmp_path / "v.parquet", make_encoder()
    assert run("embed", folder, "-o", output, "--encoder", encoder).exit_code == 0
    (folder / "a.png").unlink()
    NO_FILES[kind](folder / "a.png")
    NO_FILES[kind](tmp_path / "w.parquet")
    assert run("search", folder / "a.png", "--vectors", output).exit_code == 2
    result = run("search", folder / "b/b.png", "--vectors", tmp_path / "w.parquet")
    assert (result.exit_code, str(tmp_path / "w.parquet") in result.output) == (2, True)
    # What became of an image since then is no reason to wait, either.
    assert (
        run("search", folder / "b/b.png", "--vectors", output, "--picture", tmp_path / "s.png").exit_code == 0
    )


def test_a_deep_tree_and_a_tangle_of_links(folder: Path) -> None:
    for number in range(24):
        (folder / f"t/{number:02d}").mkdir(parents=True)
        for name in "xy":
            (folder / f"t/{number:02d}/{name}").symlink_to(f"../{(number + 1) % 24:02d}")
    (folder / "t/07/c.png").write_bytes(png(4))
    for outside in (False, True):
        found = seen(folder, outside=outside)
        assert [name for name, what in found.items() if what == "image"] == ["a.png", "b/b.png", "t/07/c.png"]
        assert len(found) == 3 + 48


def test_what_is_gone_is_none(tmp_path: Path) -> None:
    for place in ({"path": str(tmp_path / "absent")}, {"path": "a\0b"}, {"path": 7}, {}):
        assert open_again(place) is None
