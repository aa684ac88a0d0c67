"""A small Parquet file of several kinds of columns."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 50


def write_grouped(folder: Path) -> Path:
    """A file in groups of 20 rows: a column of a dictionary, one of lists, and metadata."""
    table = pa.table(
        {
            "image": [{"bytes": bytes([row] * 100), "path": f"{row}.png"} for row in range(ROWS)],
            "label": pa.array([f"label {row % 3}" for row in range(ROWS)]).dictionary_encode(),
            "tags": [["a"] * (row % 4) if row % 5 else None for row in range(ROWS)],
        }
    ).replace_schema_metadata({"note": "by its writer"})
    pq.write_table(table, folder / "a.parquet", row_group_size=20, compression="none")
    return folder / "a.parquet"
