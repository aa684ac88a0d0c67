"""Which operations of torch a piece of code calls."""

from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class Operations(TorchDispatchMode):
    """Notes the names of all operations, and the elements of the largest tensor that one made."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.names.add(func.overloadpacket.__name__)
        for made in result if isinstance(result, tuple | list) else [result]:
            if isinstance(made, Tensor):
                self.largest = max(self.largest, made.numel())
        return result
