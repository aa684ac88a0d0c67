"""The linear probe compared with scikit-learn's logistic regression, by the same procedure.

uv run python -m benchmarks.probe
"""

from statistics import median
from typing import Any

import numpy as np
import torch
import typer
from sklearn.linear_model import LogisticRegression

from benchmarks.harness import JsonFlag, Outcome, in_turns, times_as_fast
from pipeline.config.evaluate import EvaluateParams
from pipeline.evaluation.lbfgs import STRENGTHS, fit_by_lbfgs
from pipeline.evaluation.linear_probe import held_out_parts

OURS, SCIKIT_LEARN = "clinfonce", "scikit-learn, LogisticRegression, warm starts"
HELD = 0.2


def measure(
    rows: int = 5000, dim: int = 512, classes: int = 20, rounds: int = 3, as_json: JsonFlag = False
) -> None:
    """Both try the same strengths on the same part of the rows, then fit all rows."""
    generator = torch.Generator().manual_seed(0)
    centers_CD = torch.randn(classes, dim, generator=generator)
    classes_N = torch.randint(0, classes, (rows,), generator=generator)
    features_ND = 0.15 * centers_CD[classes_N] + torch.randn(rows, dim, generator=generator)
    found: dict[str, Any] = {}

    def ours() -> None:
        params = EvaluateParams(selection_fraction=HELD)
        probe = fit_by_lbfgs(features_ND, classes_N, classes, params, 0)
        found[OURS] = probe.logits(features_ND).argmax(1).numpy()

    def theirs() -> None:
        standard = ((features_ND - features_ND.mean(0)) / features_ND.std(0, correction=0)).numpy()
        labels, held = classes_N.numpy(), next(held_out_parts(classes_N, HELD, 0)).numpy()

        def path(mask: np.ndarray, strengths: tuple[float, ...]) -> list[Any]:
            model = LogisticRegression(warm_start=True)
            scores = []
            for strength in strengths:
                # scikit-learn weighs the sum of the losses, ours their mean.
                model.set_params(C=1 / (strength * mask.sum()))
                model.fit(standard[mask], labels[mask])
                scores.append(model.score(standard[held], labels[held]))
            return [model, scores]

        scores = path(~held, STRENGTHS)[1]
        best = max(range(len(scores)), key=scores.__getitem__)
        found[SCIKIT_LEARN] = path(np.ones(rows, bool), STRENGTHS[max(best - 2, 0) : best + 1])[0].predict(
            standard
        )

    seconds = in_turns({OURS: ours, SCIKIT_LEARN: theirs}, rounds)
    outcome = Outcome("probe")
    agreeing = float((found[OURS] == found[SCIKIT_LEARN]).mean())
    outcome.tables[
        f"{rows:,} x {dim}, {classes} classes; both say the same of {agreeing:.1%} of the rows"
    ] = [
        {
            "what": what,
            "seconds": median(seconds[what]),
            "clinfonce is faster": f"{times_as_fast(seconds, OURS, what):.2f} x",
        }
        for what in (OURS, SCIKIT_LEARN)
    ]
    outcome.tell(as_json)


if __name__ == "__main__":
    typer.run(measure)
