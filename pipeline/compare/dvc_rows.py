"""Reads experiments from DVC. The only module here that imports it, because that takes a second."""

from collections.abc import Mapping, Sequence
from typing import Any

import dvc.api
from dvc.exceptions import DvcException
from ruamel.yaml import YAML
from scmrepo.exceptions import SCMError

from pipeline.compare.experiments import Row
from pipeline.errors import UserError

LOCK = "dvc.lock"


def read_rows(names: Sequence[str]) -> list[Row]:
    """Without names: what `dvc exp show` shows. A name is an experiment's, or a branch, tag or commit,
    which stands for itself and the experiments made from it. Raises `UserError` for an unknown one."""
    if not names:
        return _exp_show(
            "no experiments can be read here: run in the project's folder, a Git and DVC repository"
        )
    everywhere = _exp_show("no experiments can be read here", num=-1)
    rows: dict[str, Row] = {}
    for name in names:
        found = [row for row in everywhere if row["Experiment"] == name]
        found = found or _of_revision(name)
        rows |= {str(row["rev"]): row for row in found}
    return list(rows.values())


def read_locks(rows: Sequence[Row]) -> dict[str, Mapping[str, Any] | None]:
    return {str(row["rev"]): _read_lock(str(row["rev"])) for row in rows}


def _of_revision(name: str) -> list[Row]:
    if name == "workspace":
        return [row for row in _exp_show("the workspace cannot be read") if row["rev"] == "workspace"]
    rows = _exp_show(
        f"there is no experiment, branch or commit {name}: `dvc exp list -A` names them", revs=[name]
    )
    return [row for row in rows if row["rev"] != "workspace"]


def _read_lock(rev: str) -> Mapping[str, Any] | None:
    try:
        text = dvc.api.read(LOCK, rev=None if rev == "workspace" else rev)
    except (DvcException, SCMError, OSError):
        return None  # nothing was ever run there, or the experiment has no commit yet
    lock: Mapping[str, Any] = YAML(typ="safe", pure=True).load(text)
    return lock


def _exp_show(why_not: str, **selection: Any) -> list[Row]:
    try:
        rows: list[Row] = dvc.api.exp_show(**selection)
    except (DvcException, SCMError) as error:
        raise UserError(f"{why_not} ({error})") from None
    return rows
