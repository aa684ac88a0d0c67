"""What `compare` forecasts of clusterings that were not trained."""

from pathlib import Path
from typing import Any

import pytest

from experiments.rows import row
from pipeline.config.params import by_dotted_name, load_params
from pipeline.experiments.compare import write_comparison
from pipeline.experiments.comparison import gather
from pipeline.experiments.outlook import Workspace, outlook
from pipeline.experiments.selection import select
from pipeline.presentation.tables import Table
from pipeline.storage.files import write_json
from pipeline.storage.schema import Layout
from support import REPOSITORY

PARAMS = dict(by_dotted_name(load_params(REPOSITORY / "params.yaml").model_dump()))
IMAGES = {"path": "data/images", "md5": "1.dir"}


def candidate(
    name: str, gain: float, changes: dict[str, Any], names_the_label: bool = False
) -> dict[str, Any]:
    return {
        "name": name,
        "changes": changes,
        "clusters": 4,
        "mutual_information_bits": 2.0,
        "conditional_entropy_bits": 1.0,
        "gain": {"estimate": gain, "low": gain - 0.4, "high": gain + 0.4},
        "as_good_as_best": False,
        "names_the_label": names_the_label,
        "is_column": True,
    }


def of_columns(*names: str) -> dict[str, Any]:
    return {"cluster.method": "attributes", "cluster.attributes.columns": list(names)}


ADVICE: Any = {
    "sentences": ["Cluster by shape."],
    "findings": [],
    "command": None,
    "ranked": [
        candidate("class_id", 1.0, of_columns("class_id"), names_the_label=True),
        candidate("shape x size", 0.6, of_columns("shape", "size")),
        candidate("shape", 0.5, of_columns("shape")),
        candidate("hashtags (top 3)", 0.2, {"cluster.method": "hashtags", "cluster.hashtags.top": 3}),
    ],
}
WORKSPACE = Workspace(ADVICE, "1.dir", PARAMS)


def experiment(name: str, top1: float | None, changes: dict[str, Any], **more: Any) -> dict[str, Any]:
    params = {key: _as_dvc_shows(value) for key, value in (PARAMS | changes).items()}
    return row(name, name, str(changes["cluster.method"]), top1, **(params | more))


def _as_dvc_shows(value: Any) -> Any:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else value if isinstance(value, bool) else str(value)


def table_of(
    rows: list[dict[str, Any]], md5: str = "1.dir", workspace: Workspace = WORKSPACE
) -> Table | None:
    lock = {"stages": {"ingest": {"outs": [IMAGES | {"md5": md5}]}}}
    (group,) = select(rows, {str(one["rev"]): lock for one in rows}).groups
    return outlook(group, workspace)


def test_the_best_untrained_candidates_by_those_that_were_trained() -> None:
    rows = [
        experiment("one", 0.6, of_columns("shape")),
        experiment("other-seed", 0.62, of_columns("shape"), seed=1.0),
    ]
    table = table_of(rows)
    assert table is not None
    assert [cells[0].text for cells in table.rows] == ["shape x size", "hashtags (top 3)"]
    # The line through 0.4 of the reference instance, 0.8 of label, and 0.61 at a gain of 0.5.
    assert [cells[1].text for cells in table.rows] == ["64.3 %", "48.3 %"]
    assert table.note is not None
    assert table.note.startswith("Forecast from 3 clusterings that were trained on these images")


def test_instance_and_label_count_as_experiments_too() -> None:
    """As in studies without references."""
    without = {"instance.top1": "None", "label.top1": "None"}
    rows = [
        experiment("instance", 0.4, {"cluster.method": "instance"}, **without),
        experiment("label", 0.8, {"cluster.method": "label"}, **without),
    ]
    table = table_of(rows)
    assert table is not None
    assert [cells[1].text for cells in table.rows] == ["64.0 %", "60.0 %", "48.0 %"]


@pytest.mark.parametrize(
    ("more", "md5"),
    [({}, "2.dir"), ({"pretrain.epochs": 77.0}, "1.dir"), ({"evaluate.neighbours": 3.0}, "1.dir")],
)
def test_other_images_and_other_trainings_tell_nothing(more: dict[str, Any], md5: str) -> None:
    assert table_of([experiment("one", 0.6, of_columns("shape"), **more)], md5) is None


def test_without_accuracies_or_candidates_there_is_none() -> None:
    assert table_of([experiment("one", None, of_columns("shape"))]) is None
    nothing = Workspace(ADVICE | {"ranked": []}, "1.dir", PARAMS)
    assert table_of([experiment("one", 0.6, of_columns("shape"))], workspace=nothing) is None


def test_it_stands_in_all_outputs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [experiment("one", 0.6, of_columns("shape"))]
    lock = {"stages": {"ingest": {"outs": [IMAGES]}}}
    comparison = select(rows, {"one": lock})
    assert gather(comparison).groups[0].outlook is None
    write_comparison(comparison, tmp_path / "c.html", tmp_path / "c.md", None, WORKSPACE)
    for text in (
        (tmp_path / "c.html").read_text(),
        (tmp_path / "c.md").read_text(),
        capsys.readouterr().out,
    ):
        assert "Not trained yet: the best candidates" in text
        assert "shape x size" in text


def test_the_workspace_is_read_where_the_stages_ran(tmp_path: Path) -> None:
    assert Workspace.read(tmp_path) is None
    (tmp_path / "params.yaml").write_text((REPOSITORY / "params.yaml").read_text())
    layout = Layout(tmp_path / "data")
    layout.advice.parent.mkdir(parents=True)
    write_json(layout.advice, ADVICE)
    assert Workspace.read(tmp_path) is None
    write_json(tmp_path / "dvc.lock", {"schema": "2.0", "stages": {"ingest": {"outs": [IMAGES]}}})
    read = Workspace.read(tmp_path)
    assert read is not None
    assert (read.images_hash, read.params["pretrain.epochs"]) == ("1.dir", PARAMS["pretrain.epochs"])
    layout.advice.write_text("{")
    assert Workspace.read(tmp_path) is None
