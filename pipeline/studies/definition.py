"""`studies/*.yaml`: which experiments belong together, as changes of params.yaml, and with which seeds."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.errors import UserError
from pipeline.params import Params
from pipeline.section import Section

PATHS = ("ingest.path", "evaluate.transfer_from")
"""Parameters that name a file: an experiment runs in a folder of its own, so they must be absolute there."""

Changes = dict[str, Any]
"""New values by their dotted names, such as `cluster.method: kmeans`."""


def _a_name(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_]*", name):
        raise ValueError(f"names an experiment {name!r}: use small letters, digits and underscores")
    return name


class Study(Section):
    title: str
    question: str = Field(description="what the papers claim, and what the figures are to tell")
    picture: Literal["bars", "plane"] = Field(
        default="bars", description="a row an experiment, or points over I(Z;T) and H(Z|T)"
    )
    seeds: list[int] = Field(min_length=1)
    base: Changes = Field(default={}, description="changes of params.yaml that all experiments share")
    experiments: dict[Annotated[str, AfterValidator(_a_name)], Changes] = Field(min_length=1)


@dataclass(frozen=True)
class Planned:
    """One experiment with one seed."""

    name: str
    """Of the DVC experiment."""
    experiment: str
    seed: int
    changes: Mapping[str, Any]
    """All that differs from params.yaml, paths absolute."""


def read_study(path: Path) -> Study:
    """Raises `UserError` with a sentence where the file or a value in it is wrong."""
    try:
        values = YAML(typ="safe", pure=True).load(path)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: `ls studies` shows the studies") from None
    except YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {getattr(error, 'problem', error)}") from None
    try:
        study = Study.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise UserError(f"{path}: {where}: {first['msg']}") from None
    for name, changes in study.experiments.items():
        unknown = [key for key in study.base | changes if not _is_parameter(key)]
        if unknown:
            raise UserError(f"{path}: experiment {name} changes {unknown[0]}, which is no parameter")
    return study


def planned(study: Study, study_name: str, root: Path) -> Iterator[Planned]:
    """Every experiment with every seed: all first seeds first, so that an early look sees all experiments."""
    for seed in study.seeds:
        for experiment, changes in study.experiments.items():
            whole = study.base | changes | {"seed": seed}
            for key in PATHS:
                if whole.get(key):
                    whole[key] = str((root / whole[key]).resolve())
            yield Planned(f"{study_name}-{experiment}-{seed}".replace("_", "-"), experiment, seed, whole)


def _is_parameter(key: str) -> bool:
    model: Any = Params
    for part in key.split("."):
        fields = getattr(model, "model_fields", {})
        if part not in fields:
            return False
        model = fields[part].annotation
    return True
