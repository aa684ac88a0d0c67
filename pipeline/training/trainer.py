"""The training loop. Shape letters: N train images, S steps per epoch, B images per step, D features."""

import math
import time

import torch
from torch import Tensor

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
from pipeline.training.features import FeatureExtractor
from pipeline.training.loaders.select import Loader
from pipeline.training.network import Network, over_ranks
from pipeline.training.optimizers import build_optimizer
from pipeline.training.plan import Plan, images_of_views
from pipeline.training.progress import Progress, saved_state
from pipeline.training.recluster import recluster
from pipeline.training.sampler import cluster_batches, shuffled_batches
from pipeline.training.schedule import learning_rate_at
from pipeline.training.shutdown import Interrupted, StopRequest
from pipeline.training.soundness import fault_of
from pipeline.training.step import Step, batch_sizes, largest_that_fits, out_of_memory
from pipeline.training.trackers import Trackers
from pipeline.training.views import Views

SAVE_EVERY_SECONDS = 300
"""Seconds between saves within an epoch; at its end `StateFolder.due` decides."""
SAVE_ONLY = 1
"""Request to save, the maximum of which ranks exchange; 0 is no request, a signal's number is to save and
stop.

SIGHUP, whose number is 1, is not handled.
"""


class Trainer:
    """Trains a network on pairs of views, with its state on disk."""

    def __init__(
        self,
        network: Network,
        loader: Loader,
        clustered: Clustered,
        attributes_NA: Tensor | None,
        views: Views,
        params: PretrainParams,
        context: TrainingContext,
    ) -> None:
        device, ranks = context.device, context.ranks
        dtype = compute_dtype(params.precision, device)
        self.loader, self.views, self.params, self.context = loader, views, params, context
        self.device, self.ranks, self.image_size = device, ranks, context.image_size
        self.first_clusters_N = self.clusters_N = clustered.clusters_N.cpu()
        self.recluster_settings = clustered.recluster
        self.attributes_NA = None if attributes_NA is None else attributes_NA.to(device)
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.autocast = torch.autocast(device.type, dtype, enabled=dtype != torch.float32)
        self.batch_size, micro_batch = batch_sizes(params, len(loader), ranks)
        self.called = over_ranks(self.network, ranks, device)
        self.step = self._step_of(micro_batch)
        self.optimizer = build_optimizer(self.network, params, device)
        self.progress = Progress()
        self.steps_per_epoch = len(self._batches(0))
        self.loss_sum = torch.zeros((), device=device)
        self.extractor = FeatureExtractor(self.network, loader, views, context, self.autocast)
        self.reclusterings: dict[str, Tensor] = {}
        """Clusters by the epoch (as text) before which they were computed."""

    def run(self, states: StateFolder, stop: StopRequest, trackers: Trackers) -> None:
        """Trains to the last epoch. Raises `Interrupted` after saving, if `stop` was requested."""
        found = self._go_to_saved(states)
        trackers.begin(self.progress.history)
        done = self.progress.epoch * self.steps_per_epoch + self.progress.step
        lengths = self.params.epochs, self.steps_per_epoch, self.batch_size
        with TrainingConsole(self.context.title, *lengths, done, self.ranks.is_main) as console:
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
            self.network.objective.begin_epoch(epoch, self.extractor.embeddings, self.ranks, seed)
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
        signs = self.extractor.representation_metrics(epoch)
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
        images_SB, seed = self._batches(epoch), derived_seed(self.context.seed, "partners", epoch)
        views = images_of_views(images_SB, self.steps_per_epoch, self.clusters_N, self.params.form, seed)
        own = [images_SB[:, self.step.places_B] for images_SB in views]
        return Plan.of(own, self.clusters_N, self.attributes_NA, self.device)

    def train_step(self, pixels: tuple[Tensor, Tensor], batch: Batch) -> Tensor:
        """Updates the weights by what the loader yielded for a `batch` of images; returns the loss.

        Nothing here waits for the device. Raises `UserError` if the batch does not fit into memory.
        """
        rate = self._learning_rate(self.progress.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["rate_factor"]
        seed = derived_seed(self.context.seed, "views", self.progress.epoch, self.progress.step)
        canvas, sizes = pixels

        def views(rows: Tensor, places: Tensor) -> Tensor:
            images = rows.remainder(len(canvas))
            return self.views.random((canvas[images], sizes[images]), seed, places, 2 * self.batch_size)

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
        embeddings_ND = self.extractor.embeddings()
        clusters_N, row = recluster(embeddings_ND, self.clusters_N, self.recluster_settings, epoch, seed)
        self.clusters_N = self.ranks.broadcast(clusters_N.to(self.device)).cpu()
        self.progress.trajectory.append(row)
        self.reclusterings[str(epoch)] = self.clusters_N
        if self.ranks.is_main:
            states.keep(f"clusters-{epoch}", self.clusters_N)

    def save(self, states: StateFolder) -> None:
        if self.ranks.is_main:
            states.save(
                {
                    "network": self.network.state_dict(),
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
            saved_state(states) if self.ranks.is_main else None
        )
        state, said = values
        if state is None:
            return said
        self.network.load_state_dict(state["network"])
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
