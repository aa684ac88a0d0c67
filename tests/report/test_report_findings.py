import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.report.arms import read_arms
from pipeline.report.findings import Finding, findings
from pipeline.storage.checksums import write_checksummed
from pipeline.storage.files import read_json, write_json
from pipeline.storage.schema import PREDICTIONS_SCHEMA
from report.fake_data import FakeData

pytestmark = pytest.mark.slow


def found(data: FakeData, tmp_path: Path, **summary: Any) -> list[Finding]:
    layout = data.write(tmp_path)
    output = read_json(layout.ingest_summary) | summary
    return findings(read_arms(layout, list(data.references)), output)


def test_sound_data_has_no_finding(tmp_path: Path) -> None:
    assert found(FakeData(test_images=4000), tmp_path) == []


TAUGHT = {"sha256": "ab" * 32}
OTHERWISE = {"sha256": "cd" * 32}


@pytest.mark.parametrize(
    ("teachers", "sentence"),
    [
        ({}, None),
        ({"chosen": None, "instance": None}, None),
        ({"chosen": TAUGHT, "instance": TAUGHT, "label": TAUGHT}, None),
        (
            {"chosen": OTHERWISE, "instance": TAUGHT, "label": TAUGHT},
            "chosen by the vectors cdcdcdcdcdcd; instance, label by the vectors abababababab.",
        ),
        ({"chosen": TAUGHT}, "chosen by the vectors abababababab; instance, label by none."),
    ],
)
def test_arms_of_different_teachers_are_named(
    tmp_path: Path, teachers: dict[str, Any], sentence: str | None
) -> None:
    """`start` and `untrained` have no teacher, whatever the others have."""
    data = FakeData(test_images=4000, references=("start", "untrained", "instance", "label"))
    layout = data.write(tmp_path)
    for arm, teacher in teachers.items():
        config = layout.encoder(arm) / "config.json"
        write_json(config, read_json(config) | {"teacher": teacher})
    arms = read_arms(layout, list(data.references))
    output = [
        finding
        for finding in findings(arms, read_json(layout.ingest_summary))
        if finding.code == "different_teachers"
    ]
    if sentence is None:
        assert output == []
    else:
        assert [(one.where, one.sentence.endswith(sentence)) for one in output] == [("pretrain", True)]
        assert "uv run dvc repro -f" in output[0].cure


def test_each_fault_has_its_code(tmp_path: Path) -> None:
    data = FakeData(
        losses_rise=True,
        references=["instance", "label"],
        top1={"chosen": 0.75, "instance": 0.70, "label": 0.70},
        statistics_findings=[{"code": "many_singletons", "sentence": "half are alone", "cure": "Join them."}],
    )
    duplicates = {"leaks": 3, "near_leaks": 4, "duplicates": 2, "near_duplicates": 1}
    output = found(data, tmp_path, **duplicates, unlabelled={"train": 24, "test": 0})
    assert [finding.code for finding in output] == [
        "leaked_test_images",
        "nearly_leaked_test_images",
        "duplicate_images",
        "near_duplicate_images",
        "unlabelled_images",
        "few_test_images",
        "no_gap",
        "loss_did_not_fall",
        "many_singletons",
        "loss_did_not_fall",
        "loss_did_not_fall",
    ]
    assert output[0].sentence.startswith("3 test images")
    assert output[1].sentence.startswith("4 test images with a near duplicate")
    assert "10.0 %" in output[4].sentence
    assert (output[8].sentence, output[8].cure, output[8].where) == (
        "Half are alone.",
        "Join them.",
        "chosen",
    )


def test_an_accuracy_that_needs_no_image_is_a_finding(tmp_path: Path) -> None:
    """Of the six labels, equally frequent in train, the first is that of a third of the test images."""
    top1 = {"chosen": 0.35, "instance": 0.32, "label": 0.77}
    data = FakeData(test_images=4000, top1=top1)
    layout = data.write(tmp_path)
    for arm in ("chosen", "instance", "label"):
        path = layout.evaluation(arm) / "predictions.parquet"
        rows = pq.read_table(path).to_pandas()
        right = rows["label"] == rows["predicted"]
        rows.loc[rows.index % 6 == 3, "label"] = "boot"
        rows["predicted"] = rows["label"].where(right, "none")
        write_checksummed(pa.Table.from_pandas(rows, PREDICTIONS_SCHEMA), path)
    (finding,) = findings(read_arms(layout, ["instance", "label"]), read_json(layout.ingest_summary))
    assert finding.code == "not_above_majority"
    assert finding.sentence.endswith("(always naming the most frequent label): chosen, instance.")


def test_labels_that_train_lacks_are_a_finding(tmp_path: Path) -> None:
    given = {"chance_top1": 0.15, "majority_top1": 0.2, "reachable_top1": 0.9}
    (finding,) = found(FakeData(test_images=4000, baselines=given), tmp_path)
    assert finding.code == "unreachable_labels"
    assert finding.sentence == (
        "At most 90.0 % can be reached: the other test images have labels that no train image has."
    )


def test_trainings_below_the_weights_that_they_started_from_come_first(tmp_path: Path) -> None:
    data = FakeData(
        test_images=4000,
        references=["start", "instance", "label"],
        top1={"chosen": 0.75, "start": 0.75, "instance": 0.70, "label": 0.82},
    )
    first = found(data, tmp_path)[0]
    assert first.code == "below_start"
    assert "Not clearly above the weights that training started from: chosen, instance." in first.sentence
    assert "pretrain.learning_rate" in first.cure


def test_trainings_below_untrained_filters_come_first(tmp_path: Path) -> None:
    data = FakeData(
        test_images=4000,
        references=["untrained", "instance", "label"],
        top1={"chosen": 0.75, "untrained": 0.75, "instance": 0.70, "label": 0.77},
        statistics_findings=[{"code": "many_singletons", "sentence": "half are alone", "cure": "Join them."}],
    )
    first, second = found(data, tmp_path)
    assert (first.code, second.code) == ("below_untrained", "many_singletons")
    assert first.sentence.endswith("learned nothing: chosen, instance.")
    assert "pretrain.epochs" in first.cure


@pytest.mark.parametrize(
    ("uniformity", "rankme", "output"),
    [(-0.02, 80.0, "uniformity -0.020; 0 is collapse"), (-2.0, 1.1, "RankMe 1.10"), (-2.0, 80.0, None)],
)
def test_a_collapse_at_the_end_of_the_training(
    tmp_path: Path, uniformity: float, rankme: float, output: str | None
) -> None:
    data = FakeData(test_images=4000, references=[])
    layout = data.write(tmp_path)
    history = layout.encoder("chosen") / "history.csv"
    table = pd.read_csv(history).assign(uniformity=-2.0, rankme=80.0)
    table.loc[table.index[-1], ["uniformity", "rankme"]] = uniformity, rankme
    table.to_csv(history, index=False)
    found = findings(read_arms(layout, []), read_json(layout.ingest_summary))
    assert [finding.code for finding in found] == ["collapsed"] * (output is not None)
    for finding in found:
        assert output is not None
        assert output in finding.sentence
        assert "pretrain.learning_rate" in finding.cure


@pytest.mark.parametrize(("objective", "codes"), [("byol", ["loss_did_not_fall"]), ("moco", [])])
def test_a_loss_that_changes_in_training_need_not_fall(
    tmp_path: Path, objective: str, codes: list[str]
) -> None:
    """A queue that fills makes it rise."""
    layout = FakeData(test_images=4000, references=[], losses_rise=True).write(tmp_path)
    config = layout.encoder("chosen") / "config.json"
    changed = read_json(config) | {"pretrain": {"objective": objective}}
    config.write_text(json.dumps(changed), encoding="utf-8")
    found = findings(read_arms(layout, []), read_json(layout.ingest_summary))
    assert [finding.code for finding in found] == codes


def test_an_encoder_from_elsewhere_is_reported(tmp_path: Path) -> None:
    (output,) = found(FakeData(test_images=4000, transfer_from="../other/encoder"), tmp_path)
    assert (output.code, "../other/encoder" in output.sentence) == ("encoder_from_elsewhere", True)


def test_nothing_is_said_of_labels_where_there_are_none(tmp_path: Path) -> None:
    assert found(FakeData(labelled=False), tmp_path) == []
