"""dvc.yaml lists for each stage exactly the modules that its entry point imports.

`python tests/test_dvc_yaml.py` brings the lists up to date.
"""

import re
from pathlib import Path
from typing import Any, get_args

import grimp
import pytest
from ruamel.yaml import YAML

from pipeline.evaluation.params import EvaluateParams
from pipeline.objectives.params import MocoParams, Objective
from pipeline.report.params import Reference
from pipeline.schema import CHOSEN, UNTRAINED, ArmName, TrainedArm
from pipeline.training.params import PretrainParams
from support import REPOSITORY

STAGES = ["ingest", "cluster", "untrained", "pretrain", "evaluate", "report"]


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("pipeline", "stages", cache_dir=None)


@pytest.fixture(scope="module")
def stages() -> dict[str, Any]:
    declared: dict[str, Any] = YAML(typ="safe").load(REPOSITORY / "dvc.yaml")["stages"]
    return declared


def file_of(module: str) -> str:
    path = Path(*module.split("."))
    package = path / "__init__.py"
    return str(package if (REPOSITORY / package).exists() else path.with_suffix(".py"))


def import_closure(graph: grimp.ImportGraph, stage: str) -> set[str]:
    """Files that `stages/<stage>.py` imports, directly or not, and the packages run on the way."""
    modules = graph.find_upstream_modules(f"stages.{stage}")
    packages = {".".join(m.split(".")[:depth]) for m in modules for depth in range(1, m.count(".") + 1)}
    return {f"stages/{stage}.py", *(file_of(module) for module in modules | packages)}


@pytest.mark.parametrize("stage", STAGES)
def test_modules_are_the_import_closure(graph: grimp.ImportGraph, stages: dict[str, Any], stage: str) -> None:
    declared = stages[stage].get("do", stages[stage])["deps"]
    assert len(declared) == len(set(declared))
    modules = {dependency for dependency in declared if dependency.endswith(".py")}
    assert modules == import_closure(graph, stage)


@pytest.mark.parametrize("stage", ["cluster", "pretrain", "evaluate"])
def test_references_run_what_the_chosen_arm_runs(stages: dict[str, Any], stage: str) -> None:
    chosen, reference = stages[stage]["do"], stages[f"{stage}-reference"]["do"]
    for key in ("cmd", "deps"):
        assert chosen[key] == reference[key]
    # Only the clusters depend on which references are asked for: no change of the list trains one again.
    assert ("report.references" in reference["params"]) == (stage == "cluster")
    assert set(reference["outs"]) <= set(chosen["outs"])
    assert "cluster" not in reference["params"]


def test_references_depend_on_all_choices_but_the_objective_s(stages: dict[str, Any]) -> None:
    params = PretrainParams(objective="swav", epochs=3, moco=MocoParams(queue=7)).of_references()
    assert (params.objective, params.epochs, params.moco) == ("cl_infonce", 3, MocoParams())
    of_objectives = {"objective", *get_args(Objective)}
    expected = [f"pretrain.{name}" for name in PretrainParams.model_fields if name not in of_objectives]
    assert stages["pretrain-reference"]["do"]["params"] == ["seed", "ingest.image_size", *expected]


def test_references_depend_on_all_of_the_evaluation_but_the_transfer(stages: dict[str, Any]) -> None:
    expected = [f"evaluate.{name}" for name in EvaluateParams.model_fields if name != "transfer_from"]
    assert stages["evaluate-reference"]["do"]["params"] == ["seed", *expected]


def test_only_arms_named_here_become_part_of_commands_and_paths(stages: dict[str, Any]) -> None:
    """What a shell runs and DVC deletes depends on no value of params.yaml."""
    references = list(get_args(Reference))
    trained = [arm for arm in references if arm != UNTRAINED]
    assert {CHOSEN, *trained} == set(TrainedArm)
    assert {CHOSEN, *references} == set(ArmName)
    for name, stage in stages.items():
        body = stage.get("do", stage)
        assert stage.get("foreach", []) in ([], [CHOSEN], references, trained), name
        filled = re.findall(r"\$\{([^}]*)\}", str(body))
        assert set(filled) <= ({"item"} if "foreach" in stage else set()), name
    assert not {"vars", "params"} & YAML(typ="safe").load(REPOSITORY / "dvc.yaml").keys()


def test_entry_points_hold_no_logic() -> None:
    for stage in STAGES:
        assert len((REPOSITORY / "stages" / f"{stage}.py").read_text().splitlines()) < 55


def rewrite_lists() -> None:
    graph = grimp.build_graph("pipeline", "stages", cache_dir=None)
    path = REPOSITORY / "dvc.yaml"
    kept: list[str] = []
    stage, listed = "", False
    for line in path.read_text().splitlines():
        if command := re.search(r"stages/(\w+)\.py", line) if "cmd:" in line else None:
            stage, listed = command.group(1), False
        module = re.fullmatch(r"( +- )\S+\.py", line)
        if module is None:
            kept.append(line)
        elif not listed:
            files = sorted(import_closure(graph, stage), key=lambda file: (file.startswith("pipeline"), file))
            kept += [module.group(1) + file for file in files]
            listed = True
    path.write_text("\n".join(kept) + "\n")


if __name__ == "__main__":
    rewrite_lists()
