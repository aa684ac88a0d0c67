"""The machine's part in a run: it decides speed, and no parameter names it."""

import os
from functools import cache
from pathlib import Path

import torch

from pipeline.runtime.errors import UserError, shown

DEVICE_VARIABLE = "CLINFONCE_DEVICE"


def pick_device() -> torch.device:
    """CUDA when there is one, else the CPU; the environment variable CLINFONCE_DEVICE overrides."""
    named = os.environ.get(DEVICE_VARIABLE)
    if named is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(named)
        torch.empty(0, device=device)
        # Others, such as `meta`, compute nothing.
        assert device.type in ("cpu", "cuda")
    except (RuntimeError, AssertionError):
        raise UserError(
            f"{DEVICE_VARIABLE}={shown(named)} is no device of this machine: use cpu or cuda"
        ) from None
    return device


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


def compute_dtype(precision: str, device: torch.device) -> torch.dtype:
    """`auto` is bfloat16 where the device has instructions for it, float32 elsewhere."""
    if precision == "auto":
        return torch.bfloat16 if computes_in_bfloat16(device) else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]


@cache
def computes_in_bfloat16(device: torch.device) -> bool:
    """Whether the device has instructions for it."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
