"""Each file of a folder is embedded or listed, by the rule of ingest, except what `embed` wrote there."""

import csv
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from inference.conftest import MakeEncoder
from pipeline.cli import app
from pipeline.inference.images.open import open_pictures
from pipeline.ingest.run import ingest
from pipeline.runtime.errors import UserError
from pipeline.storage.schema import Layout
from support import params_with, png

pytestmark = pytest.mark.slow

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(range(200))


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(app, ["embed", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result


def ids_in(path: Path) -> list[str]:
    ids: list[str] = pq.read_table(path)["id"].to_pylist()
    return ids


def refused_in(path: Path) -> dict[str, str]:
    with path.with_name(f"{path.name}.rejects.csv").open(newline="") as file:
        return {row["where"]: row["reason"] for row in csv.DictReader(file)}


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """As a phone and a browser save pictures."""
    album = tmp_path / "p"
    (album / "trip").mkdir(parents=True)
    for number, name in enumerate(("a.jpg", "8371_a", "trip/b.jpg_large", "trip/c.PNG", "d.txt", "e.xyz")):
        (album / name).write_bytes(png(number, 20, 20))
    (album / "IMG_1.HEIC").write_bytes(HEIC)
    (album / "trip/IMG_2.heif").write_bytes(HEIC)
    (album / "notes.txt").write_text("no image")
    (album / "empty").write_bytes(b"")
    (album / ".hidden.png").write_bytes(png(9))
    (album / "Thumbs.db").write_bytes(b"of a system")
    (album / "out").symlink_to("/etc/passwd")
    pq.write_table(pa.table({"a": [1]}), album / "numbers.parquet")
    os.mkfifo(album / "pipe")
    return album


def test_each_file_is_embedded_or_listed_as_ingest_does(
    album: Path, make_encoder: MakeEncoder, tmp_path: Path
) -> None:
    output, layout = tmp_path / "v.parquet", Layout(tmp_path / "ingested")
    result = run(album, "-o", output, "--encoder", make_encoder())
    assert "note: 2 hidden files and folders, or such of systems, are passed over" in result.stderr
    source = {"source": "folder", "path": str(album), "max_reject_fraction": 1.0}
    params = params_with(ingest=source)
    ingest(params.ingest, params.seed, layout)
    shards = [*layout.images.glob("train-*"), *layout.images.glob("test-*")]
    assert sorted(ids_in(output)) == sorted(name for shard in shards for name in ids_in(shard))
    rejects = pq.read_table(layout.rejects).to_pylist()
    expected = {
        row["where"]: row["reason"].replace("ingest.allow_outside_paths=true", "--allow-outside-paths")
        for row in rejects
    }
    assert refused_in(output) == expected
    assert len(ids_in(output)) == 6
    assert len(expected) == 7


def test_what_embed_wrote_into_the_folder_is_no_input(album: Path, make_encoder: MakeEncoder) -> None:
    output, encoder = album / "v.parquet", make_encoder()
    run(album, "-o", output, "--encoder", encoder)
    expected = ids_in(output), refused_in(output)
    unfinished = album / f"w.parquet.parts/{16 * '0'}"
    unfinished.mkdir(parents=True)
    for file in (unfinished.parent / "lock", unfinished / "000000.chunk"):
        file.write_bytes(b"")
    assert (
        "holds the vectors of these images already" in run(album, "-o", output, "--encoder", encoder).stderr
    )
    assert (ids_in(output), refused_in(output)) == expected
    (unfinished / "mine.png").write_bytes(png(1))
    assert open_pictures(album).count == sum(map(len, expected)) + 1


def test_other_files_beside_tables_are_no_inputs(tmp_path: Path) -> None:
    for name in ("README.md", "summary.json"):
        (tmp_path / name).write_text("{}")
    pq.write_table(pa.table({"image": [png(1)]}), tmp_path / "a.parquet")
    assert open_pictures(tmp_path).count == 1
    (tmp_path / "IMG.HEIC").write_bytes(HEIC)
    with pytest.raises(UserError, match="holds image files and Parquet files with images"):
        open_pictures(tmp_path)
