"""Writes the files that are generated: docs/parameters.md and the schema of params.yaml that a test compares.

uv run python -m tools.regenerate
"""

import json

from pipeline.config.params import Params
from tools.parameters_page import REPOSITORY, page

PAGE = REPOSITORY / "docs/parameters.md"
SCHEMA = REPOSITORY / "tests/config/params_schema.json"


def schema() -> str:
    return json.dumps(Params.model_json_schema(), indent=2) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
    SCHEMA.write_text(schema())
