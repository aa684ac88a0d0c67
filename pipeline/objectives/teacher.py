"""A further term beside any objective: features that also predict given vectors of their images."""

import torch
from torch import Tensor, nn

from pipeline.objectives.base import Batch, Embed, Loss, StepInfo, mean_over_ranks, normalised
from pipeline.runtime.distributed import Ranks


class WithTeacher(Loss):
    """Adds `weight` times the mean over views of 1 - cosine of a linear prediction and the image's vector.

    The vectors are those of a larger model, whose knowledge of the images thereby stays in the features.
    """

    teacher_NT: Tensor

    def __init__(self, objective: Loss, feature_dim: int, teacher_NT: Tensor, weight: float) -> None:
        """`teacher_NT`: the vectors of all N train images, of length 1."""
        super().__init__()
        self.objective, self.weight = objective, weight
        self.prediction = nn.Linear(feature_dim, teacher_NT.shape[1])
        # Read again by each process, so that checkpoints stay small.
        self.register_buffer("teacher_NT", teacher_NT, persistent=False)

    @property
    def projector(self) -> nn.Module:  # type: ignore[override]
        return self.objective.projector

    def project(self, features_NF: Tensor, attributes_NA: Tensor | None = None) -> Tensor:
        """Returns the objective's outputs and the predictions, (N, D + T)."""
        outputs_ND = self.objective.project(features_NF, attributes_NA)
        return torch.cat([outputs_ND, self.prediction(features_NF)], dim=1)

    def embeddings_of(self, outputs_ND: Tensor) -> Tensor:
        return self.objective.embeddings_of(self._split(outputs_ND)[0])

    def loss(self, outputs_ND: Tensor, targets_NT: Tensor | None, batch: Batch, ranks: Ranks) -> Tensor:
        own_ND, predicted_NT = self._split(outputs_ND)
        with torch.autocast(outputs_ND.device.type, enabled=False):
            cosines_N = (normalised(predicted_NT) * self.teacher_NT[batch.images_N]).sum(dim=1)
            to_teacher = mean_over_ranks(1 - cosines_N, ranks)
        return self.objective.loss(own_ND, targets_NT, batch, ranks) + self.weight * to_teacher

    def target_momentum(self, step_info: StepInfo) -> float | None:
        return self.objective.target_momentum(step_info)

    def begin_epoch(self, epoch: int, embed: Embed, ranks: Ranks, seed: int) -> None:
        self.objective.begin_epoch(epoch, embed, ranks, seed)

    def begin_step(self, step_info: StepInfo) -> None:
        self.objective.begin_step(step_info)

    def end_step(self, targets_NT: Tensor | None, batch: Batch, ranks: Ranks) -> None:
        self.objective.end_step(targets_NT, batch, ranks)

    def _split(self, outputs_ND: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the objective's outputs, and the predictions."""
        own, predicted = outputs_ND.split(
            [outputs_ND.shape[1] - self.teacher_NT.shape[1], self.teacher_NT.shape[1]], 1
        )
        return own, predicted
