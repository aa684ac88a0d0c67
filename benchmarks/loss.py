"""The loss compared with its textbook form, with all logits at once, and with lightly's NT-Xent.

uv run --group bench python -m benchmarks.loss --picture loss.svg
"""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import matplotlib
import torch
import typer
from lightly.loss import NTXentLoss
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional

from benchmarks.harness import Goal, JsonFlag, Outcome, in_turns, times_as_fast
from pipeline.objectives.cl_infonce import Form, cl_infonce_loss

TEMPERATURE = 0.1
OURS, TEXTBOOK, LIGHTLY = "clinfonce", "textbook", "lightly"
STYLES = {OURS: ("C0", "o-"), TEXTBOOK: ("C1", "s--"), LIGHTLY: ("C2", "^:")}
SWEEP_VIEWS = 2048
Loss = Callable[[Tensor, Tensor], Tensor]
Row = dict[str, Any]


def measure(
    views: int = 4096,
    dim: int = 128,
    rounds: int = 5,
    largest: int = 65_536,
    picture: Annotated[Path | None, typer.Option(help="where to draw the seconds, as SVG")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Loss and gradient of random float32 embeddings; clusters of two views each unless said otherwise."""
    outcome = Outcome("loss")
    _compare_speed(views, dim, rounds, outcome)
    _compare_memory(views, dim, outcome)
    _compare_digits(views, dim, outcome)
    by_views = _sweep("views", (512, 1024, 2048, 4096, 8192), lambda count: (count, dim, count // 2))
    by_views.append({"views": largest, OURS: _seconds_once(largest, dim), TEXTBOOK: "", LIGHTLY: ""})
    by_dim = _sweep("dimensions", (32, 128, 512, 2048), lambda count: (SWEEP_VIEWS, count, SWEEP_VIEWS // 2))
    by_clusters = _sweep(
        "clusters", (1, 10, 100, SWEEP_VIEWS // 2), lambda count: (SWEEP_VIEWS, dim, count), lightly=False
    )
    outcome.tables[f"Seconds, {dim} dimensions"] = by_views
    outcome.tables[f"Seconds, {SWEEP_VIEWS:,} views"] = by_dim
    outcome.tables[f"Seconds, {SWEEP_VIEWS:,} views x {dim}"] = by_clusters
    if picture is not None:
        _draw([by_views, by_dim, by_clusters], picture)
    outcome.tell(as_json)


def textbook(embeddings_ND: Tensor, clusters_N: Tensor, form: Form = "out") -> Tensor:
    """Computes the loss by its definition with N x N logits; autograd differentiates it."""
    z_ND = functional.normalize(embeddings_ND, dim=1)
    if form == "pair":
        x_PD, y_PD = z_ND.chunk(2)
        return functional.cross_entropy(x_PD @ y_PD.T / TEMPERATURE, torch.arange(len(x_PD)))
    itself_NN = torch.eye(len(z_ND), dtype=torch.bool)
    floor = torch.finfo(z_ND.dtype).min
    logits_NN = (z_ND @ z_ND.T / TEMPERATURE).masked_fill(itself_NN, floor)
    positive_NN = (clusters_N[:, None] == clusters_N) & ~itself_NN
    positives_N = positive_NN.sum(dim=1).to(z_ND.dtype)
    if form == "out":
        log_positive_N = torch.where(positive_NN, logits_NN, 0.0).sum(dim=1) / positives_N
    else:
        log_positive_N = logits_NN.masked_fill(~positive_NN, floor).logsumexp(dim=1) - positives_N.log()
    return (logits_NN.logsumexp(dim=1) - log_positive_N).mean()


def ours(embeddings_ND: Tensor, clusters_N: Tensor, form: Form = "out") -> Tensor:
    return cl_infonce_loss(embeddings_ND, clusters_N, TEMPERATURE, form)


def lightly(embeddings_ND: Tensor, clusters_N: Tensor) -> Tensor:
    """Contrasts each view with its image's other one: ours with one cluster per image."""
    loss: Tensor = NTXentLoss(TEMPERATURE)(*embeddings_ND.chunk(2))
    return loss


LOSSES: dict[str, Loss] = {OURS: ours, TEXTBOOK: textbook, LIGHTLY: lightly}


def _compare_speed(views: int, dim: int, rounds: int, outcome: Outcome) -> None:
    batch = _views(views, dim, views // 2)
    values = [loss(*batch) for loss in LOSSES.values()]
    torch.testing.assert_close(values, [values[0]] * len(values), rtol=1e-5, atol=1e-5)
    seconds = in_turns({name: partial(_step, loss, *batch) for name, loss in LOSSES.items()}, rounds)
    outcome.tables[f"{views:,} views x {dim}, loss and gradient"] = [
        {"what": name, "seconds": median(of_name)} for name, of_name in seconds.items()
    ]
    outcome.goals += [
        Goal("times as fast as the textbook", times_as_fast(seconds, OURS, TEXTBOOK), 4),
        Goal("times as fast as lightly", times_as_fast(seconds, OURS, LIGHTLY), 2.5),
    ]
    forms: list[Row] = []
    for form in ("out", "in", "pair"):
        contenders = {name: partial(loss, form=form) for name, loss in ((OURS, ours), (TEXTBOOK, textbook))}
        seconds = in_turns(
            {name: partial(_step, loss, *batch) for name, loss in contenders.items()}, rounds=3
        )
        forms.append({"form": form} | {name: median(of_name) for name, of_name in seconds.items()})
    outcome.tables[f"{views:,} views x {dim}, seconds by form"] = forms


def _compare_memory(views: int, dim: int, outcome: Outcome) -> None:
    """Measures each loss in a separate process: the peak minus what was resident before."""
    rows: list[Row] = []
    for name in LOSSES:
        program = f"from benchmarks.loss import print_peak; print_peak({name!r}, {views}, {dim})"
        ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        rows.append({"what": name, "extra memory, MB": float(ended.stdout)})
    outcome.tables[f"{views:,} views x {dim}, memory"] = rows
    of_ours, of_textbook, _ = (row["extra memory, MB"] for row in rows)
    outcome.goals.append(Goal("extra memory by the textbook's", of_ours / of_textbook, 1 / 8, at_least=False))


def print_peak(name: str, views: int, dim: int) -> None:
    # A small step first loads what is loaded only once, which is not part of the growth.
    _step(LOSSES[name], *_views(64, dim, 32))
    batch = _views(views, dim, views // 2)
    before = _peak_megabytes()
    _step(LOSSES[name], *batch)
    print(_peak_megabytes() - before)


def _peak_megabytes() -> float:
    # getrusage would include the peak of the parent process.
    status = Path("/proc/self/status").read_text()
    kilobytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    return int(kilobytes) * 1024 / 1e6


def _compare_digits(views: int, dim: int, outcome: Outcome) -> None:
    """Measures the relative error of the gradient, in the Euclidean norm, against the textbook in float64."""
    batch_ND, clusters_N = _views(views, dim, views // 10)
    exact_ND = _step(textbook, batch_ND.double(), clusters_N)
    errors = {
        (name, dtype): _relative_error(_step(LOSSES[name], batch_ND.to(dtype), clusters_N), exact_ND)
        for name in (OURS, TEXTBOOK)
        for dtype in (torch.float64, torch.float32)
    }
    outcome.tables[f"{views:,} views x {dim}, clusters of 10, error of the gradient"] = [
        {"what": name, "type": str(dtype).removeprefix("torch."), "relative error": error}
        for (name, dtype), error in errors.items()
    ]
    outcome.goals += [
        Goal("relative error of the gradient in float64", errors[OURS, torch.float64], 1e-6, at_least=False),
        Goal("relative error of the gradient in float32", errors[OURS, torch.float32], 1e-5, at_least=False),
    ]


def _sweep(
    axis: str, values: Sequence[int], sizes: Callable[[int], tuple[int, int, int]], *, lightly: bool = True
) -> list[Row]:
    """Returns the seconds of each loss; views, dimensions and clusters depend on the axis's value."""
    rows = []
    for value in values:
        batch = _views(*sizes(value))
        contenders = {
            name: partial(_step, loss, *batch) for name, loss in LOSSES.items() if lightly or name != LIGHTLY
        }
        seconds = in_turns(contenders, rounds=2)
        rows.append({axis: value} | {name: min(of_name) for name, of_name in seconds.items()})
    return rows


def _seconds_once(views: int, dim: int) -> float:
    batch = _views(views, dim, views // 2)
    started = time.perf_counter()
    _step(ours, *batch)
    return time.perf_counter() - started


def _views(views: int, dim: int, clusters: int) -> tuple[Tensor, Tensor]:
    """Returns float32 embeddings (N, D) and cluster ids; with N / 2 clusters, each has two views."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(views, dim, generator=generator), torch.arange(views) % clusters


def _step(loss: Loss, embeddings_ND: Tensor, clusters_N: Tensor) -> Tensor:
    """Returns the gradient, as a training step needs it."""
    leaf_ND = embeddings_ND.detach().requires_grad_()
    (gradient_ND,) = torch.autograd.grad(loss(leaf_ND, clusters_N), leaf_ND)
    return gradient_ND


def _relative_error(found_ND: Tensor, exact_ND: Tensor) -> float:
    return float((found_ND.double() - exact_ND).norm() / exact_ND.norm())


def _draw(tables: Sequence[Sequence[Row]], path: Path) -> None:
    """Draws one axes per table: its first column against seconds, with a line for each contender."""
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "clinfonce"}):
        figure = Figure(figsize=(4 * len(tables), 3.6), layout="constrained")
        all_axes = figure.subplots(1, len(tables), sharey=True)
        for axes, rows in zip(all_axes, tables, strict=True):
            across, *names = rows[0]
            for name in names:
                colour, line = STYLES[name]
                timed = [row for row in rows if row[name] != ""]
                axes.plot(
                    [row[across] for row in timed],
                    [row[name] for row in timed],
                    line,
                    color=colour,
                    label=name,
                )
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.set_xlabel(across)
            axes.grid(alpha=0.3)
        all_axes[0].set_ylabel("seconds, loss and gradient")
        all_axes[0].legend(frameon=False)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


if __name__ == "__main__":
    typer.run(measure)
