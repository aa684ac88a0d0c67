"""Studies are checked before anything runs, and say exactly which experiments they want."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import UserError
from pipeline.params import check_params
from pipeline.studies.definition import planned, read_study
from support import REPOSITORY

STUDY = """
title: Which
question: Why?
seeds: [3, 1]
base: {ingest.path: images/table.csv, pretrain.epochs: 2}
experiments:
  instance: {cluster.method: instance}
  by_colour: {cluster.method: attributes, cluster.attributes.columns: [colour], pretrain.epochs: 4}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "which.yaml"
    path.write_text(text)
    return path


def test_every_experiment_is_planned_with_every_seed(tmp_path: Path) -> None:
    plans = list(planned(read_study(written(tmp_path, STUDY)), "which_one", tmp_path))
    assert [one.name for one in plans] == [
        "which-one--instance--3",
        "which-one--by-colour--3",
        "which-one--instance--1",
        "which-one--by-colour--1",
    ]
    assert plans[1].changes == {
        "ingest.path": str(tmp_path / "images/table.csv"),
        "pretrain.epochs": 4,
        "cluster.method": "attributes",
        "cluster.attributes.columns": ["colour"],
        "seed": 3,
    }


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            "cluster.method: instance",
            "cluster.metod: instance",
            "instance changes cluster.metod, which is no",
        ),
        (
            "pretrain.epochs: 2",
            "pretrain.epochs.more: 2",
            "changes pretrain.epochs.more, which is no parameter",
        ),
        ("  by_colour:", "  By colour:", "names an experiment 'By colour': use small letters"),
        ("seeds: [3, 1]", "seeds: []", "seeds"),
        ("title: Which", "titel: Which", "title"),
        ("title: Which", "title: [", "is not valid YAML"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    assert old in STUDY
    with pytest.raises(UserError, match=sentence):
        read_study(written(tmp_path, STUDY.replace(old, new, 1)))


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none.yaml does not exist: `ls studies` shows the studies"):
        read_study(tmp_path / "none.yaml")


OWN = [*REPOSITORY.glob("studies/*.yaml"), *REPOSITORY.glob("docs/recipes/*.yaml")]


@pytest.mark.parametrize("path", sorted(OWN), ids=lambda path: path.stem)
def test_the_repository_s_studies_and_recipes_are_valid(path: Path) -> None:
    """Each makes parameters that a stage would take."""
    study = read_study(path)
    plans = list(planned(study, path.stem, REPOSITORY))
    assert len({one.name for one in plans}) == len(study.seeds) * len(study.experiments)
    for one in plans:
        values: dict[str, Any] = {}
        for key, value in one.changes.items():
            *sections, name = key.split(".")
            block = values
            for section in sections:
                block = block.setdefault(section, {})
            block[name] = value
        check_params(values, one.name)
