"""Races of short trainings: what is dropped, how long it trains, when it ends, what runs as experiments."""

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.experiments import race
from pipeline.experiments.halving import Race, Round
from pipeline.experiments.study import Planned
from pipeline.experiments.study_results import StudyResult
from pipeline.runtime.console import SafeConsole
from pipeline.runtime.errors import UserError
from pipeline.storage.files import write_json
from pipeline.storage.schema import Layout
from support import REPOSITORY

WORTH = {"best": 0.7, "good": 0.6, "fair": 0.55, "poor": 0.5, "worst": 0.4}


class Trainings:
    """Accuracies around `WORTH`, and a clock that each training moves on by its epochs."""

    def __init__(self, noise: float = 0.01, worth: Mapping[str, float] = WORTH) -> None:
        self.done: list[tuple[str, int, int]] = []
        self.now = 100.0
        self._noise, self._worth = noise, worth
        self._generator = np.random.default_rng(0)

    def __call__(self, name: str, epochs: int, seed: int) -> float:
        self.done.append((name, epochs, seed))
        self.now += 10 * epochs
        return self._worth[name] + self._noise * float(self._generator.normal()) / epochs

    def race(self, seconds: float, most_epochs: int = 7) -> Race:
        running = Race(self, lambda: self.now, seconds, most_epochs, 3)
        running.run(list(self._worth))
        return running


def test_the_best_wins_as_soon_as_it_is_apart() -> None:
    trainings = Trainings()
    running = trainings.race(10_000)
    assert len(running.rounds) == 1
    assert running.rounds[0].is_apart
    assert running.rounds[0].order[0] == "best"
    assert running.trainings == len(trainings.done) == 15


def test_halves_train_longer_while_none_is_apart() -> None:
    running = Trainings(noise=0.0, worth={**WORTH, "best": 0.6}).race(100_000, most_epochs=7)
    assert [(one.epochs, len(one.accuracies)) for one in running.rounds] == [(1, 5), (2, 3), (7, 2)]
    assert set(running.rounds[-1].accuracies) == {"best", "good"}


@pytest.mark.parametrize("seconds", [0, 100, 400, 900, 2000])
def test_a_race_keeps_to_its_time(seconds: float) -> None:
    """The first round is whole, whatever the time; then no training starts that would not end in time."""
    trainings = Trainings(noise=0.3)
    trainings.race(seconds)
    assert trainings.now - 100 <= max(seconds, 150)


def test_apart_needs_seeds_and_a_lead() -> None:
    assert not Round(1, {"a": [0.9], "b": [0.1]}).is_apart
    assert Round(1, {"a": [0.90, 0.91, 0.90], "b": [0.80, 0.81, 0.80]}).is_apart
    assert not Round(1, {"a": [0.90, 0.70, 0.80], "b": [0.75, 0.80, 0.78]}).is_apart
    assert not Round(1, {"a": [0.5, 0.5], "b": [0.5, 0.5]}).is_apart
    assert Round(1, {"a": [0.5]}).is_apart


ADVICE: dict[str, Any] = {
    "sentences": ["Cluster by colour."],
    "findings": [],
    "command": None,
    "ranked": [
        {
            "name": name,
            "changes": {"cluster.method": "attributes", "cluster.attributes.columns": columns},
            "clusters": 3,
            "mutual_information_bits": 1.0,
            "conditional_entropy_bits": 1.0,
            "gain": {"estimate": 0.5, "low": 0.0, "high": 1.0},
            "as_good_as_best": True,
            "names_the_label": name == "class_id",
            "is_column": len(columns) == 1,
        }
        for name, columns in {
            "class_id": ["class_id"],
            "colour x size": ["colour", "size"],
            "\u8272": ["\u8272"],
        }.items()
    ],
}


@pytest.fixture
def raced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Planned]]:
    """raced(accuracy) -> the experiments of a race in which self-supervision is worse than all others."""

    def run(accuracy: float | None, objective: str = "cl_infonce") -> list[Planned]:
        ran: dict[str, Planned] = {}

        def run_experiment(one: Planned, _root: Path) -> None:
            ran[one.name] = one

        def existing_results(requested: list[Planned], _root: Path) -> dict[str, StudyResult]:
            def figures(one: Planned) -> dict[str, Any]:
                worse = 0.1 * one.changes["cluster.method"].startswith("instance")
                return {"selection_top1": None if accuracy is None else accuracy - worse + 0.001 * one.seed}

            return {
                one.name: StudyResult(one, "abc", figures(one), {}) for one in requested if one.name in ran
            }

        monkeypatch.setattr(race, "check_committed", lambda _root: None)
        monkeypatch.setattr(race, "run_experiment", run_experiment)
        monkeypatch.setattr(race, "existing_results", existing_results)
        params = (REPOSITORY / "params.yaml").read_text()
        (tmp_path / "params.yaml").write_text(
            params.replace("objective: cl_infonce", f"objective: {objective}")
        )
        layout = Layout(tmp_path / "data")
        layout.advice.parent.mkdir(parents=True)
        write_json(layout.advice, ADVICE)
        race.race(60, tmp_path, SafeConsole(file=io.StringIO()))
        return list(ran.values())

    return run


def test_candidates_and_the_floor_run_as_experiments(raced: Callable[..., list[Planned]]) -> None:
    ran = raced(0.6)
    first = [one for one in ran if one.changes["pretrain.epochs"] == 2]
    assert {one.name for one in first} == {
        f"race--2-epochs--{slug}--{seed}"
        for slug in ("colour-x-size-1", "candidate-2", "self-supervision-3")
        for seed in range(3)
    }
    assert all(one.changes["report.references"] == [] for one in ran)
    # The two candidates are equal, so that both train as long as params.yaml says.
    assert {one.changes["pretrain.epochs"] for one in ran} == {2, 9}
    assert len(ran) == 9 + 6


def test_without_labels_a_race_ends_in_a_sentence(raced: Callable[..., list[Planned]]) -> None:
    with pytest.raises(UserError, match="the images need labels"):
        raced(None)


@pytest.mark.parametrize("objective", ["soft", "byol"])
def test_what_reads_no_clusters_does_not_race(raced: Callable[..., list[Planned]], objective: str) -> None:
    with pytest.raises(UserError, match=f"pretrain.objective={objective} reads no clusters, so that all"):
        raced(0.6, objective)


def test_of_the_settings_of_a_method_the_best_races() -> None:
    """Columns are no settings, however much their names begin alike."""
    tags = {"cluster.method": "hashtags"}
    changes_of = {
        "size (cm)": {"cluster.method": "attributes", "cluster.attributes.columns": ["size (cm)"]},
        "hashtags (top 3)": tags | {"cluster.hashtags.top": 3},
        "size (inch)": {"cluster.method": "attributes", "cluster.attributes.columns": ["size (inch)"]},
        "hashtags (top 2)": tags | {"cluster.hashtags.top": 2},
        race.FLOOR: {"cluster.method": "attributes", "cluster.attributes.columns": [race.FLOOR]},
    }
    (one, *_) = ADVICE["ranked"][1:]
    advice: Any = ADVICE | {"ranked": [one | {"name": n, "changes": c} for n, c in changes_of.items()]}
    found = race.candidates(advice)
    names = ["size (cm)", "hashtags (top 3)", "size (inch)", f"column {race.FLOOR}", race.FLOOR]
    assert list(found) == names
    assert found[race.FLOOR] == {"cluster.method": "instance"}


def test_without_candidates_there_is_no_race() -> None:
    with pytest.raises(UserError, match=r"there is nothing to race: Cluster by colour\."):
        race.candidates({"sentences": ["Cluster by colour."], "findings": [], "command": None, "ranked": []})
