"""Devices, memory and disks, where there is too little of them."""

import os
import shutil
from collections import namedtuple
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from doctor.small_project import one
from pipeline.doctor import disk, hardware, memory
from pipeline.doctor.base import Situation, duration, size
from pipeline.untrusted.dvc import process
from support import params_with

pytestmark = pytest.mark.slow

Usage = namedtuple("Usage", "total used free")


def test_more_threads_than_cores_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "usable_cores", lambda: 1.5)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    found = one(hardware.look(Situation(None)), "CPU cores")
    assert (found.status, found.cure[:17]) == ("warn", "set OMP_NUM_THREA")
    assert "OMP_NUM_THREADS=1:" in found.cure


def test_a_busy_machine_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(os, "getloadavg", lambda: (3.0, 0.0, 0.0))
    assert one(hardware.look(Situation(None)), "load").status == "warn"
    monkeypatch.setattr(os, "getloadavg", lambda: (0.3, 9.0, 9.0))
    assert one(hardware.look(Situation(None)), "load").status == "ok"


def test_a_batch_that_processes_cannot_share_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLINFONCE_PROCESSES", "3")
    checks = hardware.look(Situation(params_with(pretrain={"batch_size": 64})))
    assert one(checks, "pretrain.batch_size").status == "fail"


def test_bfloat16_without_instructions_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLINFONCE_DEVICE", "cpu")
    monkeypatch.setattr(hardware, "computes_in_bfloat16", lambda _device: False)
    requested, left = (
        one(hardware.look(Situation(params_with(pretrain={"precision": precision}))), "bfloat16")
        for precision in ("bfloat16", "auto")
    )
    assert (requested.status, left.status) == ("warn", "ok")


def test_a_device_that_is_not_there_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLINFONCE_DEVICE", "abacus")
    assert one(hardware.look(Situation(None)), "training runs on").status == "fail"


@pytest.mark.parametrize(
    ("free", "pixels", "evaluation"), [(10**10, "ok", "ok"), (12_000, "warn", "ok"), (5_000, "warn", "fail")]
)
def test_pixels_against_the_free_memory(
    ingested: Situation, free: int, pixels: str, evaluation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """18 train images of 12 x 12 pixels: 7,776 bytes, and half of the free memory must hold them."""
    monkeypatch.setattr(memory, "available_memory", lambda: free)
    monkeypatch.setattr("pipeline.training.loaders.select.available_memory", lambda: free)
    checks = memory.look(ingested)
    assert one(checks, "train pixels").found.startswith("7.8 kB decoded, 18 images on a canvas of 12 x 12")
    assert (one(checks, "train pixels").status, one(checks, "evaluation").status) == (pixels, evaluation)


def test_a_loader_that_the_memory_does_not_hold_fails(
    ingested: Situation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 5_000)
    monkeypatch.setenv("CLINFONCE_LOADER", "resident")
    assert one(memory.look(ingested), "train pixels").status == "fail"


def test_pixels_before_ingest(folder: Path) -> None:
    found = one(memory.look(Situation(params_with(ingest={"image_size": 100}))), "pixels")
    assert "30.0 MB for 1,000 of 100 x 100 pixels" in found.found


@pytest.mark.parametrize(("free", "status"), [(1_100, "ok"), (1_000, "warn"), (500, "fail")])
def test_room_on_the_disk(folder: Path, free: int, status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Megabytes. A ResNet-18 has 44.7; two encoders lie in data and in the cache: 179. Of a training two
    states are there, with AdamW's two copies and a target network: 358. Together 537, and 500 to spare."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(0, 0, free * 10**6))
    large = {"encoder": "resnet18", "stem_stride": 4, "optimizer": "adamw"}
    checks = disk.look(Situation(params_with(pretrain=large, report={"references": ["instance"]})))
    assert [check.status for check in checks] == [status] * 3
    assert "about 89.5 MB of encoders" in checks[0].found
    assert "up to 358 MB" in checks[2].found


def test_the_cache_lies_where_dvc_says(folder: Path, tmp_path: Path) -> None:
    assert disk.cache_folder(folder).resolve() == (folder / ".dvc" / "cache").resolve()
    (folder / ".dvc" / "config").write_text(f"[cache]\n    dir = {tmp_path / 'shared'}\n")
    assert disk.cache_folder(folder) == tmp_path / "shared"
    (folder / ".dvc" / "config.local").write_text("[cache]\n    dir = ../beside\n")
    assert disk.cache_folder(folder).resolve() == (folder / "beside").resolve()


def _device(config: Path) -> None:
    config.symlink_to("/dev/zero")


def _pipe(config: Path) -> None:
    os.mkfifo(config)


def _interpolation(config: Path) -> None:
    """Of a thousand million letters."""
    lines = [f"a{n} = {f'%(a{n - 1})s' * 10}" for n in range(1, 10)]
    config.write_text("\n".join(["[core]", "a0 = x", *lines, "[cache]", "dir = %(a9)s", ""]))


@pytest.mark.parametrize(
    "write", [_device, _pipe, _interpolation, lambda config: config.write_bytes(b"\xff")]
)
def test_a_configuration_that_dvc_did_not_write(
    write: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "WALL_SECONDS", 10)
    monkeypatch.setattr(process, "MEMORY_BYTES", 512 << 20)
    (tmp_path / ".dvc").mkdir()
    write(tmp_path / ".dvc/config")
    assert disk.cache_folder(tmp_path) == tmp_path / ".dvc/cache"


def test_before_params_yaml_is_there(folder: Path) -> None:
    nobody = replace(Situation(None), root=folder)
    assert memory.look(nobody)
    assert disk.look(nobody)


@pytest.mark.parametrize(
    ("seconds", "output"), [(8.14, "8.1 s"), (75.4, "75 s"), (725, "12 min 5 s"), (12_000, "3 h 20 min")]
)
def test_durations(seconds: float, output: str) -> None:
    assert duration(seconds) == output


@pytest.mark.parametrize(
    ("count", "output"), [(12, "12 B"), (7776, "7.8 kB"), (134e6, "134 MB"), (2.5e13, "25.0 TB")]
)
def test_sizes(count: float, output: str) -> None:
    assert size(count) == output
