"""Common parts of the benchmarks: contenders in turns, ratios, goals, and output."""

import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import torch
import typer

JsonFlag = Annotated[bool, typer.Option("--json", help="one object instead of tables")]


@dataclass(frozen=True)
class Goal:
    name: str
    value: float
    limit: float
    at_least: bool = True
    """Whether the value must reach the limit; otherwise, it must not exceed it."""

    @property
    def met(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit


@dataclass
class Outcome:
    benchmark: str
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Rows by the table's title; all rows of a table have the same keys."""
    goals: list[Goal] = field(default_factory=list)

    def tell(self, as_json: bool) -> None:
        """Prints everything, and exits with 1 if a goal is missed."""
        goals = [asdict(goal) | {"met": goal.met} for goal in self.goals]
        met = all(goal.met for goal in self.goals)
        if as_json:
            output = {"benchmark": self.benchmark, "machine": machine(), "tables": self.tables}
            print(json.dumps(output | {"goals": goals, "met": met}, indent=2))
        else:
            print(f"{self.benchmark} on {machine()}\n")
            for title, rows in self.tables.items():
                print(f"{title}\n\n{markdown(rows)}\n")
            for goal in self.goals:
                sign, word = (">=" if goal.at_least else "<="), ("met" if goal.met else "MISSED")
                print(f"{word}: {goal.name} {goal.value:.4g} ({sign} {goal.limit:g})")
        raise typer.Exit(0 if met else 1)


def in_turns(
    contenders: Mapping[str, Callable[[], object]], rounds: int, *, pause_seconds: float = 0.0
) -> dict[str, list[float]]:
    """Returns the seconds of each contender in each round, after one round that does not count.

    The contenders take turns so that changes of the machine's speed affect all of them. Every other round is
    in reverse order, because the previous contender matters too. A pause before each turn lets remaining
    background work finish.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for round_number in range(rounds + 1):
        turns = list(contenders.items())
        for name, run in turns if round_number % 2 else reversed(turns):
            time.sleep(pause_seconds)
            _wait_for_device()
            started = time.perf_counter()
            run()
            _wait_for_device()
            if round_number:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def times_as_fast(seconds: Mapping[str, Sequence[float]], ours: str, theirs: str) -> float:
    """Returns the median over the rounds of their seconds divided by ours."""
    return median(b / a for a, b in zip(seconds[ours], seconds[theirs], strict=True))


def read_results(path: Path) -> list[dict[str, Any]]:
    """Returns what `append_result` wrote, for benchmarks that resume; empty if there is no file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def append_result(path: Path, result: Mapping[str, Any]) -> None:
    """Appends the result as a line of JSON, and prints it."""
    line = json.dumps(result)
    with path.open("a") as file:
        file.write(f"{line}\n")
    print(line, flush=True)


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    columns = list(rows[0])
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    lines += [f"| {' | '.join(_cell(row[column]) for column in columns)} |" for row in rows]
    return "\n".join(lines)


def machine() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    try:
        models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
        model = models[0].split(":", 1)[1].strip()
    except (OSError, IndexError):
        model = platform.machine()
    return f"{model}, {torch.get_num_threads()} of {os.cpu_count()} cores, torch {torch.__version__}"


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _wait_for_device() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
