"""What the tests of the sources share: small real images, and the way through ingest and cluster."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from pipeline.clustering.run import cluster
from pipeline.dataset.dataset import ImageSplit
from pipeline.ingest.run import ingest
from pipeline.storage.schema import IngestSummary, Layout
from support import params_with

COLUMNS = ["id", "image", "label", "hashtags", "attributes", "hierarchy", "width", "height"]


def jpeg(seed: int, width: int = 20, height: int = 16) -> bytes:
    """Soft noise: every seed another picture, small in bytes."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def write(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    """Writes each file below `folder`, with its folders."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


@dataclass(frozen=True)
class Journey:
    """What came of a source."""

    layout: Layout
    summary: IngestSummary
    train: list[dict[str, Any]]
    test: list[dict[str, Any]]
    refused: dict[str, str]
    """Reason by place."""

    def row(self, end: str) -> dict[str, Any]:
        """The one whose id ends in `end`."""
        (row,) = [row for row in self.train + self.test if row["id"].endswith(end)]
        return row

    def cluster(self, method: str, **section: Any) -> dict[str, Any]:
        """The statistics of the chosen arm."""
        chosen: dict[str, Any] = {"method": method, method: section} if section else {"method": method}
        return cluster(params_with(cluster=chosen).cluster, "chosen", 16, 0, self.layout)


def journey(root: Path, source: str, path: Path | None, **section: Any) -> Journey:
    """Ingests into `root`."""
    requested = {"source": source, "path": str(path) if path else None, "max_reject_fraction": 0.9} | section
    summary = ingest(params_with(ingest=requested).ingest, 0, Layout(root))
    train, test = (ImageSplit(root / "images", s).columns(COLUMNS).to_pylist() for s in ("train", "test"))
    rejects = pq.read_table(root / "images/rejects.parquet").to_pylist()
    refused = {reject["where"]: reject["reason"] for reject in rejects}
    assert len(rejects) == summary["rejected"]
    return Journey(Layout(root), summary, train, test, refused)
