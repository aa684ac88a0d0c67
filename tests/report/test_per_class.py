from pathlib import Path

import pandas as pd
import pytest

from pipeline.report.arms import read_arms
from pipeline.report.per_class import class_changes, worst_confusions
from pipeline.report.sections import changes_tables
from report.fake_data import FakeData


def test_changes_are_those_of_recall(tmp_path: Path) -> None:
    chosen, instance, _ = read_arms(FakeData().write(tmp_path), ["instance", "label"])
    changes = class_changes(chosen, instance)
    assert len(changes) == 6
    assert [change.gain for change in changes] == sorted((change.gain for change in changes), reverse=True)
    for change in changes:
        for arm, recall in ((chosen, change.after), (instance, change.before)):
            mine = arm.predictions[arm.predictions["label"] == change.label]
            assert recall == pytest.approx((mine["predicted"] == change.label).mean())


def test_classes_without_test_images_are_not_judged(tmp_path: Path) -> None:
    layout = FakeData(references=["instance"]).write(tmp_path)
    for arm in ("chosen", "instance"):
        path = layout.evaluation(arm) / "per_class.csv"
        path.write_text(path.read_text() + "rare,3,0,,\n")
    chosen, instance = read_arms(layout, ["instance"])
    assert "rare" not in {change.label for change in class_changes(chosen, instance)}


def test_few_classes_stand_in_one_table_and_many_also_by_their_extremes(tmp_path: Path) -> None:
    few = FakeData().write(tmp_path / "few")
    many = FakeData(labels=[f"c{n:02d}" for n in range(30)]).write(tmp_path / "many")
    captions = []
    for layout in (few, many):
        chosen, instance, _ = read_arms(layout, ["instance", "label"])
        captions.append(
            [table.caption for table in changes_tables(class_changes(chosen, instance), "attributes")]
        )
    assert captions[0] == ["All 6 classes with test images"]
    assert captions[1][-1] == "All 30 classes with test images"
    assert "Largest gains" in captions[1]


def test_without_a_reference_only_recall_is_reported(tmp_path: Path) -> None:
    (chosen,) = read_arms(FakeData(references=[]).write(tmp_path), [])
    (table,) = changes_tables(class_changes(chosen, None), "attributes")
    assert [column.title for column in table.columns] == ["Class", "Test images", "Recall, attributes"]


def test_confusions_by_hand() -> None:
    predictions = pd.DataFrame(
        [("a", "a"), ("a", "b"), ("a", "b"), ("b", "a"), ("c", "b"), ("c", "b")],
        columns=["label", "predicted"],
    )
    first, second, third = worst_confusions(predictions)
    assert (first.label, first.predicted, first.images) == ("a", "b", 2)
    assert first.share == pytest.approx(2 / 3)
    assert (second.label, second.predicted, second.images, second.share) == ("c", "b", 2, 1.0)
    assert (third.label, third.predicted, third.images) == ("b", "a", 1)


def test_labels_that_look_like_missing_values_stay_labels(tmp_path: Path) -> None:
    odd = ["NA", "007", "null", "nan", "1e3", "True"]
    chosen, instance, _ = read_arms(FakeData(labels=odd).write(tmp_path), ["instance", "label"])
    assert {change.label for change in class_changes(chosen, instance)} == set(odd)
