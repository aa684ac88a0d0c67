"""SIGKILL at any moment of any stage: run again, it ends with the undisturbed run's bytes.

`CLINFONCE_FAULTS=20` kills each stage twenty times; without it each is killed once,
and pretraining once more while it saves its state.
"""

import random

import pytest

from processes import STAGES
from stage_runs import Workshop, strength

pytestmark = [pytest.mark.faults, pytest.mark.slow]

ATTEMPTS = 20
"""At a moment at which the stage still runs."""


@pytest.mark.parametrize(("stage", "in_a_save"), [*((stage, False) for stage in STAGES), ("pretrain", True)])
def test_a_killed_stage_ends_with_the_same_bytes(
    undisturbed: Workshop, workshop: Workshop, stage: str, in_a_save: bool
) -> None:
    expected = undisturbed.outputs(stage)
    assert expected
    seconds = workshop.seconds_of(stage)
    lot = random.Random(f"killed {stage}")  # noqa: S311 - not for secrets
    for _ in range(strength()):
        workshop.take_away(stage)
        for _ in range(ATTEMPTS):
            if workshop.kill_at_random(stage, lot, seconds, in_a_save=in_a_save):
                break
            seconds *= 0.8  # it was done before the moment came
            workshop.take_away(stage)
        # Each file has its name when it is whole.
        whole = {name: content for name, content in workshop.outputs(stage).items() if ".tmp" not in name}
        assert whole.items() <= expected.items()
        assert workshop.run(stage) == 0, workshop.said
        assert workshop.outputs(stage) == expected
        assert not workshop.left_over()
