"""Import of torch from the root of the file system, so that it loads no code from the current folder.

Symptom: a file `libcuda.so.1` in the current folder, for example from an untrusted data set or branch, was
run by all commands that import torch. Cause: NVIDIA's libcusparseLt, which is part of torch's CUDA builds,
has a search path with an empty entry (`$ORIGIN:`). The dynamic loader reads it as the current folder, and
looks there before the system's libraries. Cure: while torch loads its libraries, the current folder is one
that only root can write to. This is needed until `readelf -d` shows no empty entry of libcusparseLt.
"""

import contextlib
import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType


def guard_torch() -> None:
    """Guards the first import of torch in this process, whichever module it comes from."""
    if "torch" not in sys.modules and not any(isinstance(finder, _Guard) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Guard())


class _Guard:
    # Not derived from importlib.abc.MetaPathFinder, whose module every process would take time to load.
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "torch":
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def load_from_root(module: ModuleType) -> None:
            with contextlib.chdir(os.sep):
                load(module)

        spec.loader.exec_module = load_from_root  # type: ignore[method-assign]
        return spec
