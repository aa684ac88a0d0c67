"""Implementation of `clinfonce run`: the stages of dvc.yaml, in their order, without DVC and Git."""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from pipeline.config.params import PARAMS_FILE, load_params
from pipeline.runtime.console import echo
from pipeline.runtime.errors import UserError, listed, shown
from pipeline.storage.files import state_root
from pipeline.storage.locks import exclusive_lock
from pipeline.untrusted.safe_paths import SafePath
from pipeline.untrusted.yaml_text import MOST_BYTES, parse_yaml

STAGES_FILE = "dvc.yaml"
LONGEST_COMMAND = 1000
"""In characters; that of a stage has fifty."""
STARTED_BY_DVC = "DVC_STAGE"
"""Environment variable by which a stage ends when the process that started it dies."""


def run_stages(first: str | None, root: Path) -> None:
    """Runs all stages, or those from `first` on, such as `pretrain@chosen`. Nothing is cached.

    Each stage replaces its outputs, and a training that was interrupted resumes. Raises `UserError` for an
    unknown stage, for parameters that the stages do not take, and for a stage that fails.
    """
    load_params(root / PARAMS_FILE)
    commands = dict(stage_commands(root))
    names = list(commands)
    if first is not None and first not in names:
        raise UserError(f"there is no stage {shown(first)}: name one of {listed(names, len(names))}")
    with exclusive_lock(state_root() / "run" / "lock", "running the stages"):
        for name in names[names.index(first) if first else 0 :]:
            echo(f"run: {name}", stderr=True)
            # No shell: the words of dvc.yaml are arguments, and the interpreter is this one.
            ended = subprocess.run(  # noqa: S603
                [sys.executable, *commands[name]],
                cwd=root,
                env=os.environ | {STARTED_BY_DVC: name},
                check=False,
            )
            if ended.returncode:
                raise UserError(
                    f"the stage {name} ended with exit code {ended.returncode}: "
                    f"`clinfonce run --from {name}` runs it again, and those after it"
                )


def stage_commands(root: Path) -> Iterator[tuple[str, list[str]]]:
    """Yields the name of each stage, as in DVC, and the arguments of its Python.

    Raises `UserError` for stages that are no scripts of this project's kind.
    """
    with SafePath(root / STAGES_FILE).open_binary() as file:
        written = parse_yaml(file.read(MOST_BYTES + 1), STAGES_FILE)
    try:
        for name, stage in written["stages"].items():
            for item in stage.get("foreach", [None]):
                command = stage.get("do", stage)["cmd"]
                if not all(isinstance(text, str) for text in (name, item or "", command)):
                    raise TypeError(name)
                if len(command) + command.count("${item}") * len(item or "") > LONGEST_COMMAND:
                    raise ValueError(name)
                start, python, *arguments = shlex.split(command.replace("${item}", item or ""))
                if (start, python) != ("exec", "python"):
                    raise ValueError(name)
                yield (f"{name}@{item}" if item else name), arguments
    except (LookupError, TypeError, ValueError, AttributeError):
        raise UserError(
            f"{STAGES_FILE} has stages that only DVC can run: each command must be `exec python` and a script"
        ) from None
