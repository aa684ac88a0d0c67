"""Every parameter with every kind of value ends in success, or in one sentence.

All values are checked as stages check them before they do anything. Of those that are taken some are run
through the stage that reads them; `CLINFONCE_FUZZ=1` runs all, in an hour of one core.
"""

import os
import resource
import sys
from pathlib import Path
from typing import Any

import pytest

from fuzz.parameters import NEEDED, Key, keys
from pipeline.config.params import check_params
from pipeline.runtime.errors import UserError
from processes import STAGES
from stage_runs import Workshop
from support import png

pytestmark = pytest.mark.slow

FUZZ_VARIABLE = "CLINFONCE_FUZZ"
MOST_SECONDS, MOST_BYTES = 120, 6 << 30
"""Of the processor, and of memory, for a stage on so few images."""
RUN: dict[str, list[Any]] = {
    "cluster.hierarchy.edges": ["x" * 4000],
    "cluster.kmeans.n_init": [100],
    "pretrain.temperature": [0.001],
    "pretrain.projection_dim": [1],
    "pretrain.dual_head.hidden": [2**16],
    "evaluate.neighbours": [10_000],
    "evaluate.selection_fraction": [5e-324],
}
"""Values that are run by every test run: limits that once ended in a traceback, or might."""
AS_LONG_AS_IT_SAYS = {"pretrain.epochs", "ingest.synthetic.images"}
"""Parameters whose large values are hours of work, as intended."""
LISTS_ALL = ["ingest.path", "/"]
KEYS = {key.name: key for key in keys()}


def is_taken(sections: dict[str, Any]) -> bool:
    """Whether `sections` are valid; if not, they are refused in one sentence."""
    try:
        check_params(sections)
    except UserError as error:
        sentence = str(error)
        assert sentence.startswith("params.yaml: ")
        assert "\n" not in sentence
        assert len(sentence) < 1000
        return False
    return True


@pytest.mark.parametrize("name", KEYS)
def test_every_value_is_taken_or_refused_in_a_sentence(name: str) -> None:
    key = KEYS[name]
    taken = [value for value in key.values() if is_taken(key.in_sections(value))]
    assert len(key.values()) >= 20
    assert taken or name == "cluster.column.name"
    assert len(taken) < len(key.values())


@pytest.mark.parametrize("name", NEEDED)
def test_most_values_stay_valid_beside_what_their_parameter_needs(name: str) -> None:
    for key in KEYS.values():
        if f"{key.name}.".startswith(f"{name}."):
            alone = [value for value in key.values() if is_taken(key.in_sections(value))]
            beside = [value for value in key.values() if is_taken(key.with_what_it_needs(value))]
            assert len(beside) >= max(1, len(alone) / 2), key.name


def to_be_run() -> list[tuple[str, Any]]:
    if FUZZ_VARIABLE not in os.environ:
        return [(name, value) for name, values in RUN.items() for value in values]
    pairs = [(name, value) for name, key in KEYS.items() for value in key.values()]
    return [
        (name, value)
        for name, value in pairs
        if is_taken(KEYS[name].with_what_it_needs(value))
        and [name, value] != LISTS_ALL
        and not (name in AS_LONG_AS_IT_SAYS and value > 100)
    ]


@pytest.fixture(scope="module")
def with_a_source(undisturbed: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """Beside the stages' outputs a folder with a few images and their manifest."""
    workshop = undisturbed.copy(tmp_path_factory.mktemp("fuzz") / "workshop")
    source = workshop.root / "source"
    source.mkdir()
    lines = ["image,label,split,hashtags,colour"]
    for number in range(24):
        (source / f"{number}.png").write_bytes(png(number))
        label, split = "cat" if number % 2 else "dog", "test" if number % 4 == 3 else "train"
        lines.append(f"{number}.png,{label},{split},#a #t{number % 5},{'red' if number % 3 else 'blue'}")
    (source / "manifest.csv").write_text("\n".join(lines) + "\n")
    return workshop


@pytest.mark.skipif(sys.platform != "linux", reason="limits of another process are Linux's")
@pytest.mark.parametrize(
    ("name", "value"), to_be_run(), ids=lambda value: repr(value)[:40].encode("ascii", "replace").decode()
)
def test_the_stage_succeeds_or_ends_in_one_sentence(
    with_a_source: Workshop, tmp_path: Path, name: str, value: Any
) -> None:
    key: Key = KEYS[name]
    section = name.partition(".")[0]
    for stage in STAGES if section == "seed" else [section]:
        workshop = with_a_source.copy(tmp_path / stage)
        workshop.change_params(key.with_what_it_needs(value))
        workshop.take_away(stage)
        process = workshop.start(stage)
        assert process.pid is not None
        resource.prlimit(process.pid, resource.RLIMIT_CPU, (MOST_SECONDS, MOST_SECONDS))
        resource.prlimit(process.pid, resource.RLIMIT_DATA, (MOST_BYTES, MOST_BYTES))
        process.join()
        said = workshop.said
        assert process.exitcode in (0, 2), said
        assert "Traceback" not in said
        if process.exitcode == 2:
            assert said.splitlines()[-1].startswith("error: ")
