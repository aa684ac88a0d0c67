"""Method `kmeans`: clusters by visual similarity, recomputed during pretraining from its features.

The EM scheme of Tsai et al. (arXiv 2202.06670, section 3): embed all images, run k-means, train on the
clusters, repeat. The initial clusters come from small, decorrelated thumbnails. Clusters of given vectors are
information of their own, and are kept.
"""

from pipeline.clustering.base import Clusters
from pipeline.config.cluster import KMeansParams
from pipeline.dataset.dataset import ImageSplit
from pipeline.dataset.given_vectors import given_vectors
from pipeline.runtime.seeding import derived_seed


def cluster_by_kmeans(train: ImageSplit, params: KMeansParams, seed: int) -> Clusters:
    # Imported here: torch takes seconds to load, and no other clustering needs it.
    import torch

    from pipeline.clustering.methods.pixel_features import pixel_features
    from pipeline.kmeans import fit_kmeans

    named = params.vectors
    given_ND = None if named is None else given_vectors(named, train, "cluster.kmeans.vectors")
    count = min(params.clusters, max(2, len(train) // params.min_points))
    notes = []
    if count < params.clusters:
        notes.append(
            f"{count} clusters instead of {params.clusters}: {len(train)} train images and "
            f"cluster.kmeans.min_points={params.min_points} allow no more"
        )
    fitted = fit_kmeans(
        pixel_features(train) if given_ND is None else torch.from_numpy(given_ND),
        count,
        max_iter=params.max_iter,
        n_init=params.n_init,
        seed=derived_seed(seed, "cluster", "kmeans"),
    )
    if given_ND is not None:
        notes.append(f"clusters of the given vectors of {given_ND.shape[1]:,} numbers, which training keeps")
        return Clusters(fitted.labels_N.numpy(), notes=notes)
    recluster = {"clusters": count, "max_iter": params.max_iter, "n_init": params.n_init}
    return Clusters(fitted.labels_N.numpy(), recluster=recluster, notes=notes)
