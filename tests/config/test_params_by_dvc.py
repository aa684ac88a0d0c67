"""params.yaml is written as DVC writes it, so that `-S` changes no line but its own."""

import difflib
import shutil
from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides

from pipeline.config.params import by_dotted_name, load_params
from support import REPOSITORY

PARAMS = REPOSITORY / "params.yaml"


def changed_by(tmp_path: Path, override: str) -> list[str]:
    """The lines that differ after `dvc exp run -S override`, without their comments."""
    copy = tmp_path / "params.yaml"
    shutil.copy(PARAMS, copy)
    apply_overrides(copy, [override])
    before, after = PARAMS.read_text().splitlines(), copy.read_text().splitlines()
    return [line.split("#")[0].rstrip() for line in difflib.ndiff(before, after) if line[0] in "+-"]


@pytest.mark.parametrize(
    "override", ["seed=0", "cluster.attributes.top=null", "cluster.hashtags.stop_words=[]"]
)
def test_the_value_that_is_there_changes_nothing(tmp_path: Path, override: str) -> None:
    assert changed_by(tmp_path, override) == []


@pytest.mark.parametrize(
    ("override", "lines"),
    [
        ("cluster.method=kmeans", ["-   method: attributes", "+   method: kmeans"]),
        ("ingest.path=a.csv", ["-   path:", "+   path: a.csv"]),
        ("report.references=[untrained,start,label]", ["-   - instance"]),
        (
            "cluster.attributes.columns=[gender,usage]",
            ["-     columns: []", "+     columns:", "+     - gender", "+     - usage"],
        ),
    ],
)
def test_another_value_changes_its_own_lines_alone(tmp_path: Path, override: str, lines: list[str]) -> None:
    assert changed_by(tmp_path, override) == lines


LISTS = {
    "ingest.columns.attributes": "[a,b]",
    "ingest.columns.hierarchy": "[a,b]",
    "ingest.value_range": "[0,4095]",
    "cluster.attributes.columns": "[a,b]",
    "cluster.hashtags.stop_words": "[a,b]",
    "cluster.text.stop_words": "[a,b]",
    "pretrain.multi_head.columns": "[a,b]",
    "pretrain.multi_head.weights": "[1.0,2.5]",
    "pretrain.pcl.clusters": "[7]",
    "evaluate.label_fractions": "[0.1,0.5]",
    "report.references": "[label]",
}


def test_every_list_is_tried_below() -> None:
    params = by_dotted_name(load_params(PARAMS).model_dump())
    assert {name for name, value in params if isinstance(value, list)} <= LISTS.keys()


@pytest.mark.parametrize("name", LISTS)
def test_a_list_can_be_set_and_taken_back(tmp_path: Path, name: str) -> None:
    """ruamel.yaml, by which DVC writes, joins lines where a list with a comment beside it becomes empty."""
    copy = tmp_path / "params.yaml"
    shutil.copy(PARAMS, copy)
    before = load_params(copy)
    default = dict(by_dotted_name(before.model_dump()))[name]
    back = "null" if default is None else f"[{','.join(map(str, default))}]"
    for override in (f"{name}={LISTS[name]}", f"{name}={back}", "seed=1", "seed=0"):
        apply_overrides(copy, [override])
    assert load_params(copy) == before


@pytest.mark.parametrize("name", ["2019", "1e3", "010", "null", "~", "true", "12:30", "1.0", "2019-01-02"])
def test_the_quotes_that_a_sentence_shows_make_any_name_text(tmp_path: Path, name: str) -> None:
    copy = tmp_path / "params.yaml"
    shutil.copy(PARAMS, copy)
    apply_overrides(copy, [f"cluster.column.name='{name}'", f"cluster.attributes.columns=['{name}']"])
    params = load_params(copy)
    assert (params.cluster.column.name, params.cluster.attributes.columns) == (name, [name])
