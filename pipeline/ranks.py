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
    beside: int = 1
    """How many of them share this one's machine, itself included."""

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

    def told_by_all(self, value: Any) -> list[Any]:
        """Every rank's `value`, of any kind that can be pickled, in rank order."""
        values = [value] * self.count
        if self.count > 1:
            dist.all_gather_object(values, value, group=self.control)
        return values

    def exchanged(self, rows_NX: Tensor, sent: list[int], received: list[int]) -> Tensor:
        """Rows for each rank, `sent` many, against those from each, `received` many, both in rank order."""
        if self.count == 1:
            return rows_NX
        whole = rows_NX.new_empty(sum(received), *rows_NX.shape[1:])
        dist.all_to_all_single(whole, rows_NX.contiguous(), received, sent)
        return whole

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
