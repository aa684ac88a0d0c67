"""docs/parameters.md says what params.yaml and the models of its sections say."""

from typing import Any

import pytest

from pipeline.config.params import Params, load_params
from tools.parameters_page import FILE, allowed_values, comments_of, page
from tools.regenerate import PAGE


def test_the_page_is_not_stale() -> None:
    assert PAGE.read_text() == page(), "run uv run python -m tools.regenerate"


def test_every_parameter_has_words() -> None:
    silent = [line for line in page().splitlines() if line.startswith("| `") and line.endswith("|  |")]
    assert not silent, "give these a comment in params.yaml"


def test_every_parameter_has_its_row() -> None:
    def count(model: dict[str, Any]) -> int:
        return sum(
            count(models[f["$ref"].rsplit("/", 1)[1]]) if "$ref" in f else 1
            for f in model["properties"].values()
        )

    schema = Params.model_json_schema()
    models = schema["$defs"]
    assert page().count("\n| `") == count(schema) > 100


def test_the_file_s_values_are_the_defaults() -> None:
    """The page shows the file's; a parameter that is left out means the model's."""
    assert load_params(FILE) == Params()


def test_comments_are_found_beside_below_and_above_their_key() -> None:
    text = """\
# of the file

one: 1        # beside
two:          # a section
  # above, and
  # its next line
  three: a#b
  four: null  # beside
              # and below
five: x
"""
    assert comments_of(text) == {
        "one": "beside",
        "two": "a section",
        "two.three": "above, and its next line",
        "two.four": "beside and below",
        "five": "",
    }


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ({"type": "integer", "minimum": 8, "maximum": 2048}, "whole number from 8, up to 2,048"),
        ({"type": "number", "exclusiveMinimum": 0.0, "exclusiveMaximum": 1.0}, "number above 0, below 1"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "text, or `null`"),
        ({"type": "array", "items": {"enum": ["a", "b"]}}, "list: `a`, `b`"),
        ({"type": "array", "items": {"type": "string"}, "maxItems": 20}, "list of up to 20: text"),
    ],
)
def test_what_a_model_takes_in_words(field: dict[str, Any], words: str) -> None:
    assert allowed_values(field) == words
