"""Entropies and derived measures as reported in the papers: plug-in estimates from counts."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pipeline.statistics.contingency import Contingency
from pipeline.statistics.entropy import entropy_bits
from pipeline.statistics.expected_information import expected_mutual_information_bits

_ROUNDING = 1e-12
"""Bits below which a difference of entropies is due to rounding."""


@dataclass(frozen=True)
class Information:
    """Information between clusters Z and labels T, in bits, over the rows of one table.

    I is computed from entropies: H(Z|T) = H(Z,T) - H(T) and I = H(Z) - H(Z|T), the plug-in estimates of the
    papers.
    """

    table: Contingency

    @cached_property
    def cluster_entropy_bits(self) -> float:
        return entropy_bits(self.table.cluster_sizes_K)

    @cached_property
    def label_entropy_bits(self) -> float:
        return entropy_bits(self.table.label_sizes_L)

    @cached_property
    def joint_entropy_bits(self) -> float:
        return entropy_bits(self.table.counts_C)

    @property
    def mutual_information_bits(self) -> float:
        return max(0.0, self.cluster_entropy_bits + self.label_entropy_bits - self.joint_entropy_bits)

    @property
    def conditional_entropy_bits(self) -> float:
        """H(Z|T)."""
        return max(0.0, self.joint_entropy_bits - self.label_entropy_bits)

    @property
    def label_conditional_entropy_bits(self) -> float:
        """H(T|Z)."""
        return max(0.0, self.joint_entropy_bits - self.cluster_entropy_bits)

    @cached_property
    def expected_mutual_information_bits(self) -> float:
        return expected_mutual_information_bits(self.table)

    @property
    def normalized_mutual_information(self) -> float:
        """I divided by the mean of both entropies, as scikit-learn's default, including its limits."""
        if self.clusters_equal_labels:
            return 1.0
        mean_entropy = (self.cluster_entropy_bits + self.label_entropy_bits) / 2
        return self.mutual_information_bits / mean_entropy

    @property
    def adjusted_mutual_information(self) -> float:
        """(I - E[I]) / (mean entropy - E[I]): 0 at chance, 1 for equal partitions.

        Vinh, Epps and Bailey 2010, with the arithmetic mean, which is scikit-learn's default.
        """
        if self.clusters_equal_labels:
            return 1.0
        mean_entropy = (self.cluster_entropy_bits + self.label_entropy_bits) / 2
        above_chance = self.mutual_information_bits - self.expected_mutual_information_bits
        if abs(above_chance) < _ROUNDING:
            return 0.0
        return above_chance / (mean_entropy - self.expected_mutual_information_bits)

    @property
    def clusters_equal_labels(self) -> bool:
        """Whether both are the same partition of the rows, up to names."""
        clusters = np.count_nonzero(self.table.cluster_sizes_K)
        return bool(clusters == np.count_nonzero(self.table.label_sizes_L) == self.table.counts_C.size)

    @property
    def purity(self) -> float:
        """Share of rows that carry the most frequent label of their cluster; 1 for no rows."""
        if self.table.rows == 0:
            return 1.0
        largest_K = np.zeros(self.table.cluster_sizes_K.size, np.int64)
        np.maximum.at(largest_K, self.table.clusters_C, self.table.counts_C)
        return int(largest_K.sum()) / self.table.rows
