"""Statistics for the eye: a table with its findings as sentences, or CSV."""

import csv
from collections.abc import Sequence
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table

from pipeline.escaping import for_spreadsheet

WIDTH_WITHOUT_TERMINAL = 160


def print_statistics(statistics: Sequence[dict[str, Any]], label: str, file: TextIO | None = None) -> None:
    """`statistics` holds one object a cluster column, as `statistics_of_table` gives them."""
    console = Console(file=file, highlight=False)
    if not console.is_terminal:
        console = Console(file=file, highlight=False, width=WIDTH_WITHOUT_TERMINAL)
    table = Table(
        title=f"Clusters Z against labels T ({label})",
        caption="Entropies in bits. I corrected: Chao, Wang and Jost 2013, with 95 % bootstrap interval.",
    )
    with_batches = statistics[0]["batch_size"] is not None
    for heading in _headings(with_batches):
        table.add_column(heading, justify="left" if heading == "column" else "right")
    for one in statistics:
        table.add_row(*_cells(one, with_batches))
    console.print(table)
    for one in statistics:
        _print_findings(console, one)


def _headings(with_batches: bool) -> list[str]:
    of_sizes = ["column", "rows", "K", "singletons", "largest", "H(Z)"]
    of_labels = ["H(T)", "H(Z|T)", "I(Z;T)", "I corrected", "AMI"]
    return [*of_sizes, *of_labels, *(["lonely anchors"] if with_batches else [])]


def _cells(one: dict[str, Any], with_batches: bool) -> list[str]:
    cells = [
        str(one["column"]),
        f"{one['rows']:,}",
        f"{one['clusters']:,}",
        f"{one['singletons']:,}",
        _percent(one["largest_share"]),
        _bits(one["cluster_entropy_bits"]),
        _bits(one["label_entropy_bits"]),
        _bits(one["conditional_entropy_bits"]),
        _bits(one["mutual_information_bits"]),
        _interval(one, "mutual_information_corrected"),
        _bits(one["adjusted_mutual_information"]),
    ]
    return [*cells, _percent(one["lonely_anchor_share"])] if with_batches else cells


def _interval(one: dict[str, Any], name: str) -> str:
    if one[f"{name}_bits"] is None:
        return "-"
    return f"{one[f'{name}_bits']:.3f} [{one[f'{name}_low_bits']:.3f}, {one[f'{name}_high_bits']:.3f}]"


def _bits(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _print_findings(console: Console, one: dict[str, Any]) -> None:
    if one["rows_unlabelled"]:
        console.print(
            f"{one['column']}: {one['rows_unlabelled']:,} of {one['rows']:,} rows have no label and count "
            "only for the sizes and H(Z).",
            markup=False,
        )
    for finding in one["findings"]:
        console.print(f"{one['column']}: {finding['sentence']} {finding['cure']}", markup=False)


def write_statistics_csv(statistics: Sequence[dict[str, Any]], file: TextIO) -> None:
    """One line a cluster column; findings as their codes, size quantiles as a column each."""
    rows = [_flat(one) for one in statistics]
    writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        # A name out of a stranger's table is no formula.
        writer.writerow({k: for_spreadsheet(v) if isinstance(v, str) else v for k, v in row.items()})


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
