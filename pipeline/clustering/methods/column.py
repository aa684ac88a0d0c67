"""Method `column`: the values of one attribute column are the clusters."""

from collections import Counter
from collections.abc import Iterator

from pipeline.clustering.base import Choice, Clusters
from pipeline.config.cluster import ColumnParams
from pipeline.dataset.dataset import ImageSplit
from pipeline.dataset.label_columns import label_columns
from pipeline.dataset.noise import noise_notes
from pipeline.runtime.errors import UserError
from pipeline.statistics.values import codes_of_values


def cluster_by_column(train: ImageSplit, params: ColumnParams, _seed: int) -> Clusters:
    """Makes each value of `cluster.column.name` a cluster; an image without a value is unknown."""
    assert params.name is not None, "check_chosen requires a name"
    cells = train.attribute(params.name, "cluster.column.name")
    if not any(cell is not None for cell in cells):
        raise UserError(f"cluster.column.name={params.name}: the column is empty; name another")
    name = params.name
    return Clusters(
        codes_of_values(cells),
        label_columns=label_columns({name: cells}, train),
        made_of={"columns": [name]},
        notes=noise_notes([(name, Counter(cell for cell in cells if cell is not None))]),
    )


def column_choices(train: ImageSplit, params: ColumnParams) -> Iterator[Choice[ColumnParams]]:
    """Yields every column that has a value."""
    for name in train.attribute_names:
        if any(cell is not None for cell in train.attribute(name, "cluster.column.name")):
            yield Choice(name, params.model_copy(update={"name": name}), name=name)
