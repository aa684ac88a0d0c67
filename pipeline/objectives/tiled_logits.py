"""The logits of all pairs of views, computed in tiles and never held as a whole.

Shape letters: N views of all ranks, R of them in a part; D dimensions.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

TILE_SIDE = {"cpu": 512, "cuda": 4096}
"""Number of logits per row and column that are computed at one time: as many as fit a CPU's cache, or fill a
GPU.

`across` and `pair` compute this many whole rows.
"""


class TiledLogits:
    """The products of all views, computed one tile at a time.

    There is a layer with all other views and, if `with_positives`, one with positives only. What does not
    belong to a layer is -inf.
    """

    def __init__(self, all_ND: Tensor, clusters_N: Tensor, own: slice, *, with_positives: bool) -> None:
        self.all_ND, self.clusters_N, self.with_positives = all_ND, clusters_N, with_positives
        self.tiles = _tiles(len(all_ND), own, TILE_SIDE[all_ND.device.type])

    def log_sums(self) -> list[Tensor]:
        """Returns log sum_j exp s_ij of each layer, (N,); correct for the rows i in `own`."""
        layers = 2 if self.with_positives else 1
        log_sums = [self.all_ND.new_full((len(self.all_ND),), -torch.inf) for _ in range(layers)]
        for tile in self.tiles:
            for log_sum_N, logits in zip(log_sums, self._layers(tile), strict=True):
                if tile.to_rows:
                    _add_exponentials(log_sum_N[tile.rows], logits, dim=1)
                if tile.to_columns:
                    _add_exponentials(log_sum_N[tile.columns], logits, dim=0)
        return log_sums

    def weighted_sums(self, log_sums: list[Tensor], vectors_ND: Tensor) -> tuple[Tensor, Tensor]:
        """Returns sum_j w_ij v_j, (N, D), and sum_j w_ij, (N,); correct for the rows i in `own`.

        w_ij is the derivative of the sum of all anchors' `log_sums`, the first layer's minus the second's, by
        the product of i and j: the softmax of row i at j plus that of row j at i.
        """
        pull_ND, weight_N = torch.zeros_like(vectors_ND), torch.zeros_like(vectors_ND[:, 0])
        for tile in self.tiles:
            weights, *taken_away = (
                (logits - log_sum_N[tile.rows, None]).exp_().add_((logits - log_sum_N[tile.columns]).exp_())
                for log_sum_N, logits in zip(log_sums, self._layers(tile), strict=True)
            )
            for less in taken_away:
                weights.sub_(less)
            if tile.to_rows:
                pull_ND[tile.rows].addmm_(weights, vectors_ND[tile.columns])
                weight_N[tile.rows] += weights.sum(dim=1)
            if tile.to_columns:
                pull_ND[tile.columns].addmm_(weights.T, vectors_ND[tile.rows])
                weight_N[tile.columns] += weights.sum(dim=0)
        return pull_ND, weight_N

    def _layers(self, tile: "_Tile") -> list[Tensor]:
        logits = self.all_ND[tile.rows] @ self.all_ND[tile.columns].T
        if tile.rows == tile.columns:
            logits.fill_diagonal_(-torch.inf)
        if not self.with_positives:
            return [logits]
        negatives = self.clusters_N[tile.rows, None] != self.clusters_N[tile.columns]
        return [logits, logits.masked_fill(negatives, -torch.inf)]


@dataclass(frozen=True)
class _Tile:
    """A tile of the logits, and whether this rank needs it for its rows, its columns or both."""

    rows: slice
    columns: slice
    to_rows: bool
    to_columns: bool


def _tiles(count: int, own: slice, side: int) -> list[_Tile]:
    """Returns the tiles of `count` x `count` logits of which a row or a column is in `own`.

    Of two tiles that mirror each other, only the one above the diagonal is returned, for both.
    """
    bounds = [(0, own.start), (own.start, own.stop), (own.stop, count)]
    parts = [part for first, stop in bounds for part in row_parts(first, stop, side)]
    tiles = []
    for number, rows in enumerate(parts):
        for columns in parts[number:]:
            to_rows = own.start <= rows.start < own.stop
            to_columns = own.start <= columns.start < own.stop and rows != columns
            if to_rows or to_columns:
                tiles.append(_Tile(rows, columns, to_rows, to_columns))
    return tiles


def row_parts(first: int, stop: int, side: int) -> list[slice]:
    """Cuts the rows from `first` to `stop` into parts of at most `side`."""
    return [slice(start, min(start + side, stop)) for start in range(first, stop, side)]


def _add_exponentials(log_sum_R: Tensor, logits: Tensor, dim: int) -> None:
    """Sets log_sum_R to log(exp log_sum_R + the sum of exp logits along `dim`)."""
    torch.logaddexp(log_sum_R, logits.logsumexp(dim=dim), out=log_sum_R)
