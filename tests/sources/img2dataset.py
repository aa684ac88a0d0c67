"""Tar shards as img2dataset writes them, and their way through ingest."""

import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sources.journey import Journey, journey, jpeg

CAPTIONS = ["a red hat", "blue shoes", "a green bag; cheap"]
Members = list[tuple[str, bytes]]


def fields(n: int) -> dict[str, Any]:
    """What img2dataset notes, and three columns of the user's table."""
    return {
        "caption": CAPTIONS[n % 3], "url": f"https://example.org/{n}", "key": f"{n:09d}", "status": "success",
        "error_message": None, "width": 20, "height": 16, "original_width": 200, "original_height": 160,
        "exif": "{}", "sha256": f"{n:064x}",
        "kind": ["hat", "shoe", "bag"][n % 3], "tags": [["red", "new"], ["blue"], []][n % 3],
        "brand": ["Acme", None][n % 2],
    }  # fmt: skip


def sample(n: int, folder: str = "") -> Members:
    record = json.dumps(fields(n))
    endings = {"jpg": jpeg(n), "txt": CAPTIONS[n % 3].encode(), "json": record.encode()}
    return [(f"{folder}{n:09d}.{ending}", content) for ending, content in endings.items()]


def samples(numbers: range) -> Members:
    return [member for n in numbers for member in sample(n)]


def packed(members: Sequence[tuple[str, bytes] | tarfile.TarInfo]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
    return buffer.getvalue()


def run_journey(tmp_path: Path, **options: Any) -> Journey:
    columns = {"label": "kind", "hashtags": "tags"} | options.pop("columns", {})
    return journey(tmp_path, "webdataset", tmp_path / "shards", columns=columns, **options)
