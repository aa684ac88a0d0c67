"""Statistics for people to read: a table with its findings as sentences, or CSV."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, TextIO

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len, chop_cells
from rich.table import Table
from rich.text import Text

from pipeline.runtime.console import SafeConsole, terminal
from pipeline.runtime.errors import listed, shown
from pipeline.runtime.sanitize import for_terminal
from pipeline.statistics.corrected import LEAST_ROWS
from pipeline.storage.files import write_cells

WIDTH_WITHOUT_TERMINAL = 160
WITHHELD = "\N{EN DASH}"
FEW_ROWS = f"fewer than {LEAST_ROWS} rows are labelled"
FEW_SEEN = (
    "too many pairs of cluster and label were seen only once: more labelled rows or coarser clusters give one"
)

WIDEST_NAME = 40
"""Maximum width in terminal cells; a Chinese character takes two."""
LEGEND = (
    "Z: clusters, K of them. T: labels. In bits: entropy H(Z), H(T), conditional entropy H(Z|T), mutual "
    "information I(Z;T). AMI: adjusted mutual information, 0 at chance, 1 where clusters are the labels."
)
LEFT_OUT_FIRST = ("AMI", "H(T)", "rows", "singletons", "largest", "H(Z)", "K", "I corrected")
"""Columns that are left out on a narrow terminal, in this order."""


def print_statistics(statistics: Sequence[dict[str, Any]], label: str, file: TextIO | None = None) -> None:
    """Prints `statistics`, one object per cluster column, as in `TableStatistics.columns`.

    A number is never truncated: if the terminal is too narrow, whole columns are left out and named.
    """
    console = terminal(file=file)
    if not console.is_terminal:
        console = terminal(file=file, width=WIDTH_WITHOUT_TERMINAL)
    names = short_names([str(one["column"]) for one in statistics])
    shown = [{"column": name, **_cells(one)} for name, one in zip(names, statistics, strict=True)]
    left_out: list[str] = []
    while _width(shown) > console.width and (narrower := [k for k in LEFT_OUT_FIRST if k in shown[0]]):
        left_out.append(narrower[0])
        shown = [{k: v for k, v in cells.items() if k != narrower[0]} for cells in shown]
    console.print(_table(shown, label))
    console.print(LEGEND, markup=False)
    if left_out:
        console.print(f"Not in this width: {', '.join(left_out)}; --json has them.", markup=False)
    console.print("")
    _print_notes(console, statistics)
    _print_findings(console, statistics)


def _table(shown: Sequence[dict[str, str]], label: str) -> Table:
    caption = (
        "I corrected: for the bias of small samples, with 95 % interval; "
        f"{WITHHELD} where the sample is too small for it."
    )
    table = Table(
        title=Text(f"Clusters Z against labels T ({for_terminal(label)})"),
        caption=caption,
        box=SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("column", no_wrap=True)
    for heading in list(shown[0])[1:]:
        table.add_column(heading, justify="right", no_wrap=True)
    for cells in shown:
        # Escaped here, so that the width of a column is that of what is shown.
        table.add_row(*(Text(for_terminal(cell)) for cell in cells.values()))
    return table


def short_names(names: Sequence[str]) -> list[str]:
    """Shortens each name to at most `WIDEST_NAME` cells by removing its middle.

    Both ends are kept, because column names often share a beginning or an ending. Names that are the same
    after shortening are numbered.
    """
    names = [for_terminal(name) for name in names]
    times = Counter(_without_middle(name, WIDEST_NAME) for name in names)
    numbers: Counter[str] = Counter()
    fitting = []
    for name in names:
        short = _without_middle(name, WIDEST_NAME)
        if short != name and times[short] > 1:
            numbers[short] += 1
            number = f" #{numbers[short]}"
            short = _without_middle(name, WIDEST_NAME - len(number)) + number
        fitting.append(short)
    return fitting


def _without_middle(text: str, width: int) -> str:
    if cell_len(text) <= width:
        return text
    head, tail = chop_cells(text, width // 2 - 1)[0], chop_cells(text[::-1], (width - 1) // 2)[0][::-1]
    return f"{head}…{tail}"


def _width(shown: Sequence[dict[str, str]]) -> int:
    table = _table(shown, "")
    table.title = table.caption = None
    return terminal(width=10_000).measure(table).maximum


def _cells(one: dict[str, Any]) -> dict[str, str]:
    cells = {
        "rows": f"{one['rows']:,}",
        "K": f"{one['clusters']:,}",
        "singletons": f"{one['singletons']:,}",
        "largest": _percent(one["largest_share"]),
        "H(Z)": _bits(one["cluster_entropy_bits"]),
        "H(T)": _bits(one["label_entropy_bits"]),
        "H(Z|T)": _bits(one["conditional_entropy_bits"]),
        "I(Z;T)": _bits(one["mutual_information_bits"]),
        "I corrected": _interval(one, "mutual_information_corrected"),
        "AMI": _bits(one["adjusted_mutual_information"]),
    }
    if one["batch_size"] is not None:
        cells["anchors without positives"] = _percent(one["anchors_without_positives"])
    return cells


def _interval(one: dict[str, Any], name: str) -> str:
    if one[f"{name}_bits"] is None:
        return WITHHELD
    return f"{one[f'{name}_bits']:.3f} [{one[f'{name}_low_bits']:.3f}, {one[f'{name}_high_bits']:.3f}]"


def _bits(value: float | None) -> str:
    return WITHHELD if value is None else f"{value:.3f}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _print_notes(console: SafeConsole, statistics: Sequence[dict[str, Any]]) -> None:
    labelled = [one["rows"] - one["rows_unlabelled"] for one in statistics]
    least, most = min(labelled), max(labelled)
    over = f"{most:,}" if least == most else f"{least:,} to {most:,}"
    console.print(f"I(Z;T), H(Z|T), H(T) and AMI are over {over} labelled rows.", markup=False)
    columns_of: dict[int, list[str]] = {}
    for one in statistics:
        columns_of.setdefault(one["rows_unlabelled"], []).append(str(one["column"]))
    for unlabelled, columns in columns_of.items():
        if unlabelled:
            note = "rows have no label and count only for the sizes and H(Z)."
            console.print(f"{listed(columns)}: {unlabelled:,} {note}", markup=False)
    withheld: dict[str, list[str]] = {}
    for one in statistics:
        if one["labels"] and one["correction"] is None:
            is_small = one["rows"] - one["rows_unlabelled"] < LEAST_ROWS
            withheld.setdefault(FEW_ROWS if is_small else FEW_SEEN, []).append(str(one["column"]))
    for reason, columns in withheld.items():
        console.print(f"{listed(columns)}: no corrected I(Z;T), as {reason}.", markup=False)


def _print_findings(console: SafeConsole, statistics: Sequence[dict[str, Any]]) -> None:
    """Prints each finding once, with the values of the first column that has it."""
    columns_of: dict[str, list[str]] = {}
    for one in statistics:
        for finding in one["findings"]:
            columns_of.setdefault(finding["code"], []).append(str(one["column"]))
    for one in statistics:
        for finding in one["findings"]:
            first, *others = columns_of[finding["code"]]
            if first == str(one["column"]):
                likewise = f" (Likewise: {listed(others)}.)" if others else ""
                line = f"{shown(first)}: {finding['sentence']} {finding['cure']}{likewise}"
                console.print(line, markup=False)


def write_statistics_csv(statistics: Sequence[dict[str, Any]], file: TextIO) -> None:
    """Writes one line per cluster column; findings as their codes, and one column per size quantile."""
    rows = [_flat(one) for one in statistics]
    write_cells(file, list(rows[0]), rows)


def _flat(one: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in one.items():
        if key == "size_quantiles":
            flat |= {f"size_quantile_{q}": size for q, size in value.items()}
        elif key == "findings":
            flat[key] = " ".join(finding["code"] for finding in value)
        else:
            flat[key] = value
    return flat
