"""Experiments, as `dvc.api.exp_show` gives them."""

from typing import Any


def row(
    name: str | None,
    rev: str,
    method: str = "attributes",
    top1: float | None = 0.5,
    state: str | None = "Success",
    **more: Any,
) -> dict[str, Any]:
    """The shape DVC 3.67 gives: integers as floats, lists as text, a null metric as the text "None"."""
    return {
        "Experiment": name,
        "rev": rev,
        "typ": "baseline" if name is None else "branch_commit",
        "Created": "08:41 AM",
        "parent": None,
        "State": state,
        "Executor": "Dvc-task" if state else None,
        "chosen.method": method,
        "chosen.clusters": 10.0,
        "chosen.mutual_information_bits": 1.5,
        "chosen.conditional_entropy_bits": 0.5,
        "chosen.top1": "None" if top1 is None else top1,
        "chosen.top5": 0.9,
        "chosen.knn_top1": 0.4,
        "instance.method": "instance",
        "instance.top1": 0.4,
        "label.top1": 0.8,
        "gap_closed": "None" if top1 is None else (top1 - 0.4) / 0.4,
        "seed": 0.0,
        "cluster.method": method,
        "cluster.attributes.top": 6.0,
        "cluster.attributes.columns": "[]",
        "cluster.kmeans.clusters": 100.0,
        "pretrain.learning_rate": 0.1,
        "report.references": "['instance', 'label']",
        "pipeline/storage/files.py": "a6749f3dd49894ca84d653e972ef65ad",
        "data/clusters/chosen": "87a9888af9cc2b12779cb8605feee7a2.dir",
    } | more
