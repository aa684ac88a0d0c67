"""Checks of the pipeline's progress, from its files and DVC's records of them; nothing is hashed."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.config.params import PARAMS_FILE, by_dotted_name, load_params
from pipeline.doctor.base import Check, Situation, fail, ok, size, warn
from pipeline.runtime.errors import UserError, listed
from pipeline.storage.files import state_root
from pipeline.storage.outputs import ELSEWHERE, foreign_files, output_folders
from pipeline.storage.schema import CHOSEN, NOT_TRAINED, IngestSummary
from pipeline.storage.validation import read_json
from pipeline.untrusted.dvc_lock import read_lock
from pipeline.untrusted.git import check_trusted, run_git
from pipeline.untrusted.yaml_text import read_yaml

AGAIN = "`uv run dvc repro` makes it anew; `uv run dvc status` compares files and code, too."
ARMED = ("cluster", "pretrain", "evaluate")


def look(situation: Situation) -> list[Check]:
    return [
        _params(situation),
        _repository(situation.root),
        *_stages(situation),
        *_foreign(situation),
        *_unfinished(),
    ]


def _params(situation: Situation) -> Check:
    path = situation.root / PARAMS_FILE
    try:
        load_params(path)
    except UserError as error:
        return fail("params.yaml", str(error), "fix it: every stage checks the whole file first.")
    return ok("params.yaml", "valid")


def _repository(root: Path) -> Check:
    what = "repository"
    if not (root / ".dvc").is_dir():
        cure = "run from a clone's folder, or make one: `git init && uv run dvc init`."
        return fail(what, "there is no .dvc here, so `dvc repro` has nothing to start from", cure)
    try:
        check_trusted(root)
        completed = run_git("rev-parse", "--is-inside-work-tree", folder=root)
    except UserError as error:
        return fail(what, str(error), "until then neither `dvc repro` nor an experiment runs.")
    if completed.returncode:
        cure = 'run `git init && git add -A && git commit -m "Start"`: experiments start from a commit.'
        return fail(what, "no Git repository, without which DVC runs nothing", cure)
    return ok(what, "Git and DVC")


def _stages(situation: Situation) -> Iterator[Check]:
    lock: Mapping[str, Any] = {}
    try:
        lock = (read_lock("workspace", situation.root) or {}).get("stages", {})
    except UserError as error:
        yield fail("dvc.lock", str(error), "`git checkout dvc.lock` restores that of the last commit.")
    values = _read_params(situation.root / PARAMS_FILE)
    of_arms = [f"{stage}@{arm}" for stage in ARMED for arm in situation.arms if _has_stage(arm, stage)]
    not_trained = [arm for arm in situation.arms if arm in NOT_TRAINED]
    for name in ["ingest", *not_trained, *of_arms, "report"]:
        stage, _, arm = name.partition("@")
        in_lock = name if arm in ("", CHOSEN) else f"{stage}-reference@{arm}"
        yield _stage(situation, name, lock.get(in_lock, {}), values)


def _has_stage(arm: str, stage: str) -> bool:
    return arm not in NOT_TRAINED or stage == "evaluate"


def _stage(situation: Situation, name: str, entry: Mapping[str, Any], values: Mapping[str, Any]) -> Check:
    stage, _, arm = name.partition("@")
    layout = situation.layout
    left = {
        "ingest": layout.ingest_summary,
        "cluster": layout.assignments(arm),
        "pretrain": layout.encoder(arm) / "encoder.safetensors",
        "evaluate": layout.evaluation(arm) / "metrics.json",
        "report": layout.report / "report.html",
    }.get(stage, layout.encoder(stage) / "encoder.safetensors")
    if not left.is_file():
        return ok(name, "not yet")
    if changed := list(_changed(entry, values)):
        key, then = changed[0]
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        return warn(name, f"was made with {key}={then}{more}, and params.yaml says otherwise", AGAIN)
    return ok(name, f"done{_counts(situation) if stage == 'ingest' else ''}")


def _counts(situation: Situation) -> str:
    summary = read_json(situation.layout.ingest_summary, IngestSummary)
    counts = " and ".join(f"{count:,} {split}" for split, count in summary["images"].items())
    return f": {counts} images, {summary['rejected']:,} refused"


def _changed(entry: Mapping[str, Any], values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yields the parameters with which a stage ran and that params.yaml no longer holds."""
    recorded = entry.get("params", {}).get(PARAMS_FILE.name, {})
    for key, then in by_dotted_name(recorded):
        now: Any = values
        for part in key.split("."):
            now = now.get(part) if isinstance(now, Mapping) else None
        if now != then:
            yield key, then


def _foreign(situation: Situation) -> Iterator[Check]:
    """Finds files that a user put into folders that DVC empties before a stage runs."""
    for folder, own in output_folders(situation.layout).items():
        if names := foreign_files(situation.root / folder, own):
            found = f"holds {listed(names, 4)}, which no stage wrote, and which DVC will remove"
            yield fail(str(folder), found, f"before any other command move it away: {ELSEWHERE}.")


def _unfinished() -> list[Check]:
    folders = sorted(path.parent for path in state_root().glob("*/state.pt"))
    if not folders:
        return []
    count = sum(file.stat().st_size for folder in folders for file in folder.iterdir() if file.is_file())
    names = ", ".join(folder.name for folder in folders[:3])
    more = f" and {len(folders) - 3} more" if len(folders) > 3 else ""
    return [ok("unfinished trainings", f"{names}{more}, {size(count)}; the same parameters go on from there")]


def _read_params(path: Path) -> dict[str, Any]:
    try:
        values = read_yaml(path)
    except (OSError, UserError):
        return {}
    return values if isinstance(values, dict) else {}
