"""What decoders print in a worker reaches no terminal and no log; what the worker itself reports does."""

import os
import subprocess
import sys

import pytest

from support import REPOSITORY

pytestmark = pytest.mark.slow

CALL = """
from untrusted import victims
from pipeline.untrusted.isolation.pool import Call, Pool
pool = Pool(1)
try:
    print(pool.submit(Call({function}, {items}, {arguments}, victims.refused)).result())
finally:
    pool.close()
"""
DECODE = """
from ingest.costly import tiff_of_damaged_lines
from pipeline.inference.images.base import InputImage
from pipeline.inference.images.crop import squares
picture = InputImage("fax", tiff_of_damaged_lines(300))
"""


def run(script: str) -> "subprocess.CompletedProcess[str]":
    found = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests")])
    return subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": found},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_whatever_a_decoder_prints_is_dropped() -> None:
    ended = run(CALL.format(function="victims.noisy", items=["a", "b"], arguments=()))
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "['a', 'b']\n", "")


def test_libtiff_prints_nothing_about_damaged_lines() -> None:
    here = run(DECODE + "print(squares([picture], 32, None)[0][1].shape)")
    in_a_worker = run(DECODE + CALL.format(function="squares", items="[picture]", arguments=(32, None)))
    assert here.stdout == "(16, 16, 3)\n"
    assert here.stderr.count("Fax3") >= 100
    assert (in_a_worker.returncode, in_a_worker.stderr) == (0, "")


def test_a_worker_that_fails_still_says_why() -> None:
    ended = run(CALL.format(function="victims.all_of", items="[victims.Unreadable()]", arguments=()))
    assert ended.returncode != 0
    assert "ValueError: no worker can read it" in ended.stderr


def test_what_a_function_raises_has_its_traceback() -> None:
    ended = run(CALL.format(function="victims.all_of", items=[("raise", "an error of ours")], arguments=()))
    assert "in a worker process:" in ended.stderr
    assert "ValueError: an error of ours" in ended.stderr
