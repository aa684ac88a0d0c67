"""Words for "unknown" in tables of many columns."""

from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.ingest import unknown_values
from pipeline.ingest.chunk_files import Chunks, write_chunk
from pipeline.ingest.unknown_values import unknown_value_notes

ROWS, CHUNKS = 40, 2


def chunks(folder: Path, columns: int) -> tuple[Chunks, list[str]]:
    """Each column holds one word for "unknown"; those at odd places are numbers else."""
    names = [f"c{place}" for place in range(columns)]
    parts = Chunks()
    for number in range(CHUNKS):
        cells = {
            name: ["nan", *(f"{row}.{place}" if place % 2 else f"v{row}" for row in range(1, ROWS))]
            for place, name in enumerate(names)
        }
        table = pa.table(
            {
                "label": ["a"] * ROWS,
                "hashtags": pa.array([["x"]] * ROWS),
                "attributes": pa.StructArray.from_arrays([pa.array(c) for c in cells.values()], names),
                "hierarchy": pa.array([["r"]] * ROWS),
            }
        )
        path = folder / f"{number}.arrow"
        write_chunk(table, path)
        parts.append(path, ROWS)
    return parts, names


@pytest.mark.parametrize("counted", [1, 3 * ROWS * CHUNKS, 10**6])
def test_columns_are_counted_several_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: int
) -> None:
    monkeypatch.setattr(unknown_values, "MOST_COUNTED", counted)
    parts, names = chunks(tmp_path, 7)
    (note,) = unknown_value_notes(parts, names, "manifest")
    for place, name in enumerate(names):
        assert (f"{name} (2 x nan)" in note) == (place % 2 == 0), note


def test_the_rows_are_not_read_once_for_each_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts, names = chunks(tmp_path, 500)
    passes = 0
    original = Chunks.all

    def counting(self: Chunks) -> object:
        nonlocal passes
        passes += 1
        return original(self)

    monkeypatch.setattr(Chunks, "all", counting)
    assert unknown_value_notes(parts, names, "manifest")
    assert passes <= 3
