"""The objectives, by their names in `pretrain.objective`. A new one is one file and one line here."""

from pipeline.objectives.attribute_prediction import AttributePrediction
from pipeline.objectives.base import Objective
from pipeline.objectives.byol import BYOL
from pipeline.objectives.cl_infonce import ClInfoNCE
from pipeline.objectives.cmc import CMC
from pipeline.objectives.cross_entropy import CrossEntropy
from pipeline.objectives.dual_head import DualHead
from pipeline.objectives.iccl import ICCL
from pipeline.objectives.moco import MoCo
from pipeline.objectives.multi_head import MultiHead
from pipeline.objectives.pcl import PCL
from pipeline.objectives.simsiam import SimSiam
from pipeline.objectives.soft import Soft
from pipeline.objectives.swav import SwAV

OBJECTIVES: dict[str, type[Objective]] = {
    "cl_infonce": ClInfoNCE,
    "dual_head": DualHead,
    "cross_entropy": CrossEntropy,
    "attribute_prediction": AttributePrediction,
    "cmc": CMC,
    "multi_head": MultiHead,
    "soft": Soft,
    "moco": MoCo,
    "pcl": PCL,
    "swav": SwAV,
    "byol": BYOL,
    "simsiam": SimSiam,
    "iccl": ICCL,
}
