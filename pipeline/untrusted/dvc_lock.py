"""The dvc.lock of a commit or of the workspace, which may be untrusted."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.runtime.errors import UserError
from pipeline.untrusted.git import read_blob
from pipeline.untrusted.safe_paths import SafePath
from pipeline.untrusted.unsafe_path import UnsafePath
from pipeline.untrusted.yaml_text import parse_yaml

LOCK = "dvc.lock"
MOST_LOCK_BYTES = 1 << 20
"""Maximum size in bytes; the lock of a project with many stages has a hundred thousand."""


def read_lock(rev: str, root: Path = Path()) -> Mapping[str, Any] | None:
    """Reads the stages of the lock in `root`, or of its state in a commit; None if there is no lock.

    Raises `UserError` for a file that DVC did not write, such as one with conflict markers.
    """
    content = (
        _of_the_workspace(root / LOCK)
        if rev == "workspace"
        else read_blob(f"{rev}:./{LOCK}", MOST_LOCK_BYTES, root)
    )
    if not content:
        return None  # nothing was ever run there, or the experiment has no commit yet
    name = f"the {LOCK} of {rev}"
    lock = parse_yaml(content, name, MOST_LOCK_BYTES)
    stages = lock.get("stages", {}) if isinstance(lock, dict) else None
    if not isinstance(stages, dict) or not all(_is_stage(stage) for stage in stages.values()):
        raise UserError(f"{name} holds no stages: take the file that DVC wrote")
    return {"stages": stages}


def output_hash(lock: Mapping[str, Any] | None, path: str) -> str | None:
    """Returns DVC's hash of an output, None if no stage of the lock has made it."""
    for stage in (lock or {}).get("stages", {}).values():
        for out in stage.get("outs", []):
            if out["path"] == path and out.get("md5"):
                return str(out["md5"])
    return None


def _is_stage(stage: Any) -> bool:
    return (
        isinstance(stage, dict)
        and all(_are_files(stage.get(key, [])) for key in ("deps", "outs"))
        and isinstance(stage.get("params", {}), dict)
        and all(isinstance(values, dict) for values in stage.get("params", {}).values())
    )


def _are_files(files: Any) -> bool:
    return isinstance(files, list) and all(
        isinstance(file, dict) and isinstance(file.get("path"), str) for file in files
    )


def _of_the_workspace(path: Path) -> bytes:
    try:
        with SafePath(path).open_binary() as file:
            return file.read(MOST_LOCK_BYTES + 1)
    except UnsafePath:
        return b""
