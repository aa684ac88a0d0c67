"""What is promised of one image's time and memory, of the worst files and with the limits of every run."""

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ingest.costly import COSTLY
from pipeline.config.ingest import IngestParams
from pipeline.ingest.run import ingest
from pipeline.storage.schema import Layout
from pipeline.untrusted.isolation.limits import CPU_SECONDS, TOO_LARGE, TOO_SLOW
from support import REPOSITORY, png

pytestmark = pytest.mark.slow

ORDINARY = 6
SCRIPT = """
import sys
from pathlib import Path
from pipeline.config.ingest import IngestParams
from pipeline.ingest.run import ingest
from pipeline.storage.schema import Layout

params = {"source": "manifest", "path": sys.argv[1], "max_reject_fraction": 0.9}
ingest(IngestParams.model_validate(params), 0, Layout(Path(sys.argv[2])))
"""


def write_manifest(folder: Path, names: list[str], costly: bool) -> Path:
    """The ordinary images, the costly ones among them."""
    lines = []
    for number in range(ORDINARY):
        (folder / f"{number}.png").write_bytes(png(number, 40, 30))
        lines += [f"{number}.png,{'test' if number % 3 else 'train'}"]
        lines += [f"{names[number]},train"] if costly and number < len(names) else []
    path = folder / f"{'with' if costly else 'without'}.csv"
    path.write_text("\n".join(["image,split", *lines, ""]))
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of memory is Linux's")
def test_the_worst_files_cost_their_rows_and_little_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On one core, in one part."""
    monkeypatch.setenv("CLINFONCE_WORKERS", "1")
    for name, make in COSTLY.items():
        (tmp_path / name).write_bytes(make())
    with_them = write_manifest(tmp_path, list(COSTLY), costly=True)
    script = [sys.executable, "-c", SCRIPT, str(with_them), str(tmp_path / "with")]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    subprocess.run(script, env=os.environ | {"PYTHONPATH": str(REPOSITORY)}, check=True, timeout=200)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    refused = pq.read_table(tmp_path / "with/images/rejects.parquet").to_pylist()
    assert {row["where"]: row["reason"] for row in refused} == dict.fromkeys(COSTLY, TOO_SLOW) | {
        "one-tile.tif": TOO_LARGE
    }
    slow = len(COSTLY) - 1
    cpu_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert slow * CPU_SECONDS * 0.9 < cpu_seconds < slow * CPU_SECONDS + 8, time.perf_counter() - started

    params = {"source": "manifest", "path": str(write_manifest(tmp_path, [], costly=False))}
    ingest(IngestParams.model_validate(params), 0, Layout(tmp_path / "without"))
    for shard in (tmp_path / "without/images").glob("t*.parquet"):
        assert shard.read_bytes() == (tmp_path / "with/images" / shard.name).read_bytes()
