"""Choice of the device, which determines the speed of a run and is not a parameter."""

import os
from functools import cache
from pathlib import Path

import torch

from pipeline.runtime.errors import UserError, shown

DEVICE_VARIABLE = "CLINFONCE_DEVICE"


def pick_device() -> torch.device:
    """Returns CUDA if available, else the CPU, unless the variable CLINFONCE_DEVICE overrides this."""
    named = os.environ.get(DEVICE_VARIABLE)
    if named is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(named)
        torch.empty(0, device=device)
        # Other devices, such as `meta`, compute nothing.
        assert device.type in ("cpu", "cuda")
    except (RuntimeError, AssertionError):
        raise UserError(
            f"{DEVICE_VARIABLE}={shown(named)} is no device of this machine: use cpu or cuda"
        ) from None
    return device


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


def compute_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Returns the dtype; `auto` is bfloat16 if the device has instructions for it, else float32."""
    if precision == "auto":
        return torch.bfloat16 if computes_in_bfloat16(device) else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]


@cache
def computes_in_bfloat16(device: torch.device) -> bool:
    """Returns whether the device has instructions for bfloat16."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
