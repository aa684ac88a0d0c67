"""params.yaml is written as DVC writes it, so that `-S` changes no line but its own."""

import difflib
import shutil
from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides

from pipeline.config.params import load_params
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
        ("report.references=[untrained,label]", ["-   - instance"]),
        (
            "cluster.attributes.columns=[gender,usage]",
            ["-     columns: []", "+     columns:", "+     - gender", "+     - usage"],
        ),
    ],
)
def test_another_value_changes_its_own_lines_alone(tmp_path: Path, override: str, lines: list[str]) -> None:
    assert changed_by(tmp_path, override) == lines


@pytest.mark.parametrize("name", ["2019", "1e3", "010", "null", "~", "true", "12:30", "1.0", "2019-01-02"])
def test_the_quotes_that_a_sentence_shows_make_any_name_text(tmp_path: Path, name: str) -> None:
    copy = tmp_path / "params.yaml"
    shutil.copy(PARAMS, copy)
    apply_overrides(copy, [f"cluster.column.name='{name}'", f"cluster.attributes.columns=['{name}']"])
    params = load_params(copy)
    assert (params.cluster.column.name, params.cluster.attributes.columns) == (name, [name])
