"""Implementation of `clinfonce doctor`: runs all checks in turn and prints the findings and what to do."""

import importlib
from collections.abc import Iterator
from dataclasses import asdict, replace

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from pipeline.config.params import load_params
from pipeline.doctor.base import Check, Section, Situation, Status, fail
from pipeline.runtime.console import SafeConsole, print_json, terminal
from pipeline.runtime.errors import UserError, first_line, shown, system_error_message
from pipeline.runtime.sanitize import for_terminal

PARTS = {
    "packages": "Versions",
    "environment": "Environment",
    "hardware": "Devices",
    "decoding": "Decoding",
    "memory": "Memory",
    "disk": "Disk",
    "stage_state": "Pipeline",
    "estimate": "What a run takes",
}
"""Titles of the modules beside this one, in the order in which they report."""
PLAN = {"plan": "What the time allows"}
"""Used instead of `PARTS` if minutes are given."""
COLOURS: dict[Status, str] = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def run(*, as_json: bool, seconds: float, minutes: float | None = None, images: int | None = None) -> int:
    """Prints what was found, each section as soon as it is known. Returns the number of failures."""
    situation, sections = replace(_situation(seconds), minutes=minutes, images=images), []
    console = terminal()
    with terminal(stderr=True).status("looking ...") as status:
        for module, title in (PARTS if minutes is None else PLAN).items():
            status.update(f"{title.lower()} ...")
            sections.append(Section(title, list(_checks(module, situation))))
            if not as_json:
                print_section(sections[-1], console)
    counts = {name: sum(c.status == name for s in sections for c in s.checks) for name in COLOURS}
    if as_json:
        print_json({**counts, "sections": [asdict(section) for section in sections]})
    else:
        console.print(f"{counts['fail']} to fix, {counts['warn']} to know, {counts['ok']} fine.")
    return counts["fail"]


def _situation(seconds: float) -> Situation:
    try:
        return Situation(load_params(), seconds)
    except UserError:
        return Situation(None, seconds)


def _checks(module: str, situation: Situation) -> Iterator[Check]:
    # Imported only here, and guarded: torch or any other package may be what is broken.
    try:
        yield from importlib.import_module(f"pipeline.doctor.{module}").look(situation)
    except UserError as error:
        yield fail(module, str(error), "fix it, and ask again.")
    except Exception as error:
        if message := system_error_message(error):
            yield fail(module, message, "fix it, and ask again.")
            return
        found = f"could not be looked at: {type(error).__name__}: {shown(first_line(error))}"
        yield fail(module, found, "run `uv sync`; if it stays, this line is a bug worth reporting.")


def print_section(section: Section, console: SafeConsole) -> None:
    """Prints a section; texts are never parsed as rich markup."""
    drawn = Table(
        box=SIMPLE_HEAD,
        title=Text(section.title, style="bold"),
        title_justify="left",
        show_header=False,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    drawn.add_column(min_width=4)
    drawn.add_column(min_width=22, overflow="fold")
    drawn.add_column(overflow="fold", ratio=1)
    for check in section.checks:
        text = Text(for_terminal(check.found))
        if check.cure:
            text.append(f"\n→ {for_terminal(check.cure)}", style="italic")
        drawn.add_row(Text(check.status, style=COLOURS[check.status]), Text(for_terminal(check.what)), text)
    console.print(drawn)
    console.print()
