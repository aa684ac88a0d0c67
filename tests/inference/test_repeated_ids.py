"""Images that share an id are refused, and none of them is shown in place of another."""

import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from inference.conftest import MakeEncoder
from pipeline.cli import app
from pipeline.inference.images import parquet
from pipeline.inference.images.open import open_pictures
from pipeline.runtime.errors import UserError
from support import png

pytestmark = pytest.mark.slow


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


def write(folder: Path, *shards: list[str | None]) -> dict[str, list[bytes]]:
    """Writes a table for each list of ids; returns the images of each id."""
    folder.mkdir()
    images: dict[str, list[bytes]] = {}
    seed = 0
    for place, ids in enumerate(shards):
        encoded = [png(seed + number) for number in range(len(ids))]
        pq.write_table(pa.table({"id": ids, "image": encoded}), folder / f"{place}.parquet", row_group_size=3)
        for number, (name, image) in enumerate(zip(ids, encoded, strict=True)):
            images.setdefault(f"{place}.parquet:{number}" if name is None else name, []).append(image)
        seed += len(ids)
    return images


@pytest.mark.parametrize(
    "shards",
    [
        [["a", "b", "c"], ["d", "e"]],
        [["a", "b", "a", "c", "b", "b", "d"]],
        [["a", "b"], ["c", "a"]],
        [["a", None, None, "0.parquet:1"]],
    ],
)
def test_an_id_that_images_share_is_refused_and_not_found(
    tmp_path: Path, shards: list[list[str | None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "IDS_AT_ONCE", 2)
    images = write(tmp_path / "t", *shards)
    opened = open_pictures(tmp_path / "t")
    found = {picture.id: picture.image for picture in opened.find([*images, "absent"])}
    assert found == {name: same[0] for name, same in images.items() if len(same) == 1}
    repeated = [name for name, same in images.items() if len(same) > 1]
    if not repeated:
        opened.check_ids()
        return
    with pytest.raises(UserError) as refused:
        opened.check_ids()
    assert f"repeats {len(repeated)} ids in column id, such as {repeated[0]}: name a" in str(refused.value)


def test_equal_hashes_are_not_equal_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "t", ["a", "b"])
    monkeypatch.setattr(parquet, "hash", lambda _: 7, raising=False)
    open_pictures(tmp_path / "t").check_ids()


def test_files_without_a_column_of_ids_have_unique_ones(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": [png(1), png(1)]}), tmp_path / "t.parquet")
    open_pictures(tmp_path / "t.parquet").check_ids()


def test_embed_refuses_and_search_shows_no_other_picture(
    make_encoder: MakeEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "t", [f"product{number // 4}" for number in range(8)])
    (tmp_path / "q.png").write_bytes(png(1))
    output = tmp_path / "v.parquet"
    command = ["embed", tmp_path / "t", "-o", output, "--encoder", make_encoder()]
    result = run(*command)
    assert (result.exit_code, output.exists()) == (2, False)
    assert "repeats 2 ids in column id, such as product0" in result.stderr
    # As an earlier version wrote it.
    with monkeypatch.context() as earlier:
        earlier.setattr(parquet.PicturesInParquet, "check_ids", lambda _: None)
        assert run(*command).exit_code == 0
    result = run("search", tmp_path / "q.png", "--vectors", output, "--picture", tmp_path / "s.html")
    assert result.exit_code == 0, result.output
    assert "8 without their pictures, which are gone or share an id" in result.stdout
    assert (tmp_path / "s.html").read_text().count("data:image/png") == 1


def test_long_repeated_ids_are_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "COMPARED_IDS", 10)
    ids = [f"{number:04d}{'x' * 4000}" for number in range(2000)] * 2
    pq.write_table(pa.table({"id": ids, "image": [png(0)] * len(ids)}), tmp_path / "t.parquet")
    del ids
    opened = open_pictures(tmp_path / "t.parquet")
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=r"repeats 2,000 ids in column id, such as \d{4}xxx"):
            opened.check_ids()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # A batch of rows comes as text, twice; all ids would be 16 MB.
    assert peak < 12e6
