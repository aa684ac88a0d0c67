"""Method `column`: an attribute column taken as it is."""

from collections.abc import Iterator

from pipeline.clustering.base import Choice, Clusters, TrainImages, clusters_of_values, with_section
from pipeline.clustering.label_columns import label_columns
from pipeline.clustering.params import ClusterParams
from pipeline.errors import UserError


def cluster_by_column(train: TrainImages, params: ClusterParams, _seed: int) -> Clusters:
    """Each value of `cluster.column.name` is a cluster; an image without a value is unknown."""
    assert params.column.name is not None, "the parameters' own check asks for a name"
    cells = train.attribute(params.column.name, "cluster.column.name")
    if not any(cell is not None for cell in cells):
        raise UserError(f"cluster.column.name={params.column.name}: the column is empty; name another")
    name = params.column.name
    return Clusters(
        clusters_of_values(cells),
        label_columns=label_columns({name: cells}, train),
        made_of={"columns": [name]},
    )


def column_choices(train: TrainImages, params: ClusterParams) -> Iterator[Choice]:
    """Every column that has a value."""
    for name in train.attribute_names:
        if any(cell is not None for cell in train.attribute(name, "cluster.column.name")):
            yield Choice(name, with_section(params, "column", name=name))
