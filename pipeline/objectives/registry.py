"""The objectives by the names that `pretrain.objective` takes. A new one is one file and one line here."""

from collections.abc import Callable

from pipeline.objectives.cl_infonce import ClInfoNCE

OBJECTIVES: dict[str, Callable[[int, int, float], ClInfoNCE]] = {"cl_infonce": ClInfoNCE}
