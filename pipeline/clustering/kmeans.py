"""Method `kmeans`: clusters of the images' looks, remade during pretraining from its own features.

The EM scheme of Tsai et al. (arXiv 2202.06670, section 3): embed all images, run k-means, train on the
clusters, and again. Before there is an encoder, the first clusters come from small, decorrelated pixels.
"""

from pipeline.clustering.base import Clusters, TrainImages
from pipeline.clustering.params import ClusterParams
from pipeline.errors import UserError
from pipeline.randomness import derived_seed


def cluster_by_kmeans(train: TrainImages, params: ClusterParams, seed: int) -> Clusters:
    if params.kmeans.clusters > len(train):
        raise UserError(
            f"cluster.kmeans.clusters={params.kmeans.clusters} is more than the {len(train)} train images: "
            "lower it"
        )
    # Imported here: torch takes seconds to load, and no other clustering needs it.
    from pipeline.clustering.pixels import pixel_features
    from pipeline.lloyd import fit_kmeans

    kmeans = params.kmeans
    count = min(kmeans.clusters, max(2, len(train) // kmeans.min_points))
    notes = []
    if count < kmeans.clusters:
        notes.append(
            f"{count} clusters instead of {kmeans.clusters}, to have {kmeans.min_points} images each"
        )
    fitted = fit_kmeans(
        pixel_features(train.images),
        count,
        iterations=kmeans.iterations,
        restarts=kmeans.restarts,
        seed=derived_seed(seed, "cluster", "kmeans"),
    )
    recluster = {"clusters": count, "iterations": kmeans.iterations, "restarts": kmeans.restarts}
    return Clusters(fitted.labels_N.numpy(), recluster=recluster, notes=notes)
