"""The advice as a whole: what it picks, what it says, and how sure it is."""

import shlex
from dataclasses import replace

import numpy as np
import pytest

from pipeline.advice.advise import Advice, advise
from pipeline.advice.candidates import Candidate
from pipeline.advice.predictors import Labelled
from pipeline.advice.wording import as_record, command, findings, sentences
from pipeline.runtime.console import json_text
from pipeline.statistics.contingency import UNKNOWN, Codes

IMAGES = 4000


@pytest.fixture
def columns() -> dict[str, Codes]:
    """`kind` tells half of the label, `shade` the other half, both with errors; `noise` tells nothing."""
    generator = np.random.default_rng(0)
    labels_N = generator.integers(0, 16, IMAGES)

    def noisy(values_N: Codes, of: int) -> Codes:
        return np.where(generator.random(IMAGES) < 0.9, values_N, generator.integers(0, of, IMAGES))

    return {
        "label": labels_N,
        "kind": noisy(labels_N // 4, 4),
        "shade": noisy(labels_N % 4, 4),
        "noise": generator.integers(0, 8, IMAGES),
        "fine": np.where(
            generator.random(IMAGES) < 0.97, labels_N * 400 + generator.integers(0, 400, IMAGES), 7
        ),
    }


def advice_of(columns: dict[str, Codes], names: list[str], known: int = IMAGES, **options: int) -> Advice:
    labels_N = np.where(np.arange(IMAGES) < known, columns["label"], UNKNOWN)
    chosen = {name: columns[name] for name in names}
    return advise(chosen, [], Labelled(labels_N, options.get("batch_size", 128), IMAGES), seed=0)


def test_the_join_is_picked_and_noise_left_out(columns: dict[str, Codes]) -> None:
    advice = advice_of(columns, ["noise", "kind", "shade"])
    assert advice.pick is not None
    assert advice.pick.name == "kind x shade"
    assert advice.pick.was_searched
    assert [one.name for one in advice.ranked if one.as_good_as_best] == ["kind x shade"]
    assert advice.ranked[-1].name == "noise" or advice.ranked[-1].was_searched
    use, leave_out = sentences(advice)
    assert use.startswith("Cluster by kind x shade: expected to give ")
    assert leave_out.startswith(
        "Leave out noise: expected to be worse than self-supervision. noise tells 0.0"
    )
    assert command(advice.pick) == (
        """dvc exp run -S cluster.method=attributes -S 'cluster.attributes.columns=["kind","shade"]'"""
    )
    assert findings(advice) == []


def test_two_columns_that_say_the_same_are_as_good(columns: dict[str, Codes]) -> None:
    twin = columns | {"twin": columns["kind"][::1].copy()}
    advice = advice_of(twin, ["kind", "twin", "noise"])
    assert {one.name for one in advice.ranked if one.as_good_as_best} == {"kind", "twin"}
    assert sentences(advice)[1].startswith("As good, as far as 4,000 labelled images tell: ")


def test_a_column_that_names_the_label_is_told_and_not_picked(columns: dict[str, Codes]) -> None:
    advice = advice_of(columns | {"class_id": columns["label"]}, ["class_id", "kind"])
    assert advice.pick is not None
    assert advice.pick.name == "kind"
    assert [one.name for one in advice.ranked] == ["kind", "class_id"]
    assert any(
        text.startswith("class_id names the label of nearly every image") for text in sentences(advice)
    )


def test_nothing_is_picked_where_nothing_helps(columns: dict[str, Codes]) -> None:
    advice = advice_of(columns, ["noise"])
    assert advice.pick is None
    assert sentences(advice)[0].startswith("Nothing here is expected to add to self-supervision")
    assert as_record(advice)["command"] is None


def test_fine_clusters_are_like_simclr_at_a_small_batch(columns: dict[str, Codes]) -> None:
    codes = [found.code for found in findings(advice_of(columns, ["fine"], batch_size=16))]
    assert codes == ["like_simclr"]


def test_few_labels_are_told(columns: dict[str, Codes]) -> None:
    few = advice_of(columns, ["noise", "kind", "shade"], known=40)
    assert few.labelled == 40
    (found,) = (finding for finding in findings(few) if finding.code == "few_labels")
    assert found.sentence.startswith("Only 40 images have a label, ")
    full = advice_of(columns, ["noise", "kind", "shade"])
    assert few.order_stands is not None
    assert full.order_stands is not None
    assert few.order_stands <= full.order_stands
    width = few.ranked[0].gain.high - few.ranked[0].gain.low
    assert width > full.ranked[0].gain.high - full.ranked[0].gain.low


def test_a_finding_says_that_predictors_disagree(columns: dict[str, Codes]) -> None:
    advice = advice_of(columns, ["kind", "noise"])
    pick, other = advice.ranked
    assert findings(advice) == []
    ahead = replace(other, predictors=replace(other.predictors, pairs=pick.predictors.pairs + 0.3))
    (found,) = findings(replace(advice, ranked=[pick, ahead]))
    assert found.code == "predictors_disagree"
    assert "(noise by pairs of images)" in found.sentence
    as_good = replace(ahead, as_good_as_best=True)
    assert findings(replace(advice, ranked=[pick, as_good])) == []


def test_a_command_is_one_for_the_shell_whatever_a_column_is_called(columns: dict[str, Codes]) -> None:
    name = "a; touch PWNED #'\"$(x)"
    pick = advice_of(columns, ["kind"]).ranked[0]
    changes = {"cluster.method": "column", "cluster.column.name": name, "cluster.hashtags.top": 3}
    assert shlex.split(command(replace(pick, changes=changes))) == [
        *["dvc", "exp", "run", "-S", "cluster.method=column"],
        *["-S", 'cluster.column.name="a; touch PWNED #\'\\"$(x)"', "-S", "cluster.hashtags.top=3"],
    ]


def test_other_candidates_are_ranked_beside_columns(columns: dict[str, Codes]) -> None:
    tags = Candidate("hashtags (top 3)", columns["label"] // 2, {"cluster.method": "hashtags"})
    advice = advise({"noise": columns["noise"]}, [tags], Labelled(columns["label"], 128, IMAGES), seed=0)
    assert [one.name for one in advice.ranked] == ["hashtags (top 3)", "noise"]


def test_the_same_seed_gives_the_same_advice(columns: dict[str, Codes]) -> None:
    first, second = (json_text(as_record(advice_of(columns, ["noise", "kind", "shade"]))) for _ in range(2))
    assert first == second
