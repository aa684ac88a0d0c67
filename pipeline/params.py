"""params.yaml: one frozen model, checked as a whole before a stage does anything."""

import difflib
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, Field, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.clustering.params import ClusterParams
from pipeline.errors import UserError, listed, shown
from pipeline.evaluation.params import EvaluateParams
from pipeline.ingest.params import IngestParams
from pipeline.report.params import ReportParams
from pipeline.section import Section
from pipeline.training.params import PretrainParams

PARAMS_FILE = Path("params.yaml")


class Params(Section):
    """Every choice that changes a result, and nothing else."""

    seed: int = Field(default=0, ge=0)
    ingest: IngestParams = IngestParams()
    cluster: ClusterParams = ClusterParams()
    pretrain: PretrainParams = PretrainParams()
    evaluate: EvaluateParams = EvaluateParams()
    report: ReportParams = ReportParams()


def load_params(path: Path = PARAMS_FILE) -> Params:
    """Reads and checks `path`. Raises `UserError` with one sentence that names the key and the cure."""
    return check_params(read_values(path), str(path))


def read_values(path: Path = PARAMS_FILE) -> Any:
    """What `path` holds, unchecked. Raises `UserError` where it is missing or no YAML."""
    try:
        # ruamel reads YAML 1.2 as DVC does: 1e-4 is a number, `no` is text.
        return YAML(typ="safe", pure=True).load(path)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: run from the folder that holds it") from None
    except YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" at line {where.line + 1}" if where is not None else ""
        raise UserError(f"{path} is not valid YAML{line}: {getattr(error, 'problem', error)}") from None


def check_params(values: Any, name: str = "params.yaml") -> Params:
    if not isinstance(values, dict):
        raise UserError(f"{name} must hold sections such as `ingest:`, and holds {type(values).__name__}")
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        sentences = [_sentence(details) for details in error.errors()]
        more = f" (and {len(sentences) - 1} more)" if len(sentences) > 1 else ""
        raise UserError(f"{name}: {sentences[0]}{more}") from None


def _sentence(error: ErrorDetails) -> str:
    location = [part for part in error["loc"] if isinstance(part, str)]
    key, value, context = ".".join(location), error["input"], error.get("ctx", {})
    given, as_typed = shown(value), shown(repr(value))
    match error["type"]:
        case "extra_forbidden":
            return f"there is no parameter {shown(key)}{_did_you_mean(location)}"
        case "literal_error":
            return f"{key}={given} is none of its values: {context['expected'].replace(' or ', ', ')}"
        case "value_error":
            # A section's own check names its keys; a check of one value does not know its key.
            return str(context["error"]) if isinstance(value, dict) else f"{key} {context['error']}"
        case "greater_than_equal" | "greater_than" | "less_than_equal" | "less_than":
            return f"{key}={given} is out of range: the {error['msg'][0].lower()}{error['msg'][1:]}"
        case "list_type":
            return f"{key}={as_typed} is no list: write it as {key}=[{given}]"
        case _:
            return f"{key}={as_typed} has the wrong type: the {error['msg'][0].lower()}{error['msg'][1:]}"


def _did_you_mean(location: list[str]) -> str:
    model: type[BaseModel] | None = Params
    for part in location[:-1]:
        model = _model_in(model.model_fields[part].annotation) if model is not None else None
    if model is None:
        return ""
    names = list(model.model_fields)
    close = difflib.get_close_matches(location[-1], names, n=1)
    return (
        f": did you mean {'.'.join([*location[:-1], close[0]])}?" if close else f": here are {listed(names)}"
    )


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if get_origin(annotation) is Literal:
        return None
    candidates = (annotation, *get_args(annotation))
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)
