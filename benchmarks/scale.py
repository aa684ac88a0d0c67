"""Memory and time of ingest and cluster for growing numbers of images, and of an idle `dvc repro`.

uv run python -m benchmarks.scale
"""

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import typer
from PIL import Image
from ruamel.yaml import YAML

from benchmarks.harness import Goal, JsonFlag, Outcome

REPOSITORY = Path(__file__).parents[1]
COPIED = ["pipeline", "stages", "params.yaml", "dvc.yaml", ".dvcignore", ".gitignore"]
IMAGES_PER_SHARD = 10_000
SIDE = 32
STAGE = """
import re, sys, time
from pathlib import Path
begun = time.perf_counter()
sys.argv = sys.argv[1:]
from importlib import import_module
try:
    import_module(sys.argv[0]).app(standalone_mode=False)
finally:
    # getrusage would count what the parent held when it started this process.
    (peak_kb,) = re.findall(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
    print("measured", time.perf_counter() - begun, int(peak_kb) * 1024 / 1e6)
"""


def measure(largest: int = 200_000, as_json: JsonFlag = False) -> None:
    """PNG files of 32 pixels with six hashtags each, in tar shards; clustered by hashtags."""
    outcome = Outcome("scale")
    rows = []
    with tempfile.TemporaryDirectory() as name:
        shards = Path(name) / "shards"
        _write_shards(shards, largest)
        for images in (largest // 4, largest // 2, largest):
            project = Path(name) / f"project-{images}"
            _copy_project(project, shards, images)
            row: dict[str, Any] = {"images": images}
            for stage, arguments in (("ingest", []), ("cluster", ["chosen"])):
                row[f"{stage}, s"], row[f"{stage}, peak MB"] = _run_stage(project, stage, arguments)
            rows.append(row)
        outcome.tables["Main process, workers apart"] = rows
        outcome.goals.append(Goal("seconds of an idle dvc repro", _idle_repro(project), 10, at_least=False))
    for stage in ("ingest", "cluster"):
        growth = (rows[-1][f"{stage}, peak MB"] - rows[0][f"{stage}, peak MB"]) * 1e6
        bytes_an_image = growth / (rows[-1]["images"] - rows[0]["images"])
        outcome.goals.append(Goal(f"{stage}, bytes of memory an image", bytes_an_image, 1000, at_least=False))
    outcome.tell(as_json)


def _write_shards(folder: Path, images: int) -> None:
    folder.mkdir()
    generator = np.random.default_rng(0)
    for start in range(0, images, IMAGES_PER_SHARD):
        with tarfile.open(folder / f"{start // IMAGES_PER_SHARD:05d}.tar", "w") as shard:
            for number in range(start, min(start + IMAGES_PER_SHARD, images)):
                pixels = generator.integers(0, 256, (4, 4, 3), np.uint8)
                buffer = io.BytesIO()
                Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(buffer, "PNG")
                tags = [f"tag{tag}" for tag in sorted(set(generator.zipf(1.5, 6).clip(max=5000).tolist()))]
                output = {"label": f"label{generator.integers(100)}", "hashtags": tags}
                for ending, content in (("png", buffer.getvalue()), ("json", json.dumps(output).encode())):
                    member = tarfile.TarInfo(f"{number:09d}.{ending}")
                    member.size = len(content)
                    shard.addfile(member, io.BytesIO(content))


def _copy_project(root: Path, shards: Path, images: int) -> None:
    root.mkdir()
    for name in COPIED:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, root / name)
    chosen = root / "shards"
    chosen.mkdir()
    for shard in sorted(shards.iterdir())[: -(-images // IMAGES_PER_SHARD)]:
        os.link(shard, chosen / shard.name)
    yaml = YAML()
    params = yaml.load(root / "params.yaml")
    params["ingest"] |= {"source": "webdataset", "path": "shards", "image_size": SIDE}
    params["ingest"]["columns"] |= {"label": "label", "hashtags": "hashtags"}
    params["cluster"]["method"] = "hashtags"
    params["report"]["references"] = []
    yaml.dump(params, root / "params.yaml")
    (root / ".gitignore").open("a").write("/shards\n")
    for command in (["git", "init", "--quiet"], ["dvc", "init", "--quiet"], ["git", "add", "--all"]):
        subprocess.run(command, cwd=root, check=True)


def _run_stage(project: Path, stage: str, arguments: list[str]) -> tuple[float, float]:
    """Returns the seconds and the peak memory in MB, including imports."""
    done = subprocess.run(
        [sys.executable, "-c", STAGE, f"stages.{stage}", *arguments],
        cwd=project,
        env=os.environ | {"PYTHONPATH": str(project)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    _, seconds, megabytes = done.stdout.splitlines()[-1].split()
    return float(seconds), float(megabytes)


def _idle_repro(project: Path) -> float:
    """Returns the seconds of a `dvc repro` that has nothing to run."""
    environment = os.environ | {"PYTHONPATH": str(project), "DVC_NO_ANALYTICS": "1"}
    command = ["dvc", "repro", "cluster@chosen"]
    subprocess.run(command, cwd=project, env=environment, check=True, capture_output=True)
    started = time.perf_counter()
    done = subprocess.run(command, cwd=project, env=environment, check=True, capture_output=True, text=True)
    assert "Running stage" not in done.stdout
    return time.perf_counter() - started


if __name__ == "__main__":
    typer.run(measure)
