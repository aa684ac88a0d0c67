"""Experiment trackers, which receive the metrics of each epoch in addition to `history.csv`."""

import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from pipeline.runtime.errors import UserError, shown
from pipeline.untrusted.dvc.environment import SENDS_NOTHING

TRACKERS_VARIABLE = "CLINFONCE_TRACKERS"
"""Environment variable with comma-separated names of trackers; none if unset."""

Row = Mapping[str, float]
"""Metrics of an epoch by name; `epoch`, counted from 1, is one of them."""


class Tracker(Protocol):
    def add(self, row: Row) -> None: ...

    def close(self) -> None: ...


class _TensorBoard:
    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder))

    def add(self, row: Row) -> None:
        for name, value in row.items():
            if name != "epoch":
                self._writer.add_scalar(name, value, int(row["epoch"]))
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class _DVCLive:
    def __init__(self, folder: Path) -> None:
        from dvclive.live import Live

        # The repository may be untrusted, and the user of `dvc repro` may not have set these variables.
        os.environ.update(SENDS_NOTHING)
        # The stage is already DVC's: dvclive must neither make an experiment of it nor write a dvc.yaml.
        self._live: Any = Live(str(folder), save_dvc_exp=False, dvcyaml=None)

    def add(self, row: Row) -> None:
        self._live.step = int(row["epoch"])
        for name, value in row.items():
            if name != "epoch":
                self._live.log_metric(name, value)
        self._live.make_summary()

    def close(self) -> None:
        self._live.end()


TRACKERS: dict[str, Callable[[Path], Tracker]] = {"dvclive": _DVCLive, "tensorboard": _TensorBoard}


def tracker_names() -> list[str]:
    """Returns the names of the requested trackers. Raises `UserError` if one is unknown."""
    names = [name.strip() for name in os.environ.get(TRACKERS_VARIABLE, "").split(",") if name.strip()]
    for name in names:
        if name not in TRACKERS:
            known = ",".join(TRACKERS)
            raise UserError(f"{TRACKERS_VARIABLE}={shown(name)} is no tracker: use one or more of {known}")
    return names


class Trackers:
    """Several trackers, each with its own folder below `folder`."""

    def __init__(self, names: Sequence[str], folder: Path) -> None:
        self._names, self._folder = names, folder
        self._opened: list[Tracker] = []

    def begin(self, rows: Iterable[Row]) -> None:
        """Restarts all trackers with the finished epochs, as they may hold later ones from before a kill.

        Raises `UserError` if a tracker's package is not installed.
        """
        self.close()
        for name in self._names:
            shutil.rmtree(self._folder / name, ignore_errors=True)
            try:
                self._opened.append(TRACKERS[name](self._folder / name))
            except ImportError:
                raise UserError(
                    f"{TRACKERS_VARIABLE}={name} needs a package that is not installed: "
                    f"`uv sync --extra {name}`"
                ) from None
        for row in rows:
            self.add(row)

    def add(self, row: Row) -> None:
        for tracker in self._opened:
            tracker.add(row)

    def close(self) -> None:
        while self._opened:
            self._opened.pop().close()
