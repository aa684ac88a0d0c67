"""The provenance of the report: the commit, and the time of each stage."""

from collections.abc import Sequence

from pipeline.presentation.formatting import NOTHING, seconds
from pipeline.presentation.tables import Cell, Column, Table
from pipeline.report.arms import Arm
from pipeline.runtime.errors import UserError
from pipeline.storage.schema import ENCODER_CONFIG, Layout
from pipeline.storage.timings import seconds_of
from pipeline.untrusted.git import run_git


def commit() -> str | None:
    """Returns the commit of the working tree, with a suffix if files differ from it; None outside of Git."""
    head = _git("rev-parse", "--short=12", "HEAD")
    # Outputs of DVC and of the stages are not changes of the code.
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!dvc.lock", ":!data")
    return None if head is None else head + (" with changes" if changed else "")


def run_table(layout: Layout, arms: Sequence[Arm]) -> Table:
    entries = [("Commit of this report", commit() or NOTHING)]
    entries.append(("Time of ingest", seconds(seconds_of("ingest", layout.ingest_summary))))
    for arm in arms:
        stages = {
            "cluster": seconds_of(f"cluster@{arm.name}", layout.statistics(arm.name)),
            "pretrain": _seconds_of_training(arm, layout),
            "evaluate": seconds_of(f"evaluate@{arm.name}", layout.evaluation(arm.name) / "metrics.json"),
        }
        durations = ", ".join(
            f"{stage} {seconds(taken)}" for stage, taken in stages.items() if taken is not None
        )
        entries.append((f"Time of {arm.method}", durations))
    return Table(
        "The run",
        [Column("Item"), Column("Value")],
        [[Cell(key), Cell(value)] for key, value in entries],
        note="Outputs from DVC's cache or another machine only have the time of pretraining.",
    )


def _seconds_of_training(arm: Arm, layout: Layout) -> float | None:
    if arm.trained:
        return float(arm.timing["seconds"].sum())
    return seconds_of(arm.name, layout.encoder(arm.name) / ENCODER_CONFIG)


def _git(*arguments: str) -> str | None:
    try:
        ended = run_git(*arguments)
    except UserError:
        return None  # a report can be written without Git
    return ended.stdout.strip() if ended.returncode == 0 else None
