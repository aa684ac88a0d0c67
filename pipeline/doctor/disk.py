"""Checks of the free disk space for what a run writes: outputs, DVC's cache of them, and checkpoints."""

import shutil
from pathlib import Path

import torch

from pipeline.doctor.base import Check, Situation, fail, ok, size, warn
from pipeline.encoders.registry import architecture_of, build_encoder
from pipeline.runtime.errors import UserError
from pipeline.storage.files import state_root
from pipeline.untrusted.dvc.process import reading

SPARE_BYTES = 500 * 10**6
"""Reserve for what is not estimated: reports, tables, DVC's own files."""
STATE_COPIES = 2
"""Number of checkpoints: the newest and the previous one, each with the weights and the optimizer's state."""
OPTIMIZER_COPIES = {"muon": 1, "adamw": 2, "sgd": 1, "lars": 1}


def look(situation: Situation) -> list[Check]:
    written = _encoder_bytes(situation)
    cache, data = cache_folder(situation.root), situation.layout.root
    needed: dict[str, tuple[Path, int]] = {
        "data": (data, len(situation.arms) * written),
        "DVC's cache": (cache, len(situation.arms) * written),
        "states of trainings": (state_root(), _state_bytes(situation, written)),
    }
    # Paths on one disk share its free space.
    together: dict[int, int] = {}
    for path, count in needed.values():
        disk = _existing(path).stat().st_dev
        together[disk] = together.get(disk, 0) + count
    checks = [
        _room(what, path, count, together[_existing(path).stat().st_dev])
        for what, (path, count) in needed.items()
    ]
    if _existing(data).stat().st_dev != _existing(cache).stat().st_dev:
        checks.append(ok("links", "data and cache are on two disks: DVC links by name, or copies"))
    return checks


def _room(what: str, path: Path, count: int, together: int) -> Check:
    free = shutil.disk_usage(_existing(path)).free
    found = f"{size(free)} free for {path}; a run writes about {size(count)} of encoders there"
    if what == "states of trainings":
        found = f"{size(free)} free for {path}; each training keeps up to {size(count)} there while it runs"
    if free < together:
        return fail(what, found, "free some room: `uv run dvc gc --workspace` drops what no run needs.")
    if free < together + SPARE_BYTES:
        return warn(what, found, "free some room before a long run: the rest is written beside this.")
    return ok(what, found)


def cache_folder(root: Path) -> Path:
    """Returns DVC's cache folder as set in its configuration, which is only read."""
    try:
        request = {"root": str(root.resolve())}
        with reading("pipeline.doctor.dvc_config", request, "DVC's configuration") as found:
            named: str | None = found
    except UserError:
        named = None
    return root / ".dvc" / (named or "cache")


def _existing(path: Path) -> Path:
    """Returns `path`, or its nearest existing parent."""
    path = path.resolve()
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _encoder_bytes(situation: Situation) -> int:
    if situation.params is None:
        return 0
    pretrain = situation.params.pretrain
    with torch.device("meta"):
        size = situation.params.view_size
        encoder = build_encoder(architecture_of(pretrain.encoder, pretrain.stem_stride, size))
    return sum(weights.nbytes for weights in [*encoder.parameters(), *encoder.buffers()])


def _state_bytes(situation: Situation, encoder_bytes: int) -> int:
    if situation.params is None:
        return 0
    copies = 1 + OPTIMIZER_COPIES[situation.params.pretrain.optimizer]
    # A target network adds at most one more copy.
    return STATE_COPIES * (copies + 1) * encoder_bytes
