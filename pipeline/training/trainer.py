"""The training loop. Shape letters: N train images, S steps per epoch, B images per step, D features."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.augment import Normalizer, central_views, random_views, views_at_once
from pipeline.config.pretrain import PretrainParams
from pipeline.objectives.base import Batch, StepInfo
from pipeline.objectives.traits import reads_clusters
from pipeline.runtime.device import compute_dtype
from pipeline.runtime.errors import UserError
from pipeline.runtime.seeding import derived_seed
from pipeline.training.checkpoint import State, StateFolder
from pipeline.training.collapse import collapse
from pipeline.training.console import TrainingConsole
from pipeline.training.context import Clustered, TrainingContext
from pipeline.training.loaders.select import Loader
from pipeline.training.network import Network, over_ranks
from pipeline.training.optimizers import build_optimizer
from pipeline.training.progress import Progress
from pipeline.training.recluster import recluster
from pipeline.training.representation import SAMPLED_IMAGES, representation_metrics
from pipeline.training.sampler import cluster_batches, partners, shuffled_batches
from pipeline.training.schedule import learning_rate_at
from pipeline.training.shutdown import Interrupted, StopRequest
from pipeline.training.soundness import fault_of
from pipeline.training.step import Step, batch_sizes, largest_that_fits, out_of_memory
from pipeline.training.trackers import Trackers

EMBED_BATCH = 512
SAVE_EVERY_SECONDS = 300
"""Seconds between saves within an epoch; at its end `StateFolder.due` decides."""
SAVE_ONLY = 1
"""Request to save, the maximum of which ranks exchange; 0 is no request, a signal's number is to save and
stop.

SIGHUP, whose number is 1, is not handled.
"""

Views = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Function (canvas, sizes, their places among all that are evaluated) -> normalised views."""


@dataclass(frozen=True)
class Plan:
    """The images of each step of an epoch."""

    requested: list[Tensor]
    """This rank's images in each step, on the CPU, followed by those of the second views if they differ."""
    batches: list[Batch]
    """Data about this rank's first views in each step, on the device."""


class Trainer:
    """Trains a network on pairs of views, with its state on disk."""

    def __init__(
        self,
        network: Network,
        loader: Loader,
        clustered: Clustered,
        attributes_NA: Tensor | None,
        normalize: Normalizer,
        params: PretrainParams,
        context: TrainingContext,
    ) -> None:
        device, ranks = context.device, context.ranks
        dtype = compute_dtype(params.precision, device)
        self.loader, self.normalize, self.params, self.context = loader, normalize, params, context
        self.device, self.ranks, self.image_size = device, ranks, context.image_size
        self.first_clusters_N = self.clusters_N = clustered.clusters_N.cpu()
        self.recluster_settings = clustered.recluster
        self.attributes_NA = None if attributes_NA is None else attributes_NA.to(device)
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.autocast = torch.autocast(device.type, dtype, enabled=dtype != torch.float32)
        self.batch_size, micro_batch = batch_sizes(params, len(loader), ranks)
        self.called = over_ranks(self.network, ranks, device)
        self.step = self._step_of(micro_batch)
        trained = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        self.optimizer = build_optimizer(trained, params, device)
        self.progress = Progress()
        self.steps_per_epoch = len(self._batches(0))
        self.loss_sum = torch.zeros((), device=device)
        self.reclusterings: dict[str, Tensor] = {}
        """Clusters by the epoch (as text) before which they were computed."""

    def run(self, states: StateFolder, stop: StopRequest, trackers: Trackers) -> None:
        """Trains to the last epoch. Raises `Interrupted` after saving, if `stop` was requested."""
        found = self._go_to_saved(states)
        trackers.begin(self.progress.history)
        done = self.progress.epoch * self.steps_per_epoch + self.progress.step
        with TrainingConsole(
            self.context.title,
            self.params.epochs,
            self.steps_per_epoch,
            self.batch_size,
            done,
            self.ranks.is_main,
        ) as console:
            for line in found:
                console.echo(line)
            if done == 0:
                # The state to which a fault in the first epoch goes back.
                self.save(states)
            console.echo(f"{self.loader.title}, {self.batch_size} images a step")
            while self.progress.epoch < self.params.epochs:
                if fault := self._train_epoch(console, states, stop):
                    self._go_back(console, states, fault)
                    trackers.begin(self.progress.history)
                    continue
                trackers.add(self.progress.history[-1])
                if states.due:
                    self.save(states)

    def _train_epoch(self, console: TrainingConsole, states: StateFolder, stop: StopRequest) -> str | None:
        """Trains to the end of the epoch; returns a fault as a clause in the past tense, or None."""
        epoch = self.progress.epoch
        if self.progress.step == 0:
            self.loss_sum.zero_()
            self._recluster_if_due(epoch, states)
            seed = derived_seed(self.context.seed, "objective", epoch)
            self.network.objective.begin_epoch(epoch, self.embeddings, self.ranks, seed)
            self.progress.order_N = self._shuffled(epoch)
        self.network.train()
        plan = self.plan(epoch)
        saved_at = time.monotonic()
        for pixels in self.loader.batches(plan.requested[self.progress.step :]):
            loss = self.train_step(pixels, plan.batches[self.progress.step])
            console.step(epoch, loss)
            save_is_due = time.monotonic() - saved_at > SAVE_EVERY_SECONDS
            reason = self.ranks.all_reduce_max(stop.signal_number or (SAVE_ONLY if save_is_due else 0))
            if reason > SAVE_ONLY:
                # Faulty weights are not saved: the next run starts from the previous state.
                if fault_of(self.network, self.loss_sum) is None:
                    self.save(states)
                states.wait()
                console.echo(f"stopped by signal {reason}; the same command resumes here")
                raise Interrupted(reason)
            if reason == SAVE_ONLY:
                if fault := fault_of(self.network, self.loss_sum):
                    return fault
                self.save(states)
                saved_at = time.monotonic()
        # The last step has changed the weights since the last loss was computed.
        if fault := fault_of(self.network, self.loss_sum):
            return fault
        signs = self._representation_metrics(epoch)
        if not all(map(math.isfinite, signs.values())):
            return "the features were not finite"
        loss_of_epoch = float(self.loss_sum) / self.steps_per_epoch
        rate = self._learning_rate(self.steps_per_epoch - 1)
        self.progress.timing.append(console.epoch(epoch, loss_of_epoch))
        self.progress.history.append(
            {"epoch": epoch + 1, "loss": loss_of_epoch, "learning_rate": rate, **signs}
        )
        if found := collapse(signs):
            console.echo(f"warning: after epoch {epoch + 1} {found.what}: {found.cure}")
        self.progress.epoch, self.progress.step, self.progress.order_N = epoch + 1, 0, None
        return None

    def _go_back(self, console: TrainingConsole, states: StateFolder, fault: str) -> None:
        """Restores the last state, which was saved before `fault`. Raises `UserError` the second time."""
        epoch, rate = self.progress.epoch + 1, self.params.learning_rate * self.progress.rate_factor
        if self.progress.retried:
            raise UserError(
                f"{self.context.title}: {fault} in epoch {epoch}, after going back once already: "
                f"lower pretrain.learning_rate ({self.params.learning_rate}) or raise pretrain.temperature"
            )
        self._go_to_saved(states)
        self.progress.retried = True
        self.progress.rate_factor *= self.params.nonfinite_rate_factor
        console.echo(
            f"{fault} in epoch {epoch}: back to epoch {self.progress.epoch + 1}, step "
            f"{self.progress.step + 1}, with the learning rate {rate * self.params.nonfinite_rate_factor:g}"
        )
        # Saved, so that a training killed from here on does not try a third time.
        self.save(states)

    def _batches(self, epoch: int) -> Tensor:
        """Returns the images (S, B) of each step, for all ranks."""
        order_N = self._shuffled(epoch) if self.progress.order_N is None else self.progress.order_N
        if self.params.sampler == "cluster":
            return cluster_batches(order_N, self.clusters_N, self.batch_size)
        return shuffled_batches(order_N, self.batch_size)

    def _shuffled(self, epoch: int) -> Tensor:
        """Returns the order (N,) of the epoch, as the loader prefers it."""
        return self.loader.shuffled(
            torch.Generator().manual_seed(derived_seed(self.context.seed, "shuffle", epoch))
        )

    def plan(self, epoch: int) -> Plan:
        """Returns the plan of `epoch` by the current clusters."""
        images_SB = self._batches(epoch)
        # Re-clustering may change the number of pairs; the schedule keeps its length.
        rounds = -(-self.steps_per_epoch // len(images_SB))
        images_SB = images_SB.repeat(rounds, 1)[: self.steps_per_epoch]
        views = [images_SB]
        if self.params.form == "pair":
            views.append(
                partners(images_SB, self.clusters_N, derived_seed(self.context.seed, "partners", epoch))
            )
        own = [images_SB[:, self.step.places_B] for images_SB in views]
        # One copy per epoch: a copy in each step would make the host wait for the device.
        images_SB, clusters_SB = own[0].to(self.device), self.clusters_N[own[0]].to(self.device)
        known = [
            None if self.attributes_NA is None else self.attributes_NA[images_B] for images_B in images_SB
        ]
        batches = [Batch(*values) for values in zip(images_SB, clusters_SB, known, strict=True)]
        return Plan(list(torch.cat(own, dim=1)), batches)

    def train_step(self, pixels: tuple[Tensor, Tensor], batch: Batch) -> Tensor:
        """Updates the weights by the images in `pixels` (canvas, sizes) and their `batch`; returns the loss.

        Nothing here waits for the device. Raises `UserError` if the batch does not fit into memory.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate(self.progress.step)
        seed = derived_seed(self.context.seed, "views", self.progress.epoch, self.progress.step)
        canvas, sizes = pixels

        def views(rows: Tensor, places: Tensor) -> Tensor:
            images = rows.remainder(len(canvas))
            return random_views(
                canvas[images],
                sizes[images],
                self.image_size,
                self.params.augment,
                seed,
                rows_N=places,
                of=2 * self.batch_size,
                normalize=self.normalize,
            )

        step_info = StepInfo(
            self.progress.epoch * self.steps_per_epoch + self.progress.step,
            self.params.epochs * self.steps_per_epoch,
        )
        try:
            loss = self.step.run(views, batch, step_info)
        except torch.OutOfMemoryError:
            fits = largest_that_fits(
                lambda micro_batch: self._step_of(micro_batch).run(views, batch, step_info),
                self.batch_size,
                self.ranks.world_size,
            )
            raise out_of_memory(self.batch_size, self.image_size, fits) from None
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.progress.step += 1
        self.loss_sum += loss
        return loss

    def _step_of(self, micro_batch: int) -> Step:
        return Step(
            self.called,
            self.network,
            self.ranks,
            self.autocast,
            self.device,
            batch_size=self.batch_size,
            micro_batch=micro_batch,
        )

    def _learning_rate(self, step: int) -> float:
        position = self.progress.epoch * self.steps_per_epoch + step
        total = self.params.epochs * self.steps_per_epoch
        highest = self.params.learning_rate * self.progress.rate_factor
        return learning_rate_at(position, total, highest, self.params.warmup_fraction)

    def _recluster_if_due(self, epoch: int, states: StateFolder) -> None:
        every = self.params.recluster_every
        if not reads_clusters(self.params.objective, self.params.sampler):
            return
        # The first epochs use the given clusters, since the encoder has not learned anything yet.
        if self.recluster_settings is None or every == 0 or epoch == 0 or epoch % every != 0:
            return
        seed = derived_seed(self.context.seed, "recluster", epoch)
        embeddings_ND = self.embeddings()
        clusters_N, row = recluster(embeddings_ND, self.clusters_N, self.recluster_settings, epoch, seed)
        self.clusters_N = self.ranks.broadcast(clusters_N.to(self.device)).cpu()
        self.progress.trajectory.append(row)
        self.reclusterings[str(epoch)] = self.clusters_N
        if self.ranks.is_main:
            states.keep(f"clusters-{epoch}", self.clusters_N)

    def embeddings(self) -> Tensor:
        """Returns normalised embeddings (N, D) float32 of all images' central views, in evaluation mode.

        They are the target network's if there is one.
        """

        def central(canvas: Tensor, sizes: Tensor, _places: Tensor) -> Tensor:
            return self.normalize(central_views(canvas, sizes, self.image_size))

        _, outputs_ND = self._evaluated(torch.arange(len(self.loader)), central, of_target=True)
        return functional.normalize(outputs_ND, dim=1)

    def _representation_metrics(self, epoch: int) -> dict[str, float]:
        """Computes the metrics of two random views of images from the whole set, in evaluation mode."""
        count = min(SAMPLED_IMAGES, len(self.loader))
        images = torch.linspace(0, len(self.loader) - 1, count).long()
        seed = derived_seed(self.context.seed, "health", epoch)

        def views_from(first: int) -> Views:
            return lambda canvas, sizes, places: random_views(
                canvas,
                sizes,
                self.image_size,
                self.params.augment,
                seed,
                rows_N=first + places,
                of=2 * count,
                normalize=self.normalize,
            )

        features, outputs = zip(*(self._evaluated(images, views_from(f)) for f in (0, count)), strict=True)
        return representation_metrics(features, outputs)

    @torch.no_grad()
    def _evaluated(self, images_N: Tensor, views: Views, *, of_target: bool = False) -> tuple[Tensor, Tensor]:
        """Returns float32 features (N, F) and embeddings (N, D), in evaluation mode; ranks share the work."""
        self.network.eval()
        target = self.network.target if of_target else None
        each = -(-len(images_N) // self.ranks.world_size)
        places = torch.arange(self.ranks.rank * each, (self.ranks.rank + 1) * each)
        parts = places.clamp(max=len(images_N) - 1).split(views_at_once(self.image_size, EMBED_BATCH))
        features, outputs = [], []
        pixels = self.loader.batches([images_N[part] for part in parts])
        for part, (canvas, sizes) in zip(parts, pixels, strict=True):
            seen = views(canvas, sizes, part.to(self.device))
            with self.autocast:
                if target is not None:
                    some_features, some_outputs = target(seen)
                else:
                    some_features, some_outputs = self.network(seen)
                    some_outputs = self.network.objective.embeddings_of(some_outputs)
            features.append(some_features.float())
            outputs.append(some_outputs.float())
        features_NF, outputs_ND = (self.ranks.all_gather(torch.cat(parts)) for parts in (features, outputs))
        return features_NF[: len(images_N)], outputs_ND[: len(images_N)]

    def save(self, states: StateFolder) -> None:
        if self.ranks.is_main:
            states.save(
                {
                    "encoder": self.network.encoder.state_dict(),
                    "objective": self.network.objective.state_dict(),
                    "target": None if self.network.target is None else self.network.target.state_dict(),
                    "optimizer": self.optimizer.state_dict(),
                    "loss_sum": self.loss_sum,
                    "progress": vars(self.progress),
                    "reclustered": list(self.reclusterings),
                }
            )

    def _go_to_saved(self, states: StateFolder) -> list[str]:
        """Restores the last state, if there is an intact one; returns messages about it."""
        if self.ranks.is_main:
            states.wait()
        values: tuple[State | None, list[str]] = self.ranks.broadcast_object(
            _load(states) if self.ranks.is_main else None
        )
        state, said = values
        if state is None:
            return said
        self.network.encoder.load_state_dict(state["encoder"])
        self.network.objective.load_state_dict(state["objective"])
        if self.network.target is not None:
            self.network.target.load_state_dict(state["target"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.loss_sum = state["loss_sum"].to(self.device)
        self.progress = Progress(**state["progress"])
        self.reclusterings = state["reclusterings"]
        # After going back, clusters that were recomputed since do not belong to this state.
        self.clusters_N = next(reversed(self.reclusterings.values()), self.first_clusters_N)
        if self.progress.epoch == self.params.epochs:
            return [*said, "it has been trained to the end already: that result is taken"]
        said = [*said, f"resuming from epoch {self.progress.epoch + 1}, step {self.progress.step + 1}"]
        order_N = self.progress.order_N
        if order_N is not None and not torch.equal(order_N, self._shuffled(self.progress.epoch)):
            said.append(
                "this epoch keeps its order of images, which another loader chose; the next has its own"
            )
        return said


def _load(states: StateFolder) -> tuple[State | None, list[str]]:
    """Returns the last state, or None if there is none or its re-clusterings are damaged, and messages."""
    state, said = states.load()
    if state is None:
        return None, said
    kept = {epoch: states.kept(f"clusters-{epoch}") for epoch in state.pop("reclustered")}
    if any(clusters_N is None for clusters_N in kept.values()):
        return None, [*said, "the clusters of an earlier epoch are damaged: training starts anew"]
    return state | {"reclusterings": kept}, said
