"""Packages that are missing, too old, or not made for each other."""

import importlib
import shutil

import pytest

from doctor.small_project import one
from pipeline.doctor import packages as versions
from pipeline.doctor.base import Situation

NOBODY = Situation(None)


@pytest.mark.parametrize(
    ("torch", "torchvision", "requested", "reason"),
    [
        ("2.11.0", "0.26.0", ["numpy", "torch==2.11.0"], ""),
        ("2.11.0+cu128", "0.26.0+cu128", ["torch (==2.11.0)"], ""),
        ("2.15.0", "0.29.2", ["torch>=2.14.0"], ""),
        ("2.12.0", "0.26.0", ["torch==2.11.0"], "torchvision 0.26.0 asks for torch ==2.11.0, and 2.12.0 is"),
        ("2.11.0+cpu", "0.26.0+cu128", ["torch==2.11.0"], "torch is built for cpu, torchvision for cu128"),
    ],
)
def test_a_pair_that_was_not_released_together_is_reported(
    torch: str, torchvision: str, requested: list[str], reason: str
) -> None:
    assert versions.misfit(torch, torchvision, requested).startswith(reason)
    assert bool(versions.misfit(torch, torchvision, requested)) == bool(reason)


def test_a_pair_that_cannot_be_loaded_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_name: str) -> None:
        raise RuntimeError("operator torchvision::nms does not exist\nand more")

    monkeypatch.setattr(importlib, "import_module", broken)
    found = one(versions.look(NOBODY), "torch and torchvision")
    assert (found.status, found.found) == (
        "fail",
        "cannot be loaded: operator torchvision::nms does not exist",
    )


def test_what_is_missing_or_too_old_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        versions, "requires", lambda _name: ["dvc>=99", "nonesuch>=1", "rich>=1", 'no; extra == "x"']
    )
    checks = versions.look(NOBODY)
    assert one(checks, "nonesuch").found == "is not installed"
    assert (one(checks, "dvc").status, one(checks, "nonesuch").status) == ("fail", "fail")
    assert "and >=99 is needed" in one(checks, "dvc").found
    assert not {"rich", "no"} & {check.what for check in checks}, "what is in order and of no interest"


def test_dvc_of_another_environment_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/elsewhere/{name}")
    found = one(versions.look(NOBODY), "dvc repro")
    assert found.status == "warn"
    assert "dvc is /elsewhere/dvc and python is /elsewhere/python" in found.found
    assert "uv run dvc repro" in found.cure


def test_a_driver_that_torch_cannot_use_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(versions, "_driver", lambda: "550.1")
    monkeypatch.setattr(torch.version, "cuda", None)
    assert "built without CUDA" in one(versions.look(NOBODY), "CUDA").found
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    assert one(versions.look(NOBODY), "CUDA").found == "driver 550.1, which torch (CUDA 13.0) cannot use"
