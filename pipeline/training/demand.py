"""The number of steps of a training and a lower bound on its memory, before anything is allocated.

Symptom: a training ends with `Killed`, or never ends. Cause: Linux overcommits memory, and kills a process
that uses more than there is; and one zero too many in a parameter means weeks of work. Cure: the network is
first built on torch's device `meta`, where tensors have sizes but no memory.
"""

import torch
from torch import Tensor

from pipeline.config.pretrain import PretrainParams
from pipeline.encoders.base import Encoder
from pipeline.runtime.device import compute_dtype
from pipeline.runtime.errors import UserError
from pipeline.training.network import Network

MOST_STEPS = 10**8
"""Maximum number of steps; at 100 per second they take twelve days."""
COPIES = 3
"""Tensors per trained weight: the weight, its gradient and its momentum."""
TRACED_VIEWS = 2
"""Smallest batch that batch norm accepts."""


def check_steps(params: PretrainParams, images: int) -> None:
    """Raises `UserError` if the training has more than `MOST_STEPS` steps."""
    steps = params.epochs * max(1, images // params.batch_size)
    if steps > MOST_STEPS:
        raise UserError(
            f"pretrain.epochs={params.epochs} on {images:,} images, with pretrain.batch_size="
            f"{params.batch_size}, would be {steps:,} steps, more than {MOST_STEPS:,}: lower the epochs or "
            "raise the batch size"
        )


def check_memory(
    params: PretrainParams,
    planned: Network,
    image_size: int,
    images_at_once: int,
    device: torch.device,
    free: int,
) -> None:
    """Raises `UserError` if the training does not fit into `free` bytes of the device's memory.

    `planned` is the network on the device `meta`; `images_at_once` images pass through it together, with two
    views each. On a GPU only the weights are checked: there the step itself finds out how many images fit.
    """
    of_weights = _bytes_of_weights(planned)
    if of_weights > free:
        weights = sum(weight.numel() for weight in planned.parameters())
        own = f" or the sizes in pretrain.{params.objective}" if hasattr(params, params.objective) else ""
        raise UserError(
            f"pretrain.objective={params.objective} above pretrain.encoder={params.encoder} has {weights:,} "
            f"weights, which take {_gib(of_weights)} in training, and {_gib(free)} of memory are free: lower "
            f"pretrain.projection_dim{own}"
        )
    if device.type != "cpu":
        return
    of_an_image = 2 * _bytes_of_a_view(planned.encoder, image_size, compute_dtype(params.precision, device))
    needed = of_weights + images_at_once * of_an_image
    if needed > free:
        fitting = (free - of_weights) // of_an_image
        cure = (
            f"set pretrain.micro_batch to {fitting} or less"
            if fitting
            else "choose a smaller ingest.image_size or pretrain.encoder"
        )
        raise UserError(
            f"a step of {images_at_once:,} images of {image_size} pixels through pretrain.encoder="
            f"{params.encoder} takes at least {_gib(needed)}, and {_gib(free)} of memory are free: {cure}"
        )


def _bytes_of_weights(network: Network) -> int:
    trained = sum(_size(weight) for weight in network.parameters() if weight.requires_grad)
    fixed = sum(_size(weight) for weight in network.parameters() if not weight.requires_grad)
    return COPIES * trained + fixed + sum(map(_size, network.buffers()))


def _bytes_of_a_view(encoder: Encoder, image_size: int, dtype: torch.dtype) -> int:
    """Returns the bytes of a view and of the activations that the encoder keeps for its gradient.

    All layers are assumed to compute in `dtype`.
    """
    views_NCSS = torch.empty(TRACED_VIEWS, 3, image_size, image_size, device="meta")
    counted = {
        tensor.untyped_storage()._cdata for tensor in (views_NCSS, *encoder.parameters(), *encoder.buffers())
    }
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in counted:
            kept[storage._cdata] = tensor  # kept alive, so that no other storage gets its id
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        encoder(views_NCSS)
    of_float32 = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    return (of_float32 * dtype.itemsize // torch.float32.itemsize + _size(views_NCSS)) // TRACED_VIEWS


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _gib(count: int) -> str:
    return f"{count / 2**30:,.1f} GiB"
