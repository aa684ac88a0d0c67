"""Ranks that train together, one per device; a single rank needs no communication."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Ranks:
    """This process among `world_size` ranks. Its methods are collective: all ranks call them in one order."""

    rank: int = 0
    world_size: int = 1
    control: dist.ProcessGroup | None = None
    """Group on the CPU for what hosts exchange; None: the default group is one."""
    local_world_size: int = 1
    """Number of ranks on this rank's machine, including itself."""

    @property
    def is_main(self) -> bool:
        """Whether this process writes and prints for all ranks."""
        return self.rank == 0

    def all_gather(self, part_ND: Tensor) -> Tensor:
        """Returns the parts of all ranks, of one shape, in rank order: (count * N, ...), without gradient."""
        if self.world_size == 1:
            return part_ND.detach()
        whole = part_ND.new_empty(self.world_size * part_ND.shape[0], *part_ND.shape[1:])
        dist.all_gather_into_tensor(whole, part_ND.detach().contiguous())
        return whole

    def all_reduce_sum(self, part: Tensor) -> Tensor:
        """Returns the sum over the ranks, the same on each, without gradient."""
        whole = part.detach().clone()
        if self.world_size > 1:
            dist.all_reduce(whole)
        return whole

    def broadcast(self, tensor: Tensor) -> Tensor:
        """Returns the first rank's `tensor`; those of the others have its shape and type."""
        if self.world_size > 1:
            dist.broadcast(tensor, 0)
        return tensor

    def broadcast_object(self, value: Any) -> Any:
        """Returns the first rank's `value`, of any kind that can be pickled."""
        values = [value]
        if self.world_size > 1:
            dist.broadcast_object_list(values, 0, group=self.control)
        return values[0]

    def all_gather_object(self, value: Any) -> list[Any]:
        """Returns every rank's `value`, of any kind that can be pickled, in rank order."""
        values = [value] * self.world_size
        if self.world_size > 1:
            dist.all_gather_object(values, value, group=self.control)
        return values

    def all_to_all(self, rows_NX: Tensor, sent: list[int], received: list[int]) -> Tensor:
        """Exchanges rows; `sent` counts those for each rank, `received` those from each, in rank order."""
        if self.world_size == 1:
            return rows_NX
        whole = rows_NX.new_empty(sum(received), *rows_NX.shape[1:])
        dist.all_to_all_single(whole, rows_NX.contiguous(), received, sent)
        return whole

    def all_reduce_max(self, value: int) -> int:
        """Returns the highest `value` of all ranks. Hosts wait for each other, devices don't."""
        if self.world_size == 1:
            return value
        values = torch.tensor([value])
        dist.all_reduce(values, dist.ReduceOp.MAX, group=self.control)
        return int(values)

    def share(self, length: int) -> slice:
        """Returns this rank's equal, contiguous share of `length`, which `world_size` must divide."""
        each = length // self.world_size
        return slice(self.rank * each, (self.rank + 1) * each)


ALONE = Ranks()
