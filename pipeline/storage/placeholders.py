"""Placeholders for references that `report.references` leaves out, whose stages run nevertheless.

dvc.yaml names the arms itself, so that no value of params.yaml becomes part of a command or of a path that
DVC deletes. The stages of every reference therefore exist. Those of a reference that is not requested write
placeholders: clusters without rows, an empty encoder folder, an empty evaluation folder. Only the first stage
of each reference depends on `report.references`, and the later stages depend on what it wrote: a changed list
does not retrain the remaining arms. The folders of `start` without weights hold a page that says so, as DVC
warns of empty ones, and most runs have no weights.
"""

from collections.abc import Sequence

import pyarrow as pa

from pipeline.storage.checksums import write_checksummed
from pipeline.storage.files import write_atomically, write_json, write_text
from pipeline.storage.outputs import ENCODER_FILES, EVALUATION_FILES, replaced_output
from pipeline.storage.schema import ASSIGNMENTS_SCHEMA, CHOSEN, MODEL_CARD, START, UNTRAINED, Layout
from pipeline.storage.validation import check_parquet

NO_WEIGHTS = "Training starts from nothing: `pretrain.weights` names no weights (docs/your-weights.md).\n"


def leave_out_clusters(layout: Layout, arm: str) -> None:
    """Writes the clusters of an arm that is not requested: no rows, and no statistics."""
    nothing = ASSIGNMENTS_SCHEMA.empty_table()
    write_atomically(layout.assignments(arm), lambda temporary: write_checksummed(nothing, temporary))
    write_json(layout.statistics(arm), {})


def leave_out_untrained(layout: Layout, references: Sequence[str]) -> bool:
    """Returns whether `untrained` is not in `references`; if so, its encoder folder becomes empty."""
    if UNTRAINED in references:
        return False
    with replaced_output(layout.encoder(UNTRAINED), ENCODER_FILES):
        return True


def leave_out_start(layout: Layout, weights: str | None) -> bool:
    """Returns whether no weights are given; if so, the encoder folder of `start` only says so."""
    if weights is not None:
        return False
    with replaced_output(layout.encoder(START), ENCODER_FILES) as folder:
        write_text(folder / MODEL_CARD, NO_WEIGHTS)
        return True


def leave_out_frozen_features(layout: Layout) -> None:
    """Writes a file of features without rows, for trainings that read pixels."""
    nothing = pa.table({"id": pa.array([], pa.string()), "features": pa.array([], pa.binary())})
    write_atomically(layout.frozen_features, lambda temporary: write_checksummed(nothing, temporary))


def leave_out_encoder(layout: Layout, arm: str) -> bool:
    """Returns whether the arm has no clusters; if so, its encoder folder becomes empty.

    Raises `UserError` if the file of clusters is missing or damaged.
    """
    if arm == CHOSEN or check_parquet(layout.assignments(arm), ASSIGNMENTS_SCHEMA):
        return False
    with replaced_output(layout.encoder(arm), ENCODER_FILES):
        return True


def leave_out_evaluation(layout: Layout, arm: str) -> bool:
    """Returns whether the arm's encoder folder is a placeholder; if so, its evaluation folder becomes one."""
    encoder = layout.encoder(arm)
    if arm == CHOSEN or not encoder.is_dir():
        return False
    held = list(encoder.iterdir())
    if any(file.name != MODEL_CARD for file in held):
        return False
    with replaced_output(layout.evaluation(arm), EVALUATION_FILES) as folder:
        for page in held:
            write_text(folder / MODEL_CARD, page.read_text(encoding="utf-8"))
        return True
