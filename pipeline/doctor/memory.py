"""Checks that host memory is enough for a run, before anything is decoded."""

import torch

from pipeline.dataset.dataset import ImageDataset, SplitShape
from pipeline.doctor.base import Check, Situation, fail, ok, size, warn
from pipeline.runtime.device import pick_device
from pipeline.runtime.errors import UserError
from pipeline.runtime.resources import available_memory, total_memory
from pipeline.training.loaders.select import LOADER_VARIABLE, loader_kind

LEAST_BYTES = 2 * 10**9
"""Approximate memory of a training beside its pixels: torch itself, weights, and a batch's activations."""


def look(situation: Situation) -> list[Check]:
    free = available_memory()
    return [_free(free), *_pixels(situation, free)]


def _free(free: int) -> Check:
    found = f"{size(free)} can be taken, of {size(total_memory())} that the machine has"
    if free < LEAST_BYTES:
        cure = f"end other programs, or give the container more: a training takes about {size(LEAST_BYTES)}."
        return warn("host memory", found, cure)
    return ok("host memory", found)


def _pixels(situation: Situation, free: int) -> list[Check]:
    if not situation.ingested:
        if situation.params is None:
            return []
        side = situation.params.ingest.image_size
        return [
            ok("pixels", f"no images yet; {size(1000 * 3 * side**2)} for 1,000 of {side} x {side} pixels")
        ]
    dataset = ImageDataset(situation.layout.images)
    train, test = dataset.train.shape, dataset.test.shape
    return [_loader(train, free), _evaluation(max(train, test, key=_bytes), free)]


def _loader(train: SplitShape, free: int) -> Check:
    what = "train pixels"
    found = f"{size(_bytes(train))} decoded, {len(train.ids):,} images on a canvas of "
    found += f"{train.height} x {train.width}"
    try:
        device = pick_device()
        kind = loader_kind(_bytes(train), device)
    except UserError as error:
        return fail(what, f"{found}; {error}", "change that variable, or unset it.")
    descriptions = {
        "resident": f"resident on the {'GPU' if device.type == 'cuda' else 'CPU'}",
        "sharded": "shared out among the processes",
        "host": "in host memory",
        "streamed": "streamed, as half of the free memory does not hold them",
    }[kind]
    if kind in ("resident", "host") and _bytes(train) > _room(kind, device, free):
        cure = f"unset {LOADER_VARIABLE}: it asks for more memory than is free."
        return fail(what, f"{found}; {descriptions}", cure)
    if kind == "streamed":
        cure = "give it more memory, or lower ingest.image_size: every epoch decodes all images anew."
        return warn(what, f"{found}; {descriptions}", cure)
    return ok(what, f"{found}; {descriptions}")


def _room(kind: str, device: torch.device, free: int) -> int:
    on_gpu = kind == "resident" and device.type == "cuda"
    return min(free, int(torch.cuda.mem_get_info(device)[0])) if on_gpu else free


def _evaluation(larger: SplitShape, free: int) -> Check:
    """Checks the memory of an evaluation, which decodes one whole split at a time with every loader."""
    found = f"{size(_bytes(larger))} of pixels at a time"
    if _bytes(larger) > free:
        cure = "evaluate on a machine with more memory, or lower ingest.image_size."
        return fail("evaluation", found, cure)
    return ok("evaluation", found)


def _bytes(outline: SplitShape) -> int:
    return len(outline.ids) * outline.image_bytes
