"""The verdict, case by case: it says what is true and no more."""

import re
from pathlib import Path

import pandas as pd
import pytest

from pipeline.config.cluster import AttributesParams, ClusterParams, ColumnParams
from pipeline.report.arm_names import clusters_phrase
from pipeline.report.arms import read_arms
from pipeline.report.verdict import ONE_SEED, Standings, gap_closed, standings, verdict
from report.fake_data import FakeData


def said(data: FakeData, tmp_path: Path) -> str:
    arms = read_arms(data.write(tmp_path), list(data.references))
    return verdict(standings(arms), clusters_phrase(data.method, ClusterParams()))


def top1(chosen: float, instance: float, label: float) -> dict[str, float]:
    return {"chosen": chosen, "instance": instance, "label": label}


def test_between_the_references(tmp_path: Path) -> None:
    text = said(FakeData(), tmp_path)
    assert text.startswith("Clusters from attributes reach 75.0 % linear top-1: ")
    assert "6.0 points above self-supervision at 69.0 % (95 % interval " in text
    assert "2.0 points below the label reference at 77.0 %" in text
    assert "75 % of the gap between the two is closed" in text
    assert text.endswith(f"{ONE_SEED}.")
    assert text.count(".") - len(re.findall(r"\d\.\d", text)) == text.count("report.") + 1, "one sentence"


def test_above_untrained_filters(tmp_path: Path) -> None:
    text = said(FakeData(references=["untrained", "instance", "label"]), tmp_path)
    assert "reach 75.0 % linear top-1: 15.0 points above untrained filters at 60.0 % (95 % int" in text
    assert ", 6.0 points above self-supervision at 69.0 %" in text
    assert ", and 2.0 points below the label reference at 77.0 %" in text


@pytest.mark.parametrize(
    ("untrained", "named"),
    [
        (0.69, "at 69.0 %: instance"),
        (0.77, "at 77.0 %: chosen, instance, label"),
        (0.9, "at 90.0 %: chosen, instance, label"),
    ],
)
def test_arms_below_untrained_filters_are_named_first(tmp_path: Path, untrained: float, named: str) -> None:
    reached = top1(0.75, 0.69, 0.77) | {"untrained": untrained}
    text = said(FakeData(references=["untrained", "instance", "label"], top1=reached), tmp_path)
    assert text.startswith(f"Not clearly above untrained filters {named}. Clusters from attributes ")


def test_against_the_weights_that_training_started_from(tmp_path: Path) -> None:
    text = said(FakeData(references=["untrained", "start", "instance", "label"]), tmp_path)
    assert "reach 75.0 % linear top-1: 9.0 points above the weights that training started from at" in text
    assert "15.0 points above untrained filters at 60.0 %" in text
    assert "; self-supervision adds +3.0 points to these weights; " in text


def test_arms_below_the_weights_that_they_started_from_are_named_first(tmp_path: Path) -> None:
    reached = top1(0.75, 0.69, 0.80) | {"start": 0.74}
    text = said(FakeData(references=["start", "instance", "label"], top1=reached), tmp_path)
    named = "Not clearly above the weights that training started from at 74.0 %: instance. "
    assert text.startswith(f"{named}Clusters from attributes ")
    assert "; self-supervision adds \N{MINUS SIGN}5.0 points to these weights; " in text


@pytest.mark.parametrize("labelled", [True, False])
def test_a_training_that_collapsed_is_named_first(tmp_path: Path, labelled: bool) -> None:
    data = FakeData(labelled=labelled)
    layout = data.write(tmp_path)
    for arm, uniformity in (("chosen", -0.003), ("label", -0.3)):
        history = layout.encoder(arm) / "history.csv"
        table = pd.read_csv(history)
        table.loc[table.index[-1], "uniformity"] = uniformity
        table.to_csv(history, index=False)
    text = verdict(standings(read_arms(layout, list(data.references))), "Clusters from attributes")
    what = "all images have nearly the same embedding (uniformity -0.003; 0 is collapse)"
    after = "Clusters from attributes reach" if labelled else "No image has a label."
    assert text.startswith(f"Collapsed in training: chosen ({what}). {after}")


def test_untrained_filters_alone_are_a_reference(tmp_path: Path) -> None:
    text = said(FakeData(references=["untrained"]), tmp_path)
    assert text.startswith("Clusters from attributes reach 75.0 % linear top-1: 15.0 points above untrained")
    assert "report.references" not in text


def test_above_the_label_reference(tmp_path: Path) -> None:
    text = said(FakeData(top1=top1(0.80, 0.70, 0.76)), tmp_path)
    assert "4.0 points above the label reference at 76.0 %" in text
    assert "167 % of the gap" in text


def test_below_self_supervision(tmp_path: Path) -> None:
    text = said(FakeData(top1=top1(0.60, 0.70, 0.80)), tmp_path)
    assert "10.0 points below self-supervision at 70.0 %" in text
    assert "none of the gap between the references is closed" in text
    assert "above" not in text


def test_a_little_below_self_supervision(tmp_path: Path) -> None:
    text = said(FakeData(top1=top1(0.695, 0.70, 0.80)), tmp_path)
    assert "no clear difference from self-supervision at 70.0 % (\u22120.5 points" in text
    assert "no closed share of the gap between the references is measured" in text


def test_a_difference_inside_its_interval_is_not_claimed(tmp_path: Path) -> None:
    text = said(FakeData(top1=top1(0.705, 0.70, 0.80)), tmp_path)
    assert "no clear difference from self-supervision at 70.0 % (+0.5 points, 95 % interval " in text
    assert "points above self" not in text
    assert "5 % of the gap between the two is closed" in text


def test_labels_no_better_than_self_supervision(tmp_path: Path) -> None:
    text = said(FakeData(top1=top1(0.75, 0.70, 0.66)), tmp_path)
    assert "no share of a gap is closed, as the label reference is not above self-supervision" in text
    assert "% of the gap" not in text


def test_a_gap_inside_its_interval_is_not_divided_by(tmp_path: Path) -> None:
    text = said(FakeData(top1=top1(0.75, 0.70, 0.705)), tmp_path)
    assert "too close to estimate what share" in text
    assert "% of the gap" not in text


def test_only_the_floor(tmp_path: Path) -> None:
    text = said(FakeData(references=["instance"]), tmp_path)
    assert "above self-supervision" in text
    assert "label" not in text
    assert "gap" not in text


def test_only_the_ceiling(tmp_path: Path) -> None:
    text = said(FakeData(references=["label"]), tmp_path)
    assert "below the label reference" in text
    assert "self-supervision" not in text
    assert "gap" not in text


def test_no_reference(tmp_path: Path) -> None:
    text = said(FakeData(references=[]), tmp_path)
    assert "reach 75.0 % linear top-1 (95 % interval 71.4 % to 78.3 %)" in text
    assert "so a comparison with self-supervision is missing" in text


def test_no_labels(tmp_path: Path) -> None:
    assert said(FakeData(labelled=False), tmp_path) == "No image has a label."


def test_no_labels_and_no_reason() -> None:
    assert verdict(Standings("kmeans", None), "Clusters from k-means") == "No accuracy was measured."


@pytest.mark.parametrize(
    ("method", "compared", "not_compared"),
    [
        ("instance", "the label reference", "from self-supervision"),
        ("label", "self-supervision", "the label reference"),
    ],
)
def test_an_end_of_the_scale_is_not_compared_with_itself(
    tmp_path: Path, method: str, compared: str, not_compared: str
) -> None:
    accuracy = top1(0.77, 0.69, 0.77) if method == "label" else top1(0.69, 0.69, 0.77)
    text = said(FakeData(method=method, top1=accuracy), tmp_path)
    assert compared in text
    assert not_compared not in text
    assert "gap" not in text


def test_the_only_reference_is_the_clustering_itself(tmp_path: Path) -> None:
    text = said(
        FakeData(method="instance", references=["instance"], top1={"chosen": 0.69, "instance": 0.69}),
        tmp_path,
    )
    assert "the only reference is the same clustering" in text


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (top1(0.75, 0.70, 0.80), 0.5),
        (top1(0.65, 0.70, 0.80), -0.5),
        (top1(0.75, 0.80, 0.80), None),
        (top1(0.75, 0.80, 0.70), None),
        ({"chosen": None, "instance": None, "label": None}, None),
        ({"chosen": 0.7, "instance": None, "label": 0.8}, None),
        ({"chosen": 0.7, "instance": 0.6, "label": None}, None),
    ],
)
def test_gap_closed(found: dict[str, float | None], expected: float | None) -> None:
    result = gap_closed(found["chosen"], found["instance"], found["label"])
    assert result == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("cluster", "phrase"),
    [
        (ClusterParams(), "Clusters from attributes"),
        (
            ClusterParams(attributes=AttributesParams(columns=["gender", "usage"])),
            "Clusters from gender \N{MULTIPLICATION SIGN} usage",
        ),
        (ClusterParams(method="column", column=ColumnParams(name="tag")), "Clusters from the column tag"),
        (ClusterParams(method="hashtags"), "Clusters from hashtags"),
        (ClusterParams(method="kmeans"), "Clusters from k-means"),
        (ClusterParams(method="random"), "Random clusters"),
    ],
)
def test_the_subject_names_the_clusters(cluster: ClusterParams, phrase: str) -> None:
    assert clusters_phrase(cluster.method, cluster) == phrase
