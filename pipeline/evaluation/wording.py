"""How accuracies are worded: the same in the terminal, the report, the comparison and the model card."""

from pipeline.schema import Baselines, EvaluationMetrics, FewerLabels

NOTICEABLE = 0.05
"""A share of labels that differs from the one in params.yaml by more than this share of it is told apart."""


NUMBERS = {"lbfgs": "regularisation", "sgd": "learning rate"}
"""What each protocol chooses."""


def chosen_on(protocol: str, rows: int) -> str:
    """On how many `rows` of train; a phrase, such as stands in brackets."""
    number = NUMBERS.get(protocol, "number")
    if not rows:
        return f"{number} chosen on no train image, as no class has two"
    return f"{number} chosen on {rows:,} train images that were not fitted"


def accuracies_in_words(metrics: EvaluationMetrics) -> str:
    """What the stage says of an arm."""
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
    """Without a capital and a full stop."""
    words = (
        f"chance level {_percent(given['chance_top1'])} (guessing evenly among the labels), "
        f"majority share {_percent(given['majority_top1'])} (always naming the most frequent one)"
        f"{_reachable(given)}"
    )
    return words if given["reachable_top1"] >= 1 else f"{words}: {UNREACHABLE}"


def _reachable(given: Baselines) -> str:
    reachable = given["reachable_top1"]
    return "" if reachable >= 1 else f", at most {_percent(reachable)} can be reached"


UNREACHABLE = "the other test images have labels that no train image has"


def labels_in_words(fraction: str, few: FewerLabels, train_images: int) -> str:
    """How many of the train labels were used where `evaluate.label_fractions` has `fraction`."""
    share = few["train_images"] / train_images
    used = f"{few['train_images']:,} of {train_images:,} train labels"
    if abs(share - float(fraction)) <= NOTICEABLE * float(fraction):
        return f"{100 * float(fraction):g} %: {used}"
    asked = f"{100 * float(fraction):g} %"
    return f"{100 * share:.2g} %: {used}, not {asked}, as each class gives whole images, at least one"


def _percent(share: float | None) -> str:
    return f"{100 * (share or 0):.1f} %"
