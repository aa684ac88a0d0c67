"""Common types of the doctor: the result of a check, and the input of all checks."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pipeline.config.params import Params
from pipeline.storage.schema import Layout

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Check:
    status: Status
    what: str
    found: str
    cure: str = ""
    """A sentence that says what to do; required unless the status is ok."""

    def __post_init__(self) -> None:
        assert (self.status == "ok") or self.cure, f"{self.what}: a warning needs a cure"


@dataclass(frozen=True)
class Section:
    title: str
    checks: list[Check]


@dataclass(frozen=True)
class Situation:
    """What the doctor inspects, read-only."""

    params: Params | None
    """None: params.yaml is missing or invalid."""
    seconds: float = 8.0
    """Seconds for which each training is measured, after its warm-up; 0: not at all."""
    minutes: float | None = None
    """Time that the plan should fill; None: no plan."""
    images: int | None = None
    """Number of train images to plan for if none are ingested."""
    root: Path = Path()
    """Folder of the project."""
    layout: Layout = field(default_factory=Layout)

    @property
    def ingested(self) -> bool:
        return self.layout.ingest_summary.is_file() and any(self.layout.images.glob("train-*-of-*.parquet"))

    @property
    def arms(self) -> list[str]:
        return ["chosen", *(self.params.references if self.params is not None else [])]


def ok(what: str, found: str) -> Check:
    return Check("ok", what, found)


def warn(what: str, found: str, cure: str) -> Check:
    return Check("warn", what, found, cure)


def fail(what: str, found: str, cure: str) -> Check:
    return Check("fail", what, found, cure)


def size(count: float) -> str:
    """Formats bytes for people to read: 1.5 GB."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def duration(seconds: float) -> str:
    """Formats a duration exactly enough to plan with: 8.1 s, 75 s, 12 min 5 s, 3 h 20 min."""
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 100:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min"
