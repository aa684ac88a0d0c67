"""Contents that strangers might send in a table, and reading them as ingest does."""

import io
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.config.ingest import IngestParams
from pipeline.runtime.errors import UserError
from pipeline.sources.base import Refusal, SourceRow
from pipeline.sources.reading.row_checks import checked
from pipeline.sources.registry import open_source
from pipeline.storage.schema import REJECTS_SCHEMA, images_schema
from pipeline.tables.delimited import LONGEST_CELL

MOST_SECONDS = 10

JSON_VALUES = {
    "deep": "[" * 300 + "]" * 300,
    "deeper": "[" * 100_000 + "]" * 100_000,
    "deep-objects": '{"a":' * 5000 + "1" + "}" * 5000,
    "unclosed": "[" * 100_000,
    "digits": "9" * 5000,
    "negative-digits": "-" + "9" * 5000,
    "huge": "1e400",
    "small": "-1e400",
    "nan": "NaN",
    "infinity": "-Infinity",
    "surrogate": '"\\ud800"',
    "nul": '"\\u0000"',
    "long": '"' + "x" * 200_000 + '"',
    "list": "[1, [2], {}]",
    "object": '{"a": {"b": null}}',
    "none": "",
}
CELLS = {
    "long": b"x" * 200_000,
    "longer": b"x" * (LONGEST_CELL + 1),
    "nul": b"a\0b",
    "not-utf8": b"\xff\xfe\xfa",
    "surrogate": b"\xed\xa0\x80",
    "digits": b"9" * 5000,
    "quote": b'"',
    "quotes": b'""""',
    "formula": b"=1+1",
    "bom": b"\xef\xbb\xbfa",
    "separators": "a\u2028b\u0085c\x1cd\x0be".encode(),
    "deep-path": b"a/" * 1200 + b"b",
}


def rows_of(source: str, path: Path, **choices: Any) -> list[SourceRow | Refusal]:
    """As ingest takes them: what passes the checks of every source can be stored."""
    started = time.perf_counter()
    params = IngestParams.model_validate({"source": source, "path": str(path), **choices})
    opened = open_source(params, 0)
    rows = list(checked(opened.rows()))
    stored = [
        {
            "id": row.id,
            "label": row.label,
            "hashtags": row.hashtags,
            "hierarchy": row.hierarchy,
            "image": {"bytes": b"", "path": row.path},
            "width": 1,
            "height": 1,
            "attributes": row.attributes or None,
        }
        for row in rows
        if isinstance(row, SourceRow)
    ]
    pa.Table.from_pylist(stored, images_schema(opened.attribute_names)).validate(full=True)
    refused = [{"where": row.where, "reason": row.reason} for row in rows if isinstance(row, Refusal)]
    pa.Table.from_pylist(refused, REJECTS_SCHEMA).validate(full=True)
    assert all(len(row["reason"]) < 1000 for row in refused)
    assert time.perf_counter() - started < MOST_SECONDS
    return rows


def taken(rows: list[SourceRow | Refusal]) -> list[str]:
    return [row.path for row in rows if isinstance(row, SourceRow)]


def said(read: Callable[[], Any]) -> str | None:
    """The sentence with which `read` ends, if it does."""
    started, sentence = time.perf_counter(), None
    try:
        read()
    except UserError as error:
        sentence = str(error)
    assert len(sentence or "") < 4000
    assert time.perf_counter() - started < MOST_SECONDS
    return sentence


def written(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    return path


# --- archives -----------------------------------------------------------------------------------------------


def shard(*members: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def header(name: str, kind: bytes, content: bytes = b"", size: int | None = None) -> bytes:
    member = tarfile.TarInfo(name)
    member.type, member.size = kind, len(content) if size is None else size
    padded = content + bytes(-len(content) % tarfile.BLOCKSIZE)
    return member.tobuf(tarfile.GNU_FORMAT) + padded


def pax(fields: dict[str, str]) -> bytes:
    records = b""
    for key, value in fields.items():
        body = f" {key}={value}\n".encode()
        length = len(body) + len(str(len(body)))
        length += len(str(length)) - len(str(len(body)))
        records += str(length).encode() + body
    return records
