"""Method `hashtags`: images that agree in the most informative hashtags share a cluster."""

import unicodedata

from pipeline.clustering.base import Clusters, TrainImages, clusters_of_values
from pipeline.clustering.joint import joint_of_top
from pipeline.clustering.params import ClusterParams
from pipeline.errors import UserError, listed


def cluster_by_hashtags(train: TrainImages, params: ClusterParams, _seed: int) -> Clusters:
    """Joins the `cluster.hashtags.top` tags of highest entropy; an image without a tag stays alone."""
    tags = [normalized_hashtags(of_image) for of_image in train.hashtags]
    if not any(tags):
        raise UserError(
            "cluster.method=hashtags: no train image has a hashtag; name their column in "
            "ingest.columns.hashtags or choose another cluster.method"
        )
    joint, ranking = joint_of_top(tags, params.hashtags.top)
    notes = [f"joined {listed([f'#{tag}' for tag in ranking])}"]
    return Clusters(clusters_of_values(joint), from_hashtags=True, notes=notes)


def normalized_hashtags(tags: list[str]) -> list[str]:
    """Tags as people mean them: Unicode NFKC, case folded, without `#`, each once, in their order."""
    folded = (unicodedata.normalize("NFKC", tag).casefold().strip().lstrip("#").strip() for tag in tags)
    return list(dict.fromkeys(tag for tag in folded if tag))
