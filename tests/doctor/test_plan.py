"""Plans for a time: the arithmetic by hand, and settings that are really tried."""

import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from doctor.small_project import one
from pipeline.cli import app
from pipeline.config.params import Params, check_params, load_params
from pipeline.doctor import estimate as cost
from pipeline.doctor import plan
from pipeline.doctor.base import Situation
from pipeline.doctor.estimate import Counts
from pipeline.doctor.plan import Plan, Setting
from pipeline.doctor.trial_run import Request, Trial
from pipeline.runtime.errors import UserError
from pipeline.training.representation import SAMPLED_IMAGES
from support import params_with

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
SETTING = Setting(32, "patch_resnet", 128)
COUNTS = Counts(12_800, 3200, 10, None)
TRAINING = Trial(images=1000, image_bytes=3072, start=5.0, batch=128, steps=[0.1, 0.1, 0.1], embed=1.0)
EVALUATION = Trial(images=1000, image_bytes=3072, start=5.0, features=2.0, fit=1.0, feature_dim=4)


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    def trial(what: str, _situation: Situation, _counts: Counts) -> Trial:
        return EVALUATION if what == cost.EVALUATION else TRAINING

    monkeypatch.setattr(plan, "run_trial", trial)


def situation(minutes: float, **more: object) -> Situation:
    return replace(Situation(params_with(), 0.1, minutes=minutes, images=COUNTS.train), **more)  # type: ignore[arg-type]


@pytest.mark.usefixtures("by_hand")
def test_the_longest_trainings_that_leave_a_tenth() -> None:
    """Three trainings of 5 s and 10 s an epoch, and after each epoch two views of 1,024 images, 1 ms each;
    four evaluations of 5 s, 32 s of features and a fit of 12.8 s."""
    an_epoch = 3 * (100 * 0.1 + 2 * SAMPLED_IMAGES / 1000)
    fixed = 3 * 5 + 4 * (5 + 32 + 12.8)
    for minutes in (10, 30, 100):
        found = plan.planned(SETTING, situation(minutes), COUNTS, CPU)
        assert found.epochs == math.floor((0.9 * 60 * minutes - fixed) / an_epoch)
        assert found.seconds == pytest.approx(fixed + found.epochs * an_epoch)
        assert found.steps == 100 * found.epochs
        assert found.fits_memory
    assert plan.planned(SETTING, situation(1), COUNTS, CPU).epochs == 1, "never none"
    assert plan.planned(SETTING, situation(10_000), COUNTS, CPU).epochs == plan.MOST_EPOCHS


def plans(monkeypatch: pytest.MonkeyPatch, found: dict[int, Plan]) -> None:
    def planned(setting: Setting, *_: object) -> Plan:
        return found[setting.image_size]

    monkeypatch.setattr(plan, "planned", planned)


def planned(setting: Setting, epochs: int, *, seconds: float = 500, fits: bool = True) -> Plan:
    return Plan(setting, epochs, 100 * epochs, seconds, fits)


def test_the_largest_images_for_which_enough_epochs_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    small, medium, large = plan.ON_A_CPU
    plans(
        monkeypatch, {32: planned(small, 100), 64: planned(medium, 25), 128: planned(large, 3, seconds=700)}
    )
    checks = list(plan.look(situation(10)))
    assert [check.status for check in checks] == ["ok", "ok", "warn", "ok"]
    assert checks[-1].what == "for 10 minutes"
    assert checks[-1].found == "uv run dvc exp run -S ingest.image_size=64 -S pretrain.epochs=25"


def test_what_the_memory_does_not_hold_is_not_proposed(monkeypatch: pytest.MonkeyPatch) -> None:
    small, medium, large = plan.ON_A_CPU
    found = {
        32: planned(small, 100),
        64: planned(medium, 50, fits=False),
        128: planned(large, 20, fits=False),
    }
    plans(monkeypatch, found)
    checks = list(plan.look(situation(10)))
    assert [check.status for check in checks] == ["ok", "warn", "warn", "ok"]
    assert "pretrain.epochs=100" in checks[-1].found


def test_too_little_time_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    plans(monkeypatch, {32: planned(plan.ON_A_CPU[0], 1, seconds=4000)})
    first, last = plan.look(situation(10))
    assert (first.status, last.status) == ("warn", "warn")
    assert first.found == "one epoch takes 66 min 40 s in all"
    assert last.cure.startswith("give it more time, or fewer arms")


@pytest.mark.parametrize("setting", [*plan.ON_A_CPU, *plan.ON_A_GPU])
def test_what_is_proposed_is_valid(setting: Setting) -> None:
    """As parameters, and as the steps of a trial."""
    before = situation(10)
    lines = plan.settings(planned(setting, 7), before)
    assert before.params is not None
    values = before.params.model_dump(mode="json")
    for name, value in lines.items():
        section, key = name.split(".")
        values[section][key] = None if value == "null" else value
    after = check_params(values)
    assert after.pretrain == plan._with_epochs(setting.applied_to(before.params), 7).pretrain
    assert after.ingest.image_size == setting.image_size


def test_weights_belong_to_no_network_that_is_proposed(ingested: Situation) -> None:
    assert ingested.params is not None
    values = ingested.params.model_dump()
    values["pretrain"] |= {"freeze": "all", "weights": "a.pth"}
    of_weights = replace(ingested, params=Params.model_validate(values), minutes=5.0)
    with pytest.raises(UserError, match=r"^--minutes proposes networks that are trained from nothing, and"):
        list(plan.look(of_weights))


def test_what_belongs_to_networks_of_timm_is_left_out() -> None:
    values = Params().model_dump()
    values["pretrain"] |= {"encoder": "timm/resnet18", "gradient_checkpointing": True}
    for setting in (*plan.ON_A_CPU, *plan.ON_A_GPU):
        changed = setting.applied_to(Params.model_validate(values))
        assert Params.model_validate(changed.model_dump()) == changed


def test_a_larger_batch_has_a_larger_rate() -> None:
    params = params_with()
    assert SETTING.applied_to(params).pretrain.learning_rate == params.pretrain.learning_rate
    larger = replace(SETTING, batch_size=512).applied_to(params)
    assert larger.pretrain.learning_rate == 2 * params.pretrain.learning_rate


def test_images_are_counted_where_the_source_can(folder: Path) -> None:
    """As 24 rows of a manifest and its header, and as rendered posts are; a folder's must be known."""
    assert plan.counts_of(Situation(load_params(), minutes=10.0)).train == 20
    assert plan.counts_of(Situation(Params(), minutes=10.0)).train == 3600
    pictures = folder / "pictures"
    pictures.mkdir()
    unknown = params_with(ingest={"source": "folder", "path": str(pictures)})
    with pytest.raises(UserError, match="say how many train images there are, as in --images 50000"):
        plan.counts_of(Situation(unknown, minutes=10.0))
    assert plan.counts_of(Situation(unknown, minutes=10.0, images=50_000)).train == 50_000


@pytest.mark.usefixtures("soon")
def test_a_project_with_images(ingested: Situation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own size is tried on its own images, another one on random pixels."""
    loaders: list[str | None] = []

    def noted(request: Request) -> dict[str, Any]:
        loaders.append(request.loader)
        return asdict(request)

    monkeypatch.setattr(cost, "asdict", noted)
    monkeypatch.setattr(plan, "ON_A_CPU", [Setting(12, "patch_resnet", 8), Setting(20, "resnet18", 8)])
    ended = CliRunner().invoke(app, ["doctor", "--json", "--minutes", "600", "--seconds", "0.05"])
    (section,) = json.loads(ended.stdout)["sections"]
    assert [check["what"] for check in section["checks"]] == [
        "12 px, patch_resnet",
        "20 px, resnet18",
        "for 600 minutes",
    ]
    assert set(loaders[:2]) == {"resident"}
    assert set(loaders[2:]) == {None}
    assert load_params() == ingested.params


def test_a_setting_that_fails_leaves_the_others(ingested: Situation, monkeypatch: pytest.MonkeyPatch) -> None:
    def trial(_what: str, requested: Situation, _counts: Counts) -> Trial:
        assert requested.params is not None
        if requested.params.ingest.image_size == 32:
            raise cost.TrialFailed("ended by signal 9")
        return EVALUATION if _what == cost.EVALUATION else TRAINING

    monkeypatch.setattr(plan, "run_trial", trial)
    checks = list(plan.look(replace(ingested, minutes=100.0)))
    assert one(checks, "32 px, patch_resnet").found == "ended by signal 9"
    assert one(checks, "64 px, patch_resnet").status in ("ok", "warn")
