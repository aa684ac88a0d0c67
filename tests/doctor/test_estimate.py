"""Estimates: the arithmetic by hand, and trials that really run."""

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from doctor.small_project import one, tiny
from pipeline.config.params import Params
from pipeline.doctor import estimate as cost
from pipeline.doctor.base import Situation
from pipeline.doctor.estimate import Counts, estimated
from pipeline.doctor.trial_run import Trial
from pipeline.storage.schema import Layout
from support import blank_out_all_but, params_with

pytestmark = pytest.mark.slow

TRAINING = Trial(
    images=100, image_bytes=10, start=5.0, decode=2.0, batch=10, steps=[0.5, 1.0, 1.0, 1.5],
    embed=1.0, begin_epoch=0.0, host_peak=1000, state=50,
)  # fmt: skip
EVALUATION = Trial(
    images=100, image_bytes=10, start=5.0, decode=2.0, features=4.0, fit=3.0, neighbours=1.0, feature_dim=2,
    host_peak=1000,
)  # fmt: skip


def test_a_training_by_hand() -> None:
    """400 images are four times the sample. 3 epochs of 40 steps of 1 s; decoding 4 x 2 s; the start 5 s;
    after each epoch 2 x 400 forward passes of 0.01 s."""
    params = params_with(pretrain={"epochs": 3})
    found = estimated("chosen", TRAINING, params, Counts(400, 100, 5, "resident"))
    assert found.seconds == pytest.approx(120 + 8 + 5 + 3 * 8)
    assert found.low < found.seconds < found.high
    assert (found.host_bytes, found.device_bytes) == (1000 + 50 + 300 * 10, 0)
    assert found.images_per_second == 10


def test_what_is_streamed_is_not_kept() -> None:
    found = estimated("chosen", TRAINING, params_with(), Counts(400, 100, 5, "streamed"))
    assert found.host_bytes == 1050


def test_remade_clusters_cost_between_epochs() -> None:
    params = params_with(pretrain={"epochs": 7, "recluster_every": 3})
    counts = Counts(400, 100, 5, "resident")
    without, remade = (
        estimated("chosen", trial, params, counts).seconds
        for trial in (TRAINING, replace(TRAINING, recluster=2.0))
    )
    assert remade - without == pytest.approx(2 * 4 * 2.0), "before epochs 4 and 7"


def test_an_evaluation_by_hand() -> None:
    """400 train and 100 test images: decoding 10 s, features 20 s; a fit of 4 x 3 s and one on a tenth of
    the labels; the vote over 4 x 1 times what the sample's took."""
    params = params_with(evaluate={"label_fractions": [0.1]})
    found = estimated("evaluation", EVALUATION, params, Counts(400, 100, 5, "resident"))
    assert found.seconds == pytest.approx(5 + 10 + 20 + 1.1 * 12 + 4)
    assert found.host_bytes == 1000 + 300 * 10 + 300 * 2 * 4 * cost.FLOATS_PER_FEATURE
    without_labels = estimated("evaluation", EVALUATION, params, Counts(400, 100, 0, "resident"))
    assert without_labels.seconds == pytest.approx(35)


@pytest.mark.usefixtures("soon")
def test_real_steps_of_every_part(ingested: Situation) -> None:
    checks = list(cost.look(replace(ingested, seconds=0.05)))
    assert [check.what for check in checks] == [
        "measured on",
        "pretrain chosen, instance, label",
        "evaluate chosen, untrained, instance, label",
        "all together",
    ]
    assert {check.status for check in checks} <= {"ok", "warn"}
    assert "some of 18 train and 6 test images" in checks[0].found


@pytest.mark.usefixtures("soon")
def test_another_objective_is_measured_beside_the_references(
    ingested: Situation, manifest: Callable[..., Path]
) -> None:
    checks = list(cost.look(replace(ingested, params=tiny(manifest(), objective="cmc"))))
    named = [check.what for check in checks]
    assert named[1:3] == ["pretrain chosen", "pretrain instance, label"]
    assert all(check.status in ("ok", "warn") for check in checks), checks


@pytest.mark.usefixtures("soon")
def test_of_frozen_weights_the_passes_of_all_views_are_measured(ingested: Situation) -> None:
    assert ingested.params is not None
    values = ingested.params.model_dump()
    values["pretrain"] |= {"freeze": "all", "weights": "a.pth", "frozen_views": 9}
    checks = list(cost.look(replace(ingested, params=Params.model_validate(values), seconds=0.05)))
    assert [check.what for check in checks[1:]] == [
        "evaluate chosen, untrained, start, instance, label",
        "start, with pretrain.freeze=all",
        "all together",
    ]
    assert "for 10 views of each train image, once for all arms and seeds" in checks[2].found


def test_random_pixels_where_nothing_is_ingested(folder: Path) -> None:
    params = tiny(Path("nowhere.csv"), batch_size=250, epochs=2, objective="attribute_prediction")
    checks = list(cost.look(Situation(params, seconds=0.05)))
    assert "12 x 12 random pixels, as nothing is ingested yet" in checks[0].found
    assert checks[-1].found.split(",")[0].endswith("for 1")
    assert "for 1,000 images" in one(checks, "all together").found


@pytest.mark.usefixtures("soon")
def test_a_trial_that_a_mistake_ends_is_reported(ingested: Situation) -> None:
    for shard in Layout().images.glob("train-*.parquet"):
        blank_out_all_but({"id", "width", "height"}, shard)
    (_measured_on, failed) = cost.look(ingested)
    assert (failed.status, failed.what) == ("fail", "pretrain chosen, instance, label")


def test_a_trial_that_memory_ends_is_reported(ingested: Situation, monkeypatch: pytest.MonkeyPatch) -> None:
    killed = subprocess.CompletedProcess([], -9, "", "")
    monkeypatch.setattr(subprocess, "run", lambda *_arguments, **_more: killed)
    assert "the memory was not enough" in list(cost.look(ingested))[-1].found


def test_more_than_is_free_fails(ingested: Situation, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peak of 1,000 bytes, and 50 of a saved state."""
    trials = {"chosen": replace(TRAINING, images=18), "evaluation": replace(EVALUATION, images=18)}
    monkeypatch.setattr(cost, "run_trial", lambda what, *_: trials[what])
    monkeypatch.setattr(cost, "available_memory", lambda: 900)
    assert one(cost.look(ingested), "pretrain chosen, instance, label").status == "fail"
    monkeypatch.setattr(cost, "available_memory", lambda: 1100)
    assert one(cost.look(ingested), "pretrain chosen, instance, label").status == "warn"
