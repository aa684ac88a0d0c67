"""The training loop. Shape letters: N train images, B images a step, D features."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pipeline.augment import Normalizer, central_views, random_views
from pipeline.encoders import Encoder
from pipeline.errors import UserError
from pipeline.objectives.cl_infonce import ClInfoNCE
from pipeline.randomness import derived_seed
from pipeline.store import PixelStore
from pipeline.training.optimizers import build_optimizer
from pipeline.training.params import PretrainParams
from pipeline.training.recluster import recluster
from pipeline.training.schedule import learning_rate_at
from pipeline.training.signals import Interrupted, StopRequest
from pipeline.training.state import State, StateFolder
from pipeline.training.watch import Watch

EMBED_BATCH = 512


@dataclass
class Progress:
    """Where a training stands; all of it is saved."""

    epoch: int = 0
    step: int = 0
    """Steps done in this epoch."""
    history: list[dict[str, float]] = field(default_factory=list)
    timing: list[dict[str, float]] = field(default_factory=list)
    trajectory: list[dict[str, float]] = field(default_factory=list)


class Trainer:
    """Trains an encoder on pairs of views, with its state on disk after every epoch."""

    def __init__(
        self,
        encoder: Encoder,
        objective: ClInfoNCE,
        store: PixelStore,
        clusters_N: Tensor,
        normalize: Normalizer,
        params: PretrainParams,
        *,
        image_size: int,
        recluster_settings: dict[str, Any] | None,
        seed: int,
        dtype: torch.dtype,
        title: str,
    ) -> None:
        self.device = store.canvas_NCHW.device
        self.encoder = encoder.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.objective = objective.to(self.device)
        self.store, self.clusters_N, self.normalize = store, clusters_N, normalize
        self.params, self.image_size, self.seed, self.title = params, image_size, seed, title
        self.recluster_settings = recluster_settings
        self.autocast = torch.autocast(self.device.type, dtype, enabled=dtype != torch.float32)
        parameters = [*self.encoder.parameters(), *self.objective.parameters()]
        self.optimizer = build_optimizer(parameters, params, self.device)
        self.batch_size = min(params.batch_size, len(store))
        self.steps_per_epoch = len(store) // self.batch_size
        self.progress = Progress()
        self.loss_sum = torch.zeros((), device=self.device)
        self.reclusterings: dict[str, Tensor] = {}
        """Clusters by the epoch (as text) before which they were made."""

    def run(self, states: StateFolder, stop: StopRequest) -> None:
        """Trains to the last epoch. Raises `Interrupted` after saving if `stop` was asked for."""
        state = states.load(self.device)
        done = 0
        if state is not None:
            self._restore(state)
            done = self.progress.epoch * self.steps_per_epoch + self.progress.step
        with Watch(self.title, self.params.epochs, self.steps_per_epoch, self.batch_size, done) as watch:
            if state is not None:
                watch.say(f"resuming from epoch {self.progress.epoch + 1}, step {self.progress.step + 1}")
            while self.progress.epoch < self.params.epochs:
                self._train_epoch(watch, states, stop)
                states.save(self._state())

    def _train_epoch(self, watch: Watch, states: StateFolder, stop: StopRequest) -> None:
        epoch = self.progress.epoch
        if self.progress.step == 0:
            self.loss_sum.zero_()
            self._recluster_if_due(epoch)
        self.encoder.train()
        for images_B in self._batches(epoch):
            loss = self._train_step(images_B)
            watch.step(epoch, loss)
            if stop.signal_number is not None:
                states.save(self._state())
                watch.say(f"stopped by signal {stop.signal_number}; the same command goes on from here")
                raise Interrupted(stop.signal_number)
        loss_of_epoch = float(self.loss_sum) / self.steps_per_epoch
        if not math.isfinite(loss_of_epoch):
            raise UserError(
                f"the loss of {self.title} became {loss_of_epoch} in epoch {epoch + 1}: lower "
                f"pretrain.learning_rate ({self.params.learning_rate}) or raise pretrain.temperature"
            )
        rate = self._learning_rate(self.steps_per_epoch - 1)
        self.progress.timing.append(watch.epoch(epoch, loss_of_epoch))
        self.progress.history.append({"epoch": epoch + 1, "loss": loss_of_epoch, "learning_rate": rate})
        self.progress.epoch, self.progress.step = epoch + 1, 0

    def _batches(self, epoch: int) -> Iterator[Tensor]:
        """The rest of this epoch's shuffle, in batches; the images that fill none sit out."""
        generator = torch.Generator().manual_seed(derived_seed(self.seed, "shuffle", epoch))
        order_N = torch.randperm(len(self.store), generator=generator).to(self.device)
        batches = order_N.split(self.batch_size)[: self.steps_per_epoch]
        yield from batches[self.progress.step :]

    def _train_step(self, images_B: Tensor) -> Tensor:
        """One update; nothing here waits for the device."""
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate(self.progress.step)
        seed = derived_seed(self.seed, "views", self.progress.epoch, self.progress.step)
        both_2B = torch.cat([images_B, images_B])
        canvas, sizes = self.store.canvas_NCHW[both_2B], self.store.sizes_N2[both_2B]
        views = self.normalize(random_views(canvas, sizes, self.image_size, self.params.augment, seed))
        with self.autocast:
            features_2B_D = self.encoder(views)
            loss = self.objective(features_2B_D, self.clusters_N[both_2B])
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.progress.step += 1
        detached: Tensor = loss.detach()
        self.loss_sum += detached
        return detached

    def _learning_rate(self, step: int) -> float:
        position = self.progress.epoch * self.steps_per_epoch + step
        total = self.params.epochs * self.steps_per_epoch
        return learning_rate_at(position, total, self.params.learning_rate, self.params.warmup_fraction)

    def _recluster_if_due(self, epoch: int) -> None:
        every = self.params.recluster_every
        # The first epochs train on the clusters that came in: the encoder knows nothing yet.
        if self.recluster_settings is None or every == 0 or epoch == 0 or epoch % every != 0:
            return
        seed = derived_seed(self.seed, "recluster", epoch)
        embeddings = self.embeddings()
        self.clusters_N, row = recluster(embeddings, self.clusters_N, self.recluster_settings, epoch, seed)
        self.progress.trajectory.append(row)
        self.reclusterings[str(epoch)] = self.clusters_N

    @torch.no_grad()
    def embeddings(self) -> Tensor:
        """Normalised head outputs of the central views of all images, in evaluation mode: (N, D) float32."""
        self.encoder.eval()
        outputs = []
        for images_B in torch.arange(len(self.store), device=self.device).split(EMBED_BATCH):
            canvas, sizes = self.store.canvas_NCHW[images_B], self.store.sizes_N2[images_B]
            with self.autocast:
                features = self.encoder(self.normalize(central_views(canvas, sizes, self.image_size)))
                outputs.append(self.objective.embed(features))
        return torch.cat(outputs)

    def _state(self) -> State:
        return {
            "encoder": self.encoder.state_dict(),
            "objective": self.objective.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "clusters": self.clusters_N,
            "reclusterings": self.reclusterings,
            "loss_sum": self.loss_sum,
            "progress": vars(self.progress),
        }

    def _restore(self, state: State) -> None:
        self.encoder.load_state_dict(state["encoder"])
        self.objective.load_state_dict(state["objective"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.clusters_N = state["clusters"]
        self.reclusterings = state["reclusterings"]
        self.loss_sum = state["loss_sum"]
        self.progress = Progress(**state["progress"])
