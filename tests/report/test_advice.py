"""The section of the report that says what to cluster by."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.report.advice import advice_findings, advice_section
from pipeline.report.arms import read_arms
from pipeline.storage.schema import AdviceRecord
from pipeline.storage.validation import read_json
from report.fake_data import FakeData, built
from support import params_with

pytestmark = pytest.mark.slow


def test_advice_stands_in_both_reports(tmp_path: Path) -> None:
    layout = built(FakeData(), tmp_path)
    for report in ("report.html", "report.md"):
        text = (layout.report / report).read_text()
        assert "What to cluster by" in text
        assert "Cluster by colour x season: expected to give 60" in text
        assert "dvc exp run -S cluster.method=attributes" in text
        assert "names the label" in text
        assert "Only 40 images have a label." in text
        assert "Leave out season." in text


def test_gains_are_also_in_points_of_these_images(tmp_path: Path) -> None:
    layout = built(FakeData(), tmp_path)
    arms = read_arms(layout, ["instance", "label"])
    top1 = {arm.name: arm.top1 for arm in arms}
    assert top1["instance"] is not None
    assert top1["label"] is not None
    gap = 100 * (top1["label"] - top1["instance"])
    section = advice_section(read_json(layout.advice, AdviceRecord), arms)
    assert section is not None
    titles = [column.title for column in section.table.columns]
    first = dict(zip(titles, (cell.text for cell in section.table.rows[0]), strict=True))
    assert first["gain"] == "60 %"
    assert first["90 % interval"] == "10 % to 110 %"
    assert first["in points"] == f"+{0.6 * gap:.1f}"
    assert (
        section.sentences[-1]
        == f"On these images, labels added {gap:.1f} points of top-1 to self-supervision."
    )
    alone = advice_section(read_json(layout.advice, AdviceRecord), arms[:1])
    assert alone is not None
    assert "in points" not in [column.title for column in alone.table.columns]


@pytest.mark.parametrize(
    ("pretrain", "is_named"),
    [
        ({"objective": "soft"}, True),
        ({"objective": "multi_head"}, True),
        ({"objective": "multi_head", "multi_head": {"columns": ["class_id", "colour"]}}, True),
        ({"objective": "multi_head", "multi_head": {"columns": ["colour"]}}, False),
        ({"objective": "cl_infonce"}, False),
    ],
)
def test_an_objective_that_learns_from_a_column_that_names_the_label(
    tmp_path: Path, pretrain: dict[str, Any], is_named: bool
) -> None:
    record = read_json(FakeData().write(tmp_path).advice, AdviceRecord)
    found = {one.code: one for one in advice_findings(record, params_with(pretrain=pretrain).pretrain)}
    assert "few_labels" in found
    assert ("attributes_determine_labels" in found) == is_named
    if is_named:
        assert " learned from class_id, from which the" in found["attributes_determine_labels"].sentence


def test_without_labels_there_is_no_section(tmp_path: Path) -> None:
    layout = built(FakeData(labelled=False), tmp_path)
    assert "What to cluster by" not in (layout.report / "report.html").read_text()
