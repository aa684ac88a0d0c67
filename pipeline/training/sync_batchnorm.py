"""Batch norm over the batch of all ranks, on any device; torch's own runs only on CUDA."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd import Function

from pipeline.runtime.distributed import Ranks


def synchronised(network: nn.Module, ranks: Ranks, device: torch.device) -> nn.Module:
    """Returns `network` with batch norms over the views of all ranks; the names of its weights stay."""
    if ranks.world_size == 1:
        return network
    if device.type == "cuda":
        # torch's own conversion would drop the activations that timm merges into batch norms.
        from timm.layers.norm_act import convert_sync_batchnorm

        converted: nn.Module = convert_sync_batchnorm(network)
        return converted
    for name, child in network.named_children():
        if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
            own = GlobalBatchNorm(child.num_features, child.eps, child.momentum, child.affine)
            own.follow(child)
            own.load_state_dict(child.state_dict())
            # The weights of a target network have no gradient, for which the ranks would wait.
            own.requires_grad_(child.weight.requires_grad)
            setattr(network, name, own.to(child.weight.device, child.weight.dtype))
        else:
            synchronised(child, ranks, device)
    return network


class GlobalBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm of (N, C, H, W) or (N, C) on each rank; N, H and W may differ between ranks."""

    def follow(self, norm: nn.Module) -> None:
        """Takes over what a norm of timm does to its results: drop blocks of them, and an activation."""
        for name in ("drop", "act"):
            if isinstance(step := getattr(norm, name, None), nn.Module):
                setattr(self, name, step)

    def _check_input_dim(self, _input: Tensor) -> None:
        """Accepts both shapes."""

    def forward(self, input: Tensor) -> Tensor:
        output = self._normalised(input)
        for name in ("drop", "act"):
            if name in self._modules:
                output = self.get_submodule(name)(output)
        return output

    def _normalised(self, input: Tensor) -> Tensor:
        if input.ndim == 2:
            return self._normalised(input[:, :, None, None]).flatten(1)
        if not self.training:
            return super().forward(input)
        count, mean_C, variance_C = _global_moments(input)
        normal: Tensor = _Normalize.apply(input, mean_C, variance_C, count, self.eps)
        with torch.no_grad():
            assert self.running_mean is not None
            assert self.running_var is not None
            assert self.momentum is not None
            unbiased_C = variance_C * (count / (count - 1))
            self.running_mean.lerp_(mean_C.to(self.running_mean.dtype), self.momentum)
            self.running_var.lerp_(unbiased_C.to(self.running_var.dtype), self.momentum)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
        return normal * self.weight[:, None, None] + self.bias[:, None, None]


def _global_moments(input_NCHW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns count (), mean (C,) and biased variance (C,) over all ranks.

    They are in float64, so that the sum over ranks adds no error.
    """
    values = input_NCHW.detach().double()
    sums_C, squares_C = values.sum(dim=(0, 2, 3)), values.square().sum(dim=(0, 2, 3))
    count = values.new_tensor([values.numel() / values.shape[1]])
    whole = torch.cat([sums_C, squares_C, count])
    dist.all_reduce(whole)
    sums_C, squares_C, count = whole.split([len(sums_C), len(squares_C), 1])
    mean_C = sums_C / count
    variance_C = (squares_C / count - mean_C.square()).clamp(min=0)
    return count[0], mean_C, variance_C


class _Normalize(Function):
    """Computes (x - mean) / sqrt(variance + eps); its gradient includes that through mean and variance."""

    @staticmethod
    def forward(
        context: Any, input_NCHW: Tensor, mean_C: Tensor, variance_C: Tensor, count: Tensor, eps: float
    ) -> Tensor:
        scale_C = (variance_C + eps).rsqrt()
        normal = ((input_NCHW - mean_C[:, None, None]) * scale_C[:, None, None]).to(input_NCHW.dtype)
        context.save_for_backward(normal, scale_C, count)
        return normal

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        (gradient,) = gradients
        normal, scale_C, count = context.saved_tensors
        wide = gradient.double()
        whole = torch.cat([wide.sum(dim=(0, 2, 3)), (wide * normal).sum(dim=(0, 2, 3))])
        dist.all_reduce(whole)
        mean_C, along_C = (part[:, None, None] / count for part in whole.chunk(2))
        result = (wide - mean_C - normal * along_C) * scale_C[:, None, None]
        return result.to(gradient.dtype), None, None, None, None
