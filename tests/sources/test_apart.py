"""Strangers' Parquet is read by a process apart, whose death costs a sentence."""

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import UserError
from pipeline.sources import apart
from pipeline.sources.apart import Damaged, NotParquet, batches, outlines

ROWS = 50
CUT_SHORT = """#!{python}
import os, signal, subprocess, sys

ran = subprocess.run([sys.executable, *sys.argv[1:]], stdin=sys.stdin, capture_output=True, check=True)
told = ran.stdout
sys.stdout.buffer.write(told[:{bytes}])
sys.stdout.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """In groups of 20 rows; a column of a dictionary, one of lists, and metadata."""
    table = pa.table(
        {
            "image": [{"bytes": bytes([row] * 100), "path": f"{row}.png"} for row in range(ROWS)],
            "label": pa.array([f"label {row % 3}" for row in range(ROWS)]).dictionary_encode(),
            "tags": [["a"] * (row % 4) if row % 5 else None for row in range(ROWS)],
        }
    ).replace_schema_metadata({"told": "by its writer"})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=20, compression="none")
    return tmp_path / "a.parquet"


def test_all_that_the_file_holds_comes_back(path: Path) -> None:
    whole = pq.read_table(path)
    (outline,) = outlines([path])
    assert (outline.rows, outline.schema) == (ROWS, whole.schema)
    assert outline.schema.metadata == whole.schema.metadata
    found = list(batches(path, 15))
    assert [len(batch) for batch in found if isinstance(batch, pa.RecordBatch)] == [15, 5, 15, 5, 10]
    assert [row for batch in found for row in batch.to_pylist()] == whole.to_pylist()  # type: ignore[union-attr]
    some = [row for batch in batches(path, 100, ["tags", "label"]) for row in batch.to_pylist()]  # type: ignore[union-attr]
    assert some == whole.select(["label", "tags"]).to_pylist()


def test_who_wants_no_more_leaves_no_process(path: Path) -> None:
    taken = batches(path, 1)
    next(taken)
    taken.close()  # type: ignore[attr-defined]
    # A process that went on would be left as a ResourceWarning, which is an error here.


def test_what_is_no_parquet_is_named(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.parquet"
    other.write_bytes(b"no Parquet file")
    with pytest.raises(NotParquet, match="Parquet magic bytes not found") as found:
        outlines([path, other])
    assert found.value.path == other


def test_a_damaged_row_group_leaves_the_others(path: Path) -> None:
    metadata = pq.read_metadata(path)
    chunk = metadata.row_group(1).column(0)
    content = bytearray(path.read_bytes())
    content[chunk.data_page_offset : chunk.data_page_offset + 20] = bytes(20)
    path.write_bytes(content)
    found = [batch if isinstance(batch, Damaged) else len(batch) for batch in batches(path, 100)]
    assert isinstance(found[1], Damaged)
    assert (found[0], found[1].rows, found[2]) == (20, 20, 10)
    assert found[1].why


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 1.0])
def test_a_reader_that_is_killed_costs_a_sentence(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    """Before its first word, in a batch, and after its last."""
    python = tmp_path / "python"
    python.write_text(CUT_SHORT.format(python=sys.executable, bytes=int(share * 12_000)))
    python.chmod(0o755)
    monkeypatch.setattr(apart.sys, "executable", str(python))
    sentence = f"^{path} ends the process that reads it: it is damaged, or made to do harm: download or"
    with pytest.raises(UserError, match=sentence):
        list(batches(path, 15))


def test_the_file_that_ends_the_reader_is_named(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many outlines come as were flushed before."""
    again = tmp_path / "b.parquet"
    again.write_bytes(path.read_bytes())
    python = tmp_path / "python"
    told = len(outlines([path])[0].schema.serialize()) + 600
    python.write_text(CUT_SHORT.format(python=sys.executable, bytes=told))
    python.chmod(0o755)
    monkeypatch.setattr(apart.sys, "executable", str(python))
    with pytest.raises(UserError, match=f"^{again} ends the process"):
        outlines([path, again])
