"""The processes that train together, one a device; alone when there is one."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Ranks:
    """This process's place among `count`. Its functions are collective: all ranks call them in one order."""

    index: int = 0
    count: int = 1
    control: dist.ProcessGroup | None = None
    """A group on the CPU for what hosts tell each other; None: the default group is one."""

    @property
    def first(self) -> bool:
        """Whether this process writes and speaks for all."""
        return self.index == 0

    def gathered(self, part_ND: Tensor) -> Tensor:
        """The parts of all ranks, of one shape, in rank order: (count * N, ...), without gradient."""
        if self.count == 1:
            return part_ND.detach()
        whole = part_ND.new_empty(self.count * part_ND.shape[0], *part_ND.shape[1:])
        dist.all_gather_into_tensor(whole, part_ND.detach().contiguous())
        return whole

    def summed(self, part: Tensor) -> Tensor:
        """The sum over the ranks, the same on each, without gradient."""
        whole = part.detach().clone()
        if self.count > 1:
            dist.all_reduce(whole)
        return whole

    def from_first(self, tensor: Tensor) -> Tensor:
        """The first rank's `tensor`; the others' have its shape and type."""
        if self.count > 1:
            dist.broadcast(tensor, 0)
        return tensor

    def told_by_first(self, value: Any) -> Any:
        """The first rank's `value`, of any kind that can be pickled."""
        values = [value]
        if self.count > 1:
            dist.broadcast_object_list(values, 0, group=self.control)
        return values[0]

    def highest(self, value: int) -> int:
        """The highest `value` of all ranks. Hosts wait for each other, devices don't."""
        if self.count == 1:
            return value
        values = torch.tensor([value])
        dist.all_reduce(values, dist.ReduceOp.MAX, group=self.control)
        return int(values)

    def share(self, length: int) -> slice:
        """This rank's equal, contiguous share of `length`, which `count` must divide."""
        each = length // self.count
        return slice(self.index * each, (self.index + 1) * each)


ALONE = Ranks()
