"""Bytes to the manifest reader: `UserError`, or rows that can be stored."""

import sys
import tempfile
from itertools import islice
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["pipeline.sources"]):
    from pipeline.sources import manifest

import pyarrow as pa

from pipeline.config.ingest import IngestParams
from pipeline.runtime.errors import UserError
from pipeline.sources.base import SourceRow
from pipeline.storage.schema import REJECTS_SCHEMA, images_schema

SUFFIXES = [".csv", ".tsv", ".jsonl"]
"""Parquet is read by a process apart, which would be started for each input: other tests damage it."""
FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-manifest-"))
SEEDS = [
    b"\x00image,label,split,hashtags,colour\na.png,cat,train,#a #b,red\nb.png,,test,a;b,\n",
    b"\x01image\tlabel\na.png\tcat\n",
    b'\x02{"image": "a.png", "label": "cat", "hashtags": ["a", null], "o": {"p": []}}\n{"image": 3}\n',
    b"\x00image,image,label\na.png,b.png,\xff\xfe\n",
]


def check(data: bytes) -> None:
    if not data:
        return
    path = FOLDER / f"manifest{SUFFIXES[data[0] % len(SUFFIXES)]}"
    path.write_bytes(data[1:])
    params = IngestParams.model_validate({"source": "manifest", "path": str(path)})
    try:
        source = manifest.ManifestSource.open(params, 0)
        rows = list(islice(source.rows(), 1000))
    except UserError:
        return
    stored = [row for row in rows if isinstance(row, SourceRow)]
    refused = [{"where": row.where, "reason": row.reason} for row in rows if not isinstance(row, SourceRow)]
    records = [
        {
            "id": row.id,
            "image": {"bytes": b"", "path": row.path},
            "label": row.label,
            "hashtags": row.hashtags,
            "attributes": row.attributes or None,
            "hierarchy": row.hierarchy,
            "width": 1,
            "height": 1,
        }
        for row in stored
    ]
    pa.Table.from_pylist(records, images_schema(source.attribute_names))
    pa.Table.from_pylist(refused, REJECTS_SCHEMA)


def main() -> None:
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(SEEDS):
            (Path(corpus) / str(number)).write_bytes(seed)
        atheris.Setup([sys.argv[0], corpus, "-max_len=4000", "-rss_limit_mb=2048", *sys.argv[1:]], check)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
