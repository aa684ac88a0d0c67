"""References that `report.references` leaves out: their stages run, and make nothing.

dvc.yaml names the arms itself, so that no value of params.yaml becomes part of a command or of a path that
DVC deletes. The stages of every reference therefore exist. Those of one that is not requested write
placeholders: clusters without rows, an empty encoder folder, an empty evaluation folder. Only the first stage
of each reference depends on `report.references`, and the stages after it on what it wrote: a changed list
trains none of the arms that stay.
"""

from collections.abc import Sequence

from pipeline.storage.checksums import write_checksummed
from pipeline.storage.files import write_atomically, write_json
from pipeline.storage.outputs import ENCODER_FILES, EVALUATION_FILES, replaced_output
from pipeline.storage.schema import ASSIGNMENTS_SCHEMA, CHOSEN, UNTRAINED, Layout
from pipeline.storage.validation import check_parquet


def leave_out_clusters(layout: Layout, arm: str) -> None:
    """Writes the clusters of an arm that is not requested: no rows, and no statistics."""
    nothing = ASSIGNMENTS_SCHEMA.empty_table()
    write_atomically(layout.assignments(arm), lambda temporary: write_checksummed(nothing, temporary))
    write_json(layout.statistics(arm), {})


def leave_out_untrained(layout: Layout, references: Sequence[str]) -> bool:
    """Whether `untrained` is not among `references`; its encoder folder is then replaced by an empty one."""
    if UNTRAINED in references:
        return False
    with replaced_output(layout.encoder(UNTRAINED), ENCODER_FILES):
        return True


def leave_out_encoder(layout: Layout, arm: str) -> bool:
    """Whether the arm was left out of the clustering; its encoder folder is then replaced by an empty one.

    Raises `UserError` where the clusters are missing or damaged.
    """
    if arm == CHOSEN or check_parquet(layout.assignments(arm), ASSIGNMENTS_SCHEMA):
        return False
    with replaced_output(layout.encoder(arm), ENCODER_FILES):
        return True


def leave_out_evaluation(layout: Layout, arm: str) -> bool:
    """Whether the arm has an empty encoder folder; its evaluation folder is then replaced by an empty one."""
    encoder = layout.encoder(arm)
    if arm == CHOSEN or not encoder.is_dir() or any(encoder.iterdir()):
        return False
    with replaced_output(layout.evaluation(arm), EVALUATION_FILES):
        return True
