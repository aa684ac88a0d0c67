"""dvc.yaml names, for each stage, the folders and files of the code that its entry point imports."""

import re
from pathlib import PurePath
from typing import Any, get_args

import grimp
import pytest
from ruamel.yaml import YAML

from pipeline.config.evaluate import EvaluateParams
from pipeline.config.objectives import MocoParams, Objective
from pipeline.config.pretrain import PretrainParams
from pipeline.config.report import Reference
from pipeline.storage.schema import CHOSEN, NOT_TRAINED, ArmName, TrainedArm
from support import REPOSITORY

STAGES = ["ingest", "cluster", "untrained", "start", "pretrain", "evaluate", "report"]
CONFIG = PurePath("pipeline/config")
"""No dependency: DVC compares the values of params.yaml."""


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("pipeline", "stages", cache_dir=None)


@pytest.fixture(scope="module")
def stages() -> dict[str, Any]:
    declared: dict[str, Any] = YAML(typ="safe").load(REPOSITORY / "dvc.yaml")["stages"]
    return declared


def imported_files(graph: grimp.ImportGraph, stage: str) -> set[PurePath]:
    """Modules that `stages/<stage>.py` imports, directly or not."""
    modules = graph.find_upstream_modules(f"stages.{stage}") | {f"stages.{stage}"}
    paths = [PurePath(*module.split(".")) for module in modules]
    return {path.with_suffix(".py") for path in paths if not (REPOSITORY / path).is_dir()}


@pytest.mark.parametrize("stage", STAGES)
def test_dependencies_cover_the_imports_and_no_more(
    graph: grimp.ImportGraph, stages: dict[str, Any], stage: str
) -> None:
    declared = [PurePath(path) for path in stages[stage].get("do", stages[stage])["deps"]]
    code = [path for path in declared if path.parts[0] != "data"]
    assert len(declared) == len(set(declared))
    imported = {path for path in imported_files(graph, stage) if not path.is_relative_to(CONFIG)}
    assert [path for path in imported if not any(path.is_relative_to(folder) for folder in code)] == []
    assert [path for path in code if not any(file.is_relative_to(path) for file in imported)] == []


@pytest.mark.parametrize(
    ("file", "changed"),
    [
        ("pipeline/report/verdict.py", {"report"}),
        ("pipeline/presentation/tables.py", {"report"}),
        ("pipeline/evaluation/knn.py", {"evaluate", "evaluate-reference"}),
        ("pipeline/clustering/methods/kmeans.py", {"cluster", "cluster-reference"}),
        ("pipeline/objectives/moco.py", {"pretrain", "pretrain-reference"}),
        ("pipeline/training/loaders/streamed.py", {"untrained", "start", "pretrain", "pretrain-reference"}),
        ("pipeline/config/report.py", set()),
        ("pipeline/experiments/compare.py", set()),
    ],
)
def test_stages_that_a_changed_file_runs_again(stages: dict[str, Any], file: str, changed: set[str]) -> None:
    """And those that depend on their outputs."""
    bodies = {name: stage.get("do", stage) for name, stage in stages.items()}
    assert (REPOSITORY / file).is_file()
    assert changed == {
        name
        for name, body in bodies.items()
        if any(PurePath(file).is_relative_to(dependency) for dependency in body["deps"])
    }


def test_each_artifact_is_an_output(stages: dict[str, Any]) -> None:
    artifacts = YAML(typ="safe").load(REPOSITORY / "dvc.yaml")["artifacts"]
    outputs = [
        output.replace("${item}", item)
        for stage in stages.values()
        for item in stage.get("foreach", [""])
        for output in stage.get("do", stage).get("outs", [])
    ]
    assert {artifact["path"] for artifact in artifacts.values()} == {
        output for output in outputs if output.startswith("data/encoders/")
    }
    assert all(artifact["type"] == "model" for artifact in artifacts.values())


def test_packages_hold_no_code() -> None:
    """Else the code of a package would run in a stage that depends on single files of it. That of the first
    of them decides no output: it keeps strangers' code out."""
    for path in (REPOSITORY / "pipeline").rglob("__init__.py"):
        code = path.read_text()
        if path.parent.name == "pipeline":
            code = code.replace("\nfrom pipeline.runtime.safe_import import guard_torch\n\n", "")
            code = re.sub(r"^guard_torch\(\)  # .*\n", "", code, flags=re.MULTILINE)
        assert re.fullmatch(r'"""[^"]*"""\n', code), path


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
    trained = [arm for arm in references if arm not in NOT_TRAINED]
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
