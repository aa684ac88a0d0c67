"""k-nearest-neighbour classification, without fitted parameters."""

import torch
from torch import Tensor

from pipeline.runtime.magnitude import unit_rows

TEMPERATURE = 0.07
QUERIES_AT_ONCE = 1024


def knn_predict(
    train_ND: Tensor, classes_N: Tensor, queries_MD: Tensor, class_count: int, neighbours: int
) -> Tensor:
    """Returns the class of each query by a vote of its nearest train images, (M,) int64.

    Similarity is the cosine; a neighbour votes with exp(cosine / 0.07) (Wu et al., CVPR 2018).
    """
    train_ND = unit_rows(train_ND)
    queries_MD = unit_rows(queries_MD)
    neighbours = min(neighbours, len(train_ND))
    votes = []
    for chunk_QD in queries_MD.split(QUERIES_AT_ONCE):
        cosine_QK, nearest_QK = (chunk_QD @ train_ND.T).topk(neighbours, dim=1)
        weights_QK = torch.exp((cosine_QK - 1) / TEMPERATURE)
        scores_QC = torch.zeros(len(chunk_QD), class_count, device=chunk_QD.device)
        votes.append(scores_QC.scatter_add_(1, classes_N[nearest_QK], weights_QK).argmax(dim=1))
    return torch.cat(votes)
