"""Power cuts, damaged files, numbers that are not finite: what a training must survive.

SIGKILL is in `tests/faults`.
"""

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor

from pipeline.config.pretrain import PretrainParams
from pipeline.objectives.base import Batch
from pipeline.runtime.errors import UserError
from pipeline.storage.schema import Layout
from pipeline.training import features
from pipeline.training import run as training
from pipeline.training import trainer as loop
from pipeline.training.checkpoint import StateFolder
from pipeline.training.features import FeatureExtractor
from pipeline.training.network import Network
from pipeline.training.shutdown import Interrupted
from pipeline.training.trainer import Trainer
from support import TINY_PRETRAIN

pytestmark = pytest.mark.slow

PARAMS = TINY_PRETRAIN | {"batch_size": 4, "epochs": 4, "recluster_every": 2}


@pytest.fixture
def layout(clustered: Callable[..., Layout]) -> Layout:
    """24 noise images of 12 pixels, 18 of them train, in clusters that are remade after two epochs."""
    return clustered(24, method="kmeans", kmeans={"clusters": 3, "min_points": 1})


def train(layout: Layout, states: Path, **changes: Any) -> None:
    os.environ["CLINFONCE_STATE_DIR"] = str(states)
    training.pretrain(PretrainParams.model_validate(PARAMS | changes), "chosen", 12, 0, layout)


def outputs(layout: Layout) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in layout.encoder("chosen").iterdir() if p.name != "timing.csv"}


@pytest.fixture
def here(layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Trains in this process."""
    monkeypatch.setenv("CLINFONCE_STATE_DIR", "set by train()")
    return lambda **changes: train(layout, tmp_path / "states", **changes)


@pytest.mark.parametrize("damage", ["cut", "changed", "both", "kept"])
def test_a_damaged_file_is_passed_over(
    layout: Layout,
    tmp_path: Path,
    here: Callable[..., None],
    power_cut: Callable[[int, int], None],
    capsys: pytest.CaptureFixture[str],
    damage: str,
) -> None:
    here()
    undisturbed = outputs(layout)
    power_cut(3, 1)
    with pytest.raises(RuntimeError, match="power cut"):
        here()
    (folder,) = (tmp_path / "states").iterdir()
    damaged = {"both": ["state.pt", "state-before.pt"], "kept": ["kept-clusters-2.pt"]}
    for name in damaged.get(damage, ["state.pt"]):
        content = bytearray((folder / name).read_bytes())
        if damage == "changed":
            content[len(content) // 2] ^= 1
        else:
            del content[-100:]
        (folder / name).write_bytes(content)
    capsys.readouterr()
    here()
    said = " ".join(capsys.readouterr().err.split())
    assert "damaged" in said
    expected = {"cut": "epoch 3, step 1", "changed": "epoch 3, step 1"}
    assert ("resuming from" in said) == (damage in expected)
    assert expected.get(damage, "") in said
    assert outputs(layout) == undisturbed


def poisoned_steps(monkeypatch: pytest.MonkeyPatch, *poisoned: tuple[int, int]) -> list[float]:
    """Sets a weight to NaN before those (epoch, step), each once; returns the learning rates of all steps."""
    left, rates = list(poisoned), []
    step = Trainer.train_step

    def poisoning(trainer: Trainer, *arguments: Any) -> torch.Tensor:
        place = (trainer.progress.epoch, trainer.progress.step)
        if place in left:
            left.remove(place)
            next(trainer.network.parameters()).data.fill_(float("nan"))
        rates.append(trainer._learning_rate(trainer.progress.step))
        return step(trainer, *arguments)

    monkeypatch.setattr(Trainer, "train_step", poisoning)
    return rates


def test_a_loss_that_is_not_finite_goes_back_once_with_a_lower_rate(
    layout: Layout,
    here: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rates = poisoned_steps(monkeypatch, (2, 1))
    here(warmup_fraction=0.0, nonfinite_rate_factor=0.5)
    said = " ".join(capsys.readouterr().err.split())
    assert "the loss was not finite in epoch 3: back to epoch 3, step 1, with the learning rate" in said
    first_time, second_time = rates[8:12], rates[12:16]
    assert second_time == pytest.approx([rate / 2 for rate in first_time])
    history = pd.read_csv(layout.encoder("chosen") / "history.csv")
    assert history["epoch"].tolist() == [1, 2, 3, 4]
    assert history["loss"].notna().all()


def test_going_back_brings_back_the_clusters_of_then(
    layout: Layout, here: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The only state is that of the start; clusters were remade since."""
    here(nonfinite_rate_factor=1.0)
    undisturbed = outputs(layout)
    assert "assignments.parquet" in undisturbed
    monkeypatch.setenv("CLINFONCE_SAVING_SHARE", "1e-9")
    poisoned_steps(monkeypatch, (3, 1))
    here(nonfinite_rate_factor=1.0)
    assert outputs(layout) == undisturbed


def test_a_stop_after_a_loss_that_is_not_finite_saves_no_such_state(
    layout: Layout, here: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    here(nonfinite_rate_factor=1.0)
    undisturbed = outputs(layout)
    poisoned_steps(monkeypatch, (2, 1))
    step = Trainer.train_step

    def stopping(trainer: Trainer, *arguments: Any) -> torch.Tensor:
        if (trainer.progress.epoch, trainer.progress.step) == (2, 2):
            monkeypatch.setattr(Trainer, "train_step", step)
            os.kill(os.getpid(), signal.SIGTERM)
        return step(trainer, *arguments)

    monkeypatch.setattr(Trainer, "train_step", stopping)
    with pytest.raises(Interrupted):
        here(nonfinite_rate_factor=1.0)
    here(nonfinite_rate_factor=1.0)
    assert outputs(layout) == undisturbed


def test_the_first_epoch_goes_back_to_the_start(
    here: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    poisoned_steps(monkeypatch, (0, 2))
    here()
    assert "back to epoch 1, step 1" in " ".join(capsys.readouterr().err.split())


def test_the_second_time_it_stops_with_a_sentence(
    layout: Layout, here: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    poisoned_steps(monkeypatch, (1, 0), (2, 0))
    with pytest.raises(UserError, match=r"not finite in epoch 3, after going back once.*lower pretrain"):
        here()
    assert not layout.encoder("chosen").exists()


def after_the_last_step(monkeypatch: pytest.MonkeyPatch, epochs: list[int], value: float) -> None:
    """Sets a weight to `value` after the last step of each of `epochs`, when no loss shows it any more."""
    left, step = list(epochs), Trainer.train_step

    def poisoning(trainer: Trainer, *arguments: Any) -> torch.Tensor:
        loss = step(trainer, *arguments)
        if trainer.progress.step == trainer.steps_per_epoch and trainer.progress.epoch in left:
            left.remove(trainer.progress.epoch)
            next(trainer.network.parameters()).data.fill_(value)
        return loss

    monkeypatch.setattr(Trainer, "train_step", poisoning)


POISONS = [
    (float("nan"), "weights were not finite"),
    (float("inf"), "weights were not finite"),
    (-3e17, r"weights had grown to 3e\+17"),
]


@pytest.mark.parametrize(("value", "fault"), POISONS)
def test_what_the_last_step_of_an_epoch_broke_is_undone(
    here: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    value: float,
    fault: str,
) -> None:
    after_the_last_step(monkeypatch, [3], value)
    here()
    assert re.search(f"{fault} in epoch 4: back to epoch 4", " ".join(capsys.readouterr().err.split()))


@pytest.mark.parametrize(("value", "fault"), POISONS)
def test_weights_that_went_wrong_twice_are_not_handed_on(
    layout: Layout, here: Callable[..., None], monkeypatch: pytest.MonkeyPatch, value: float, fault: str
) -> None:
    after_the_last_step(monkeypatch, [3, 3], value)
    with pytest.raises(UserError, match=f"chosen: {fault} in epoch 4, after going back once.*lower pretrain"):
        here()
    assert not layout.encoder("chosen").exists()


def test_a_last_layer_that_is_not_finite_is_not_handed_on(
    layout: Layout, here: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaking(encoder: torch.nn.Module, _sample: object) -> None:
        next(encoder.parameters()).data.fill_(float("inf"))

    monkeypatch.setattr(training, "fit_last_layer", breaking)
    with pytest.raises(UserError, match=r"chosen has weights that are not finite.*lower pretrain"):
        here()
    assert not layout.encoder("chosen").exists()


def test_features_that_are_not_finite_send_it_back(
    here: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Finite weights may still overflow where they are multiplied."""
    metrics, left = FeatureExtractor.representation_metrics, [1]

    def overflowing(extractor: FeatureExtractor, epoch: int) -> dict[str, float]:
        if epoch == 3 and left:
            left.pop()
            next(extractor.network.encoder.parameters()).data.fill_(3e38)
        return metrics(extractor, epoch)

    monkeypatch.setattr(FeatureExtractor, "representation_metrics", overflowing)
    here()
    assert "the features were not finite in epoch 4: back to" in " ".join(capsys.readouterr().err.split())


def test_a_collapse_is_told_in_the_log_and_on_the_card(
    layout: Layout,
    here: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(
        features, "representation_metrics", lambda *_: {"rankme": 9.0, "alignment": 0.0, "uniformity": -1e-3}
    )
    here()
    what = "all images have nearly the same embedding (uniformity -0.001; 0 is collapse)"
    assert f"warning: after epoch 4 {what}" in " ".join(capsys.readouterr().err.split())
    card = (layout.encoder("chosen") / "README.md").read_text()
    assert f"**Do not use it: its training collapsed.** At the end {what}." in card


def test_a_long_epoch_is_saved_within(
    here: Callable[..., None],
    power_cut: Callable[[int, int], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(loop, "SAVE_EVERY_SECONDS", 0)
    power_cut(1, 1)
    with pytest.raises(RuntimeError, match="power cut"):
        here()
    here()
    assert "resuming from epoch 2, step 2" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("before", "after", "sampler"), [("resident", "streamed", "shuffle"), ("streamed", "host", "cluster")]
)
def test_with_another_loader_an_epoch_keeps_its_order(
    layout: Layout,
    here: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    before: str,
    after: str,
    sampler: str,
) -> None:
    """Every image of the epoch is shown as often as by the loader that began it."""
    shown: list[tuple[int, Tensor]] = []
    step = Trainer.train_step

    def noting(trainer: Trainer, pixels: Any, batch: Batch) -> Tensor:
        shown.append((trainer.progress.epoch, batch.images_B))
        return step(trainer, pixels, batch)

    def stopping(trainer: Trainer, pixels: Any, batch: Batch) -> Tensor:
        if (trainer.progress.epoch, trainer.progress.step) == (1, 1):
            os.kill(os.getpid(), signal.SIGTERM)
        return noting(trainer, pixels, batch)

    def orders() -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}
        for epoch, images_B in shown:
            found.setdefault(epoch, []).extend(images_B.tolist())
        shown.clear()
        return found

    monkeypatch.setattr(Trainer, "train_step", noting)
    choices = {"sampler": sampler, "epochs": 3, "recluster_every": 0}
    undisturbed = {}
    for loader in (before, after):
        monkeypatch.setenv("CLINFONCE_LOADER", loader)
        here(**choices)
        undisturbed[loader] = orders()
    assert undisturbed[before][1] != undisturbed[after][1]

    monkeypatch.setenv("CLINFONCE_LOADER", before)
    monkeypatch.setattr(Trainer, "train_step", stopping)
    with pytest.raises(Interrupted):
        here(**choices)
    monkeypatch.setenv("CLINFONCE_LOADER", after)
    monkeypatch.setattr(Trainer, "train_step", noting)
    capsys.readouterr()
    here(**choices)
    assert "keeps its order of images" in " ".join(capsys.readouterr().err.split())
    resumed = orders()
    assert resumed[1] == undisturbed[before][1]
    assert resumed[2] == undisturbed[after][2]


def test_a_full_memory_is_told_with_what_fits(
    here: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = Network.forward

    def small(self: Network, images: torch.Tensor, *output: Any) -> Any:
        if self.training and len(images) > 4:
            raise torch.OutOfMemoryError
        return forward(self, images, *output)

    monkeypatch.setattr(Network, "forward", small)
    with pytest.raises(UserError, match=r"hold 4 images of 12 pixels a step: set pretrain.micro_batch=2"):
        here()
    here(micro_batch=2)


def test_a_disk_that_is_full_is_not_silent(
    here: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_self: StateFolder, _state: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(StateFolder, "_replace", full)
    with pytest.raises(OSError, match="No space left"):
        here()
