"""Implementation of `clinfonce statistics`: statistics of columns of any table against one of its columns."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.dataset.label_notes import label_notes
from pipeline.dataset.noise import noise_notes
from pipeline.dataset.unknown_words import unknown_word_notes
from pipeline.runtime.console import echo, print_json, standard_output
from pipeline.runtime.errors import UserError, first_line, listed, shown, system_error_message
from pipeline.statistics.console import print_statistics, write_statistics_csv
from pipeline.statistics.contingency import Codes
from pipeline.statistics.describe import describe_counts
from pipeline.statistics.hashtags import hashtag_statistics, hashtags_column
from pipeline.statistics.streaming import Coder, Tally
from pipeline.statistics.tables import ColumnTable, open_table
from pipeline.storage.outputs import conflict_with_outputs, is_foreign
from pipeline.tables.cells import NotOneValue, noted

METHOD = "column"
MOST_UNNAMED = 2000
"""Maximum number of columns without naming them; the statistics of each take some milliseconds."""
SPLIT = "split"
IMAGE = "image"
"""Name of a column that is a cluster column only if it is named."""
MOST_VALUES = 2_000_000
"""Maximum number of different values in a column. More are no clusters, and a few kilobytes of Parquet can
hold any number."""


@dataclass(frozen=True)
class TableStatistics:
    columns: list[dict[str, Any]]
    """One object per cluster column: `column` and the keys of `statistics.json`."""
    notes: list[str]
    """Automatic choices, one sentence each."""


def run(
    path: Path,
    label: str,
    clusters: Sequence[str],
    hashtags: str | None,
    *,
    as_json: bool,
    as_csv: bool,
    batch_size: int | None,
    seed: int,
) -> None:
    """Prints the statistics to standard output and notes to standard error."""
    if as_json and as_csv:
        raise UserError("--json and --csv are two forms of one answer: give one of them")
    result = statistics_of_table(path, label, clusters, hashtags, seed=seed, batch_size=batch_size)
    if as_json:
        print_json(result.columns)
    elif as_csv:
        write_statistics_csv(result.columns, standard_output())
    else:
        print_statistics(result.columns, label)
    for note in [*result.notes, *_place_notes(path)]:
        echo(f"note: {note}", stderr=True)


def _place_notes(path: Path) -> list[str]:
    """Warns that the first run would remove the table and the images beside it, if they are not outputs."""
    return [f"{path} {conflict_with_outputs(path)}"] if is_foreign(path) else []


def statistics_of_table(
    path: Path,
    label: str,
    clusters: Sequence[str],
    hashtags: str | None = None,
    *,
    seed: int,
    batch_size: int | None = None,
) -> TableStatistics:
    """Computes the statistics of columns of a table against its column `label`, and of its hashtags.

    Without `clusters`, every other column whose values repeat is used, and hashtags in a column of that name.
    A column whose values are all different (an id, a path) or missing is left out and named in a note. So is
    a column `image`, because ingest reads each of its values only once. Reads the file in one pass, and the
    hashtags in another. Raises `UserError` for a file or column that is missing, empty or unreadable.
    """
    table = open_table(path)
    table.check_columns([label, *clusters])
    tags = hashtags_column(table, label, hashtags, is_requested=hashtags is not None or not clusters)
    others = [name for name in table.columns if name not in (label, tags) and name.casefold() != SPLIT]
    chosen = list(dict.fromkeys(clusters)) or others
    no_values = [name for name in table.no_values if name != tags]
    left_out = {} if clusters else dict.fromkeys(no_values, "lists, objects or bytes")
    if tags is not None and not chosen:
        columns, notes = hashtag_statistics(path, label, tags, seed, batch_size)
        if not columns:
            raise UserError(
                f"no hashtag of {shown(tags)} in {path} is on some rows and not on others: give a table with "
                "clusters"
            )
        return TableStatistics(columns, table.notes + notes)
    if not chosen:
        raise UserError(f"{path} has no column beside {label}: give a table with a cluster column")
    if not clusters and len(chosen) > MOST_UNNAMED:
        raise UserError(f"{path} has {len(chosen):,} columns beside {label}: name some with --cluster")
    tallies, incomparable = tally_columns(table, label, chosen, droppable=not clusters)
    _check_filled(table, label, tallies)
    repeating = {name for name, tally in tallies.items() if _repeats(tally)}
    images = {name for name in tallies if name.casefold() == IMAGE}
    kept = {name: tallies[name] for name in tallies if clusters or name in repeating - images}
    for name, tally in kept.items():
        if tally.cluster_sizes_K.size == 0:
            raise UserError(f"column {shown(name)} of {path} is empty: choose a cluster column with values")
    of_hashtags, tag_notes = (
        ([], []) if tags is None else hashtag_statistics(path, label, tags, seed, batch_size)
    )
    if not kept and not of_hashtags:
        raise UserError(f"{path} has no column whose values repeat: name one with --cluster")
    unrepeated = [name for name in tallies if name not in repeating and name not in kept]
    image_notes = [_repeated_images(tallies[name]) for name in sorted(images & repeating)]
    return TableStatistics(
        [{"column": name, **_described(tally, seed, batch_size)} for name, tally in kept.items()]
        + of_hashtags,
        table.notes
        + image_notes
        + _notes(unrepeated, left_out | incomparable)
        + _row_notes(table, tallies)
        + label_notes(*next(iter(tallies.values())).labels.sorted_values())
        + noise_notes((name, tally.clusters.rows_of_values()) for name, tally in kept.items())
        + _unknown_word_notes(label, kept)
        + tag_notes,
    )


def tally_columns(
    table: ColumnTable, label: str, clusters: Sequence[str], *, droppable: bool = False
) -> tuple[dict[str, Tally], dict[str, str]]:
    """Counts each of `clusters` against `label`, all in one pass over the table.

    A column of more than `MOST_VALUES` different values, or of values that can't be compared, is left out and
    returned with the reason if it is `droppable`; otherwise it raises `UserError`.
    """
    labels = Coder()
    tallies = {name: Tally(labels) for name in clusters}
    left_out: dict[str, str] = {}
    for batch in table.read(list(dict.fromkeys([label, *clusters]))):
        try:
            labels_N = _codes(batch, label, labels)
        except NoClusters as why:
            raise _is_no_clusters(table, label, why) from None
        for name, tally in list(tallies.items()):
            try:
                tally.add_codes(_codes(batch, name, tally.clusters), labels_N)
            except NoClusters as why:
                if not droppable:
                    raise _is_no_clusters(table, name, why) from None
                left_out[name] = str(why)
                del tallies[name]
    return tallies, left_out


class NoClusters(ValueError):
    """Raised for a column whose values are no clusters or labels; the message says what it holds."""


def _is_no_clusters(table: ColumnTable, name: str, why: NoClusters) -> UserError:
    return UserError(
        f"column {shown(name)} of {table.path} holds {why}, which are no clusters or labels: leave it out"
    )


def _codes(batch: pa.RecordBatch, name: str, coder: Coder) -> Codes:
    try:
        codes_N = coder.codes(batch.column(name))
    except NotOneValue as what:
        raise NoClusters(str(what)) from None
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        if system_error_message(error):
            raise
        kind = shown(batch.column(name).type)
        raise NoClusters(f"values of {kind} that can't be compared ({first_line(error)})") from None
    if len(coder) > MOST_VALUES:
        raise NoClusters(f"more than {MOST_VALUES:,} different values")
    return codes_N


def _check_filled(table: ColumnTable, label: str, tallies: dict[str, Tally]) -> None:
    if not tallies:
        raise UserError(f"{table.path} has no column beside {label} whose values could be clusters")
    any_tally = next(iter(tallies.values()))
    if any_tally.rows == 0:
        refused = f" that can be read ({table.refused.in_words()})" if table.refused else ""
        raise UserError(f"{table.path} has no rows{refused}: give a table with rows below its header")
    if len(any_tally.labels) == 0:
        raise UserError(f"column {shown(label)} of {table.path} is empty: choose a label column with values")


def _repeats(tally: Tally) -> bool:
    return 0 < len(tally.clusters) < tally.rows - tally.rows_without_cluster


def _repeated_images(tally: Tally) -> str:
    repeated = tally.rows - tally.rows_without_cluster - len(tally.clusters)
    return (
        f"{repeated:,} rows name an image that an earlier row names: they count here, and ingest refuses them"
    )


def _described(tally: Tally, seed: int, batch_size: int | None) -> dict[str, Any]:
    described = describe_counts(
        METHOD,
        tally.labelled,
        tally.cluster_sizes_K,
        seed=seed,
        batch_size=batch_size,
    )
    return described | {"rows_without_cluster": tally.rows_without_cluster}


def _notes(unrepeated: list[str], left_out: dict[str, str]) -> list[str]:
    notes = []
    if unrepeated:
        notes.append(
            f"left out, as no value of theirs repeats: {listed(unrepeated)}; --cluster takes any column"
        )
    for why in dict.fromkeys(left_out.values()):
        notes.append(f"left out, as they hold {why}: {listed([n for n in left_out if left_out[n] == why])}")
    return notes


def _row_notes(table: ColumnTable, tallies: dict[str, Tally]) -> list[str]:
    """Returns notes on rows that were refused, and on cells that are counted as other values."""
    tally = next(iter(tallies.values()))
    notices = sum((each.clusters.notices for each in tallies.values()), tally.labels.notices.copy())
    notes = noted(notices)
    if table.refused:
        notes.append(f"rows that are left out: {table.refused.in_words()}")
    return notes


def _unknown_word_notes(label: str, tallies: dict[str, Tally]) -> list[str]:
    coders = {name: tally.clusters for name, tally in tallies.items()}
    coders = {label: next(iter(tallies.values())).labels} | coders
    return unknown_word_notes((name, coder.unknown_words) for name, coder in coders.items())
