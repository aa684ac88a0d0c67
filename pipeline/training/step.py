"""Computes loss and gradients of one global batch, whole or in micro-batches, on one or several ranks.

Shape letters: B images of a batch (the global one, or this rank's share of it), N views, D dimensions.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pipeline.config.pretrain import PretrainParams
from pipeline.objectives.base import Batch, StepInfo
from pipeline.runtime.distributed import Ranks
from pipeline.runtime.errors import UserError
from pipeline.training.network import Network, frozen_statistics
from pipeline.training.schedule import images_per_step

ViewsOf = Callable[[Tensor, Tensor], Tensor]
"""Function (rows, places) -> views: rows index this rank's images, places index the global batch's 2B views,
of which the first B are first views and the others second views."""

Part = tuple[Tensor, Tensor]
"""The (rows, places) of a micro-batch's views on this rank."""


class Step:
    """Runs the forward and backward pass of a step. Nothing here waits for the device."""

    def __init__(
        self,
        called: nn.Module,
        network: Network,
        ranks: Ranks,
        autocast: AbstractContextManager[object],
        device: torch.device,
        *,
        batch_size: int,
        micro_batch: int,
    ) -> None:
        self._called, self._network, self._objective = called, network, network.objective
        self._ranks, self._autocast = ranks, autocast
        parts = [part[ranks.share(len(part))] for part in torch.arange(batch_size).split(micro_batch)]
        self.places_B = torch.cat(parts)
        """Positions of this rank's images in the global batch, on the CPU."""
        own = len(self.places_B)
        self._parts: list[Part] = []
        for number, part in enumerate(parts):
            rows = torch.arange(number * len(part), (number + 1) * len(part))
            places = torch.cat([part, part + batch_size])
            self._parts.append((torch.cat([rows, rows + own]).to(device), places.to(device)))

    def run(self, views: ViewsOf, batch: Batch, step_info: StepInfo) -> Tensor:
        """Returns the global batch's loss, the same on every rank, and leaves its gradient in `grad`.

        `batch` describes this rank's images, in the order of `places_B`.
        """
        self._network.begin_step(step_info)
        if len(self._parts) == 1:
            loss, targets = self._in_one(views(*self._parts[0]), batch)
        else:
            loss, targets = self._in_parts(views, batch)
        with torch.no_grad():
            self._objective.end_step(targets, batch, self._ranks)
        return loss.detach()

    def _in_one(self, views: Tensor, batch: Batch) -> tuple[Tensor, Tensor | None]:
        targets = self._targets(views)
        outputs = self._outputs(views, batch, self._parts[0])
        loss = self._objective.loss(outputs, targets, batch, self._ranks)
        # The ranks' gradients are averaged, but each is only that through the rank's own views: the gradient
        # of the loss is their sum, hence the factor.
        (loss * self._ranks.world_size).backward()
        return loss, targets

    def _in_parts(self, views: ViewsOf, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Computes the loss of the whole batch in the memory of a part (Gao et al., arXiv 2101.06983).

        The first pass keeps only the outputs; the loss gives their gradients; the second pass propagates each
        part's gradients back through the encoder.
        """
        outputs, part_targets = [], []
        with torch.no_grad():
            for part in self._parts:
                seen = views(*part)
                part_targets.append(self._targets(seen))
                with frozen_statistics(self._called):
                    outputs.append(self._outputs(seen, batch, part))
        leaf = _first_then_second(outputs).requires_grad_()
        known = [part for part in part_targets if part is not None]
        targets = _first_then_second(known) if known else None
        loss = self._objective.loss(leaf, targets, batch, self._ranks)
        (gradient,) = torch.autograd.grad(loss * self._ranks.world_size, leaf)
        gradients = _by_part(gradient, len(self._parts))
        for part, part_gradient in zip(self._parts, gradients, strict=True):
            with nullcontext() if part is self._parts[-1] else self._unsynchronised():
                self._outputs(views(*part), batch, part).backward(part_gradient)
        return loss, targets

    def _outputs(self, views: Tensor, batch: Batch, part: Part) -> Tensor:
        rows, _ = part
        known = batch.attributes_BA
        attributes_NA = None if known is None else known[rows.remainder(len(known))]
        with self._autocast:
            _, outputs = self._called(views, attributes_NA)
        result: Tensor = outputs
        return result

    def _targets(self, views: Tensor) -> Tensor | None:
        if self._network.target is None:
            return None
        with self._autocast:
            _, targets = self._network.target(views)
        result: Tensor = targets
        return result

    def _unsynchronised(self) -> AbstractContextManager[object]:
        called = self._called
        return called.no_sync() if isinstance(called, DistributedDataParallel) else nullcontext()


def _first_then_second(parts: list[Tensor]) -> Tensor:
    """Concatenates parts of first and second views each: all first views, then all second ones."""
    halves = [part.chunk(2) for part in parts]
    return torch.cat([first for first, _ in halves] + [second for _, second in halves])


def _by_part(whole: Tensor, parts: int) -> Iterator[Tensor]:
    """Inverts `_first_then_second`, for parts of equal size."""
    first, second = whole.chunk(2)
    for pair in zip(first.chunk(parts), second.chunk(parts), strict=True):
        yield torch.cat(pair)


def batch_sizes(params: PretrainParams, images: int, ranks: Ranks) -> tuple[int, int]:
    """Returns the images per step over all ranks, and how many of them pass through the network together.

    Raises `UserError` if several ranks cannot share them evenly, or there are fewer images than a batch.
    """
    batch_size, micro_batch = params.batch_size, params.micro_batch or params.batch_size
    for key, value in (("batch_size", batch_size), ("micro_batch", micro_batch)):
        if value % ranks.world_size:
            raise UserError(
                f"pretrain.{key}={value} can't be shared evenly by {ranks.world_size} processes: "
                "choose a multiple"
            )
    if images >= batch_size:
        return batch_size, micro_batch
    if ranks.world_size > 1:
        raise UserError(
            f"pretrain.batch_size={batch_size} is more than the {images} train images: lower it, or train "
            "with one process"
        )
    whole = images_per_step(images, batch_size, params.sampler)
    return whole, whole


def largest_that_fits(runs: Callable[[int], object], batch_size: int, ranks: int) -> int | None:
    """Returns the largest divisor of `batch_size` for which `runs` does not run out of memory, or None.

    Only multiples of `ranks` below `batch_size` are tried.
    """
    for micro_batch in sorted((m for m in range(ranks, batch_size) if batch_size % m == 0), reverse=True):
        if micro_batch % ranks:
            continue
        try:
            runs(micro_batch)
        except torch.OutOfMemoryError:
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        else:
            return micro_batch
    return None


def out_of_memory(images: int, image_size: int, fits: int | None) -> UserError:
    """Returns the error for a step that exceeds the memory; `fits` is the largest micro-batch that fits."""
    cure = (
        f"set pretrain.micro_batch={fits}, which fits"
        if fits is not None
        else "not even one image at a time fits, so choose a smaller encoder or ingest.image_size"
    )
    return UserError(f"the memory does not hold {images} images of {image_size} pixels a step: {cure}")
