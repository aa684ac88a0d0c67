"""Sentences about accuracies for the terminal, the report, the comparison and the model card."""

from pipeline.storage.schema import Baselines, EvaluationMetrics, FewerLabels

NOTICEABLE = 0.05
"""Relative difference from params.yaml above which the used share of labels is reported."""
NUMBERS = {"lbfgs": "regularisation", "sgd": "learning rate"}
"""Hyperparameter that each protocol chooses."""
UNREACHABLE = "the other test images have labels that no train image has"


def chosen_on(protocol: str, rows: int) -> str:
    """States on how many `rows` of train the hyperparameter was chosen, as a phrase for brackets."""
    chosen = NUMBERS.get(protocol, "hyperparameter")
    if not rows:
        return f"{chosen} chosen on no train image, as no class has two"
    return f"{chosen} chosen on {rows:,} train images that were not fitted"


def accuracies_in_words(metrics: EvaluationMetrics) -> str:
    """States the accuracies of an arm, or why there are none, as printed by the stage."""
    if metrics["top1"] is None:
        return str(metrics["reason"])
    choice = chosen_on(metrics["protocol"], metrics["selection_rows"] or 0)
    words = f"linear top-1 {_percent(metrics['top1'])} ({choice}), k-NN {_percent(metrics['knn_top1'])}"
    given = metrics["baselines"]
    if given is None:
        return words
    words += (
        f" (chance level {_percent(given['chance_top1'])}, majority share {_percent(given['majority_top1'])}"
    )
    return f"{words}{_reachable(given)})"


def baselines_in_words(given: Baselines) -> str:
    """States the baselines, without capital and full stop."""
    words = (
        f"chance level {_percent(given['chance_top1'])} (guessing evenly among the labels), "
        f"majority share {_percent(given['majority_top1'])} (always naming the most frequent one)"
        f"{_reachable(given)}"
    )
    return words if given["reachable_top1"] >= 1 else f"{words}: {UNREACHABLE}"


def _reachable(given: Baselines) -> str:
    reachable = given["reachable_top1"]
    return "" if reachable >= 1 else f", at most {_percent(reachable)} can be reached"


def labels_in_words(fraction: str, few: FewerLabels, train_images: int) -> str:
    """States the number of train labels used for a `fraction` of `evaluate.label_fractions`."""
    share = few["train_images"] / train_images
    used = f"{few['train_images']:,} of {train_images:,} train labels"
    requested = f"{100 * float(fraction):g} %"
    if abs(share - float(fraction)) <= NOTICEABLE * float(fraction):
        return f"{requested}: {used}"
    return f"{100 * share:.2g} %: {used}, not {requested}, as each class gives whole images, at least one"


def _percent(share: float | None) -> str:
    return f"{100 * (share or 0):.1f} %"
