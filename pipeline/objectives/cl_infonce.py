"""Cl-InfoNCE: contrastive learning with clusters as positives (Tsai et al., arXiv 2106.02869, 2202.06670)."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Form = Literal["out", "in"]


def cl_infonce_loss(
    embeddings_ND: Tensor, clusters_N: Tensor, temperature: float, form: Form = "out"
) -> Tensor:
    """The mean over anchors of -log of how well an anchor finds its cluster among all other views.

    embeddings_ND: any float type, normalised here; N counts views, so two views of a batch of B give 2B.
    clusters_N: integer cluster ids. Returns a scalar in nats.

    Each view is an anchor. Its positives are all other views of its cluster, its own image's second view
    included; its denominator runs over all other views. With s = cosine / temperature:

    * `out` (SupCon's L_out, Khosla et al. 2020, equation 2; the form of the published Cl-InfoNCE):
      the mean over positives p of -log(exp s_p / sum_a exp s_a);
    * `in` (L_in, equation 3): -log(mean_p exp s_p / sum_a exp s_a).

    Anchors without a positive have no loss and do not count; if there is no other, the loss is 0.
    Unique ids for each image give InfoNCE (NT-Xent); labels as ids give SupCon.
    """
    # Autocast would compute the products in bfloat16, too coarse for logits of 1 / temperature.
    with torch.autocast(embeddings_ND.device.type, enabled=False):
        at_least_float = torch.promote_types(embeddings_ND.dtype, torch.float32)
        z_ND = functional.normalize(embeddings_ND.to(at_least_float), dim=1)
        itself_NN = torch.eye(len(z_ND), dtype=torch.bool, device=z_ND.device)
        # A finite floor instead of -inf keeps the gradient of rows with nothing to sum at zero, not NaN.
        floor = torch.finfo(z_ND.dtype).min
        logits_NN = (z_ND @ z_ND.T / temperature).masked_fill(itself_NN, floor)
        positive_NN = (clusters_N[:, None] == clusters_N[None, :]) & ~itself_NN
        positives_N = positive_NN.sum(dim=1)
        divisor_N = positives_N.clamp(min=1).to(z_ND.dtype)
        log_all_N = logits_NN.logsumexp(dim=1)
        if form == "out":
            sum_N = torch.where(positive_NN, logits_NN, 0.0).sum(dim=1)
            log_positive_N = sum_N / divisor_N
        else:
            log_sum_N = logits_NN.masked_fill(~positive_NN, floor).logsumexp(dim=1)
            log_positive_N = log_sum_N - divisor_N.log()
        counted_N = positives_N > 0
        losses_N = torch.where(counted_N, log_all_N - log_positive_N, 0.0)
        return losses_N.sum() / counted_N.sum().clamp(min=1)


class ClInfoNCE(nn.Module):
    """Projection head and loss: Linear d -> d, ReLU, Linear d -> `projection_dim`, as published."""

    def __init__(self, feature_dim: int, projection_dim: int, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        self.head = nn.Sequential(
            nn.Linear(feature_dim, feature_dim), nn.ReLU(inplace=True), nn.Linear(feature_dim, projection_dim)
        )

    def embed(self, features_ND: Tensor) -> Tensor:
        """The normalised head output, (N, projection_dim) float32: the space in which clusters are remade."""
        return functional.normalize(self.head(features_ND).float(), dim=1)

    def forward(self, features_ND: Tensor, clusters_N: Tensor) -> Tensor:
        """features_ND: encoder features of all views; clusters_N: the cluster of each view's image."""
        return cl_infonce_loss(self.head(features_ND), clusters_N, self.temperature)
