"""Method `attributes`: images that agree in the most informative attributes share a cluster."""

from pipeline.clustering.base import Clusters, TrainImages, clusters_of_values
from pipeline.clustering.joint import joint_of_top
from pipeline.clustering.params import ClusterParams
from pipeline.errors import UserError, listed


def cluster_by_attributes(train: TrainImages, params: ClusterParams, _seed: int) -> Clusters:
    """Joins whole columns if `cluster.attributes.columns` names some, else the `top` values of all columns.

    A missing value is a value of its own among named columns; an image without any value stays alone.
    """
    if not train.attribute_names:
        raise UserError(
            "cluster.method=attributes: the data has no attribute column; name some in "
            "ingest.columns.attributes or choose another cluster.method"
        )
    names = params.attributes.columns or train.attribute_names
    columns = {name: train.attribute(name, "cluster.attributes.columns") for name in names}
    rows = list(zip(*columns.values(), strict=True))
    if params.attributes.columns:
        values = [row if any(cell is not None for cell in row) else None for row in rows]
        return Clusters(clusters_of_values(values), notes=[f"joined the columns {listed(names)}"])
    sets = [[f"{n}={cell}" for n, cell in zip(names, row, strict=True) if cell is not None] for row in rows]
    joint, ranking = joint_of_top(sets, params.attributes.top)
    if not ranking:
        raise UserError(
            "cluster.method=attributes: no attribute differs between the images; name other columns in "
            "ingest.columns.attributes or choose another cluster.method"
        )
    return Clusters(clusters_of_values(joint), notes=[f"joined {listed(ranking)}"])
