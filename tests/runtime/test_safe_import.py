"""A library in the current folder is not loaded, by whichever import is the first of torch."""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from support import REPOSITORY

RUNS = """
#include <stdio.h>
__attribute__((constructor)) static void run(void) { fclose(fopen("{mark}", "w")); }
"""
COMMANDS = {
    "torch": "import pipeline, torch",
    "a part of torch": "import pipeline; from torch.nn import functional",
    "a library that imports torch": "import pipeline, torchvision",
    "a module": "import pipeline.inference.embed",
    "another thread": "import pipeline, threading; "
    "one = threading.Thread(target=__import__, args=['torch']); one.start(); one.join()",
}


def _folder_with_code(folder: Path) -> Path:
    """Returns the file that is there once the code has run."""
    mark = folder / "RAN"
    (folder / "c.c").write_text(RUNS.replace("{mark}", str(mark)))
    library = folder / "libcuda.so.1"
    command = ["cc", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o", str(library), str(folder / "c.c")]
    subprocess.run(command, check=True)
    return mark


def _run(code: str, folder: Path) -> str:
    """Also prints the current folder and what torch computes."""
    code += "; import os, torch; print(os.getcwd(), int(torch.ones(2).sum()))"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
@pytest.mark.skipif(sys.platform != "linux", reason="the search path is Linux's")
@pytest.mark.parametrize("name", COMMANDS)
def test_a_library_in_the_current_folder_is_not_run(tmp_path: Path, name: str) -> None:
    mark = _folder_with_code(tmp_path)
    assert _run(COMMANDS[name], tmp_path) == f"{tmp_path} 2"
    assert not mark.exists()


def test_torch_is_not_imported_for_its_sake(tmp_path: Path) -> None:
    code = "import pipeline, sys; print('torch' in sys.modules)"
    assert _run(code, tmp_path).splitlines()[0] == "False"


def test_what_torch_is_stays_the_same() -> None:
    """Its source is found as that of any module."""
    spec = find_spec("torch")
    assert spec is not None
    assert spec.origin is not None
    assert Path(spec.origin).is_file()
