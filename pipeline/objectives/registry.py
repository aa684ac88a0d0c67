"""The objectives by the names that `pretrain.objective` takes. A new one is one file and one line here."""

from pipeline.objectives.base import Objective
from pipeline.objectives.cl_infonce import ClInfoNCE

OBJECTIVES: dict[str, type[Objective]] = {
    "cl_infonce": ClInfoNCE,
}
