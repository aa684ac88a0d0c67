"""The lines that the documentation shows for other readers of the stored images are run."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from docs.shell_in_markdown import commands, snippets
from pipeline.ingest.run import ingest
from pipeline.storage.schema import Layout
from support import REPOSITORY, params_with

pytestmark = pytest.mark.slow

SEEN = {"datasets": "(12, 12) cat", "duckdb": "cat", "polars": '"#Pet"'}
SHOWN = [
    str(command.here_document)
    for snippet in snippets((REPOSITORY / "docs/your-images.md").read_text())
    if not snippet.between_backticks
    for command in commands(snippet.script)
    if "readers" in command.words
]


@pytest.mark.parametrize(("name", "code"), list(zip(SEEN, SHOWN, strict=True)))
def test_shown_lines_read_the_images(
    manifest: Callable[..., Path], tmp_path: Path, name: str, code: str
) -> None:
    pytest.importorskip(name, reason="the dependency group `readers` is not installed")
    params = params_with(ingest={"source": "manifest", "path": str(manifest(24))})
    ingest(params.ingest, 0, Layout(tmp_path / "data"))
    offline = os.environ | {"HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=offline, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert SEEN[name] in done.stdout
