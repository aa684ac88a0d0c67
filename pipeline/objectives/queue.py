"""A queue of earlier embeddings that a batch is compared with."""

import torch
from torch import Tensor, nn


class Queue(nn.Module):
    """The last `length` rows that were added, each with its id; all of it is saved with the objective.

    The host knows their number, so nothing waits for the device.
    """

    _rows_QD: Tensor
    _ids_Q: Tensor

    def __init__(self, length: int, dim: int) -> None:
        super().__init__()
        self.length = length
        self.register_buffer("_rows_QD", torch.zeros(length, dim))
        self.register_buffer("_ids_Q", torch.zeros(length, dtype=torch.int64))
        self._put = 0

    def __len__(self) -> int:
        return min(self._put, self.length)

    @property
    def rows(self) -> Tensor:
        """The rows, (len, D), in no particular order."""
        return self._rows_QD[: len(self)]

    @property
    def ids(self) -> Tensor:
        """The ids of `rows`, (len,) int64."""
        return self._ids_Q[: len(self)]

    @torch.no_grad()
    def put(self, rows_MD: Tensor, ids_M: Tensor) -> None:
        """Adds rows, in place of the oldest ones. All ranks must add the same rows."""
        count = min(len(rows_MD), self.length)
        skipped = len(rows_MD) - count
        if count:
            places = torch.arange(self._put + skipped, self._put + len(rows_MD), device=rows_MD.device)
            places = places.remainder(self.length)
            self._rows_QD.index_copy_(0, places, rows_MD[skipped:].to(self._rows_QD.dtype))
            self._ids_Q.index_copy_(0, places, ids_M[skipped:])
        self._put += len(rows_MD)

    def get_extra_state(self) -> dict[str, int]:
        return {"put": self._put}

    def set_extra_state(self, state: dict[str, int]) -> None:
        self._put = state["put"]
