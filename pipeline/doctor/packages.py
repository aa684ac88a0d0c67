"""Checks of the versions of Python and the packages, and whether they are compatible."""

import importlib
import platform
import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

from pipeline.doctor.base import Check, Situation, fail, ok, warn

SHOWN = ("torch", "torchvision", "dvc", "pyarrow")
OLDEST_PYTHON = (3, 11)
SYNC = "run `uv sync`, which installs what pyproject.toml asks for"


def look(_situation: Situation) -> list[Check]:
    return [_python(), *_packages(), _pair(), _cuda(), _dvc_command()]


def _python() -> Check:
    found = f"{platform.python_version()} at {sys.executable}"
    if sys.version_info < OLDEST_PYTHON:
        oldest = ".".join(map(str, OLDEST_PYTHON))
        return fail("Python", found, f"Python {oldest} is the oldest that works: run `uv sync`.")
    return ok("Python", found)


def _packages() -> list[Check]:
    try:
        requested = [Requirement(line) for line in requires("clinfonce") or []]
    except PackageNotFoundError:
        present = [ok(name, found) for name in SHOWN if (found := installed(name)) is not None]
        cure = "run `uv sync`; until then the needed versions are unknown."
        return [warn("clinfonce", "is not installed in this environment", cure), *present]
    needed = [one for one in requested if one.marker is None or one.marker.evaluate()]
    checks = [_package(requirement) for requirement in needed]
    # Packages that affect the results are always shown, others only if there is a problem.
    return [check for check in checks if check.status != "ok" or check.what in SHOWN]


def _package(requirement: Requirement) -> Check:
    found = installed(requirement.name)
    if found is None:
        return fail(requirement.name, "is not installed", f"{SYNC}.")
    if not requirement.specifier.contains(found, prereleases=True):
        return fail(requirement.name, f"{found}, and {requirement.specifier} is needed", f"{SYNC}.")
    return ok(requirement.name, found)


def _pair() -> Check:
    what = "torch and torchvision"
    torch, torchvision = installed("torch"), installed("torchvision")
    if torch is None or torchvision is None:
        return fail(what, "one of them is missing", f"{SYNC}.")
    together = f"install the pair that was released together: {SYNC}."
    if reason := misfit(torch, torchvision, requires("torchvision") or []):
        return fail(what, reason, together)
    try:
        # Symptom of an incompatible pair: operator torchvision::nms does not exist.
        importlib.import_module("torchvision")
    except Exception as error:
        first_line = str(error).partition("\n")[0]
        return fail(what, f"cannot be loaded: {first_line}", together)
    return ok(what, "fit each other")


def misfit(torch: str, torchvision: str, requirements: list[str]) -> str:
    """Returns why these two versions are incompatible; empty if they are compatible.

    torchvision calls torch from compiled code: the `requirements` of each release name the torch that it
    needs.
    """
    for requested in map(Requirement, requirements):
        if requested.name == "torch" and not requested.specifier.contains(torch, prereleases=True):
            return f"torchvision {torchvision} asks for torch {requested.specifier}, and {torch} is installed"
    ours, theirs = Version(torch).local, Version(torchvision).local
    if ours and theirs and ours != theirs:
        return f"torch is built for {ours}, torchvision for {theirs}"
    return ""


def _cuda() -> Check:
    try:
        import torch
    except Exception as error:
        return fail("CUDA", f"torch cannot be loaded: {error}", f"{SYNC}.")
    built_for, driver = torch.version.cuda, _driver()
    if torch.cuda.is_available():
        return ok("CUDA", f"{built_for}, driver {driver or 'unknown'}")
    if driver is None:
        return ok("CUDA", "no NVIDIA driver here; training runs on the CPU")
    if built_for is None:
        cure = "install torch with CUDA (the default wheels of Linux have it), or go on with the CPU."
        return warn("CUDA", f"driver {driver}, and torch is built without CUDA", cure)
    cure = f"install a driver for CUDA {built_for} or newer, or a torch built for what the driver knows."
    return warn("CUDA", f"driver {driver}, which torch (CUDA {built_for}) cannot use", cure)


def _driver() -> str | None:
    """Returns the driver version of the NVIDIA GPUs; None if there is none."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    command = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        output = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r"\d[\d.]*", output)
    return found[0] if found is not None else None


def _dvc_command() -> Check:
    """Checks that dvc and python are those of this environment, because stages run `python` by its name."""
    here = Path(sys.executable).parent
    elsewhere = [
        f"{name} is {found}" if found is not None else f"{name} is not found"
        for name in ("dvc", "python")
        if (found := shutil.which(name)) is None or Path(found).parent != here
    ]
    if elsewhere:
        cure = "start it as `uv run dvc repro`, so that stages find this environment's packages."
        return warn("dvc repro", f"{' and '.join(elsewhere)} on the PATH, not in {here}", cure)
    return ok("dvc repro", "starts stages in this environment")


def installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
