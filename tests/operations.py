"""Which operations of torch a piece of code calls."""

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

WAITS = {"_local_scalar_dense", "equal", "is_nonzero", "nonzero"}
"""On a GPU each of them, and so `item()`, makes the host wait for all that the device has still to do."""
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}


class Operations(TorchDispatchMode):
    """Notes the names of all operations, and the elements of the largest tensor that one made."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch has no annotation here
        self.names: set[str] = set()
        self.largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.names.add(func.overloadpacket.__name__)
        if func.overloadpacket.__name__ in INDEXING and any(map(_is_mask, args[1])):
            self.names.add("nonzero")  # which the operation calls where no Python looks
        for element in result if isinstance(result, tuple | list) else [result]:
            if isinstance(element, Tensor):
                self.largest = max(self.largest, element.numel())
        return result


def _is_mask(index: Tensor | None) -> bool:
    return index is not None and index.dtype in (torch.bool, torch.uint8)
