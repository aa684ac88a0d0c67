"""Processor time until the modules of a process are loaded, compared with the library that it needs.

uv run --group bench python -m benchmarks.start
"""

import resource
import subprocess
import sys
from statistics import median

import typer

from benchmarks.harness import Goal, JsonFlag, Outcome

PROCESSES = {
    "pretrain": ("pipeline.training.run", "torch"),
    "evaluate": ("pipeline.evaluation.run", "torch, sklearn.manifold"),
    "embed": ("pipeline.inference.embed", "torch"),
    "the reader of Parquet": ("pipeline.untrusted.isolation.parquet_reader", "pyarrow.parquet"),
}
MOST = 1.5


def measure(rounds: int = 7, as_json: JsonFlag = False) -> None:
    outcome, rows = Outcome("start"), []
    for what, modules in PROCESSES.items():
        taken = [[_seconds(module) for module in modules] for _ in range(rounds)]
        ours, theirs = (median(seconds) for seconds in zip(*taken, strict=True))
        rows.append({"what": what, "seconds": ours, "of it": modules[1], "its seconds": theirs})
        ratio = median(own / other for own, other in taken)
        outcome.goals.append(Goal(f"{what}, times {modules[1]}", ratio, MOST, at_least=False))
    outcome.tables["modules loaded"] = rows
    outcome.tell(as_json)


def _seconds(modules: str) -> float:
    before = _processor_time()
    subprocess.run([sys.executable, "-c", f"import {modules}"], check=True)
    return _processor_time() - before


def _processor_time() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    typer.run(measure)
