"""The section `report` of params.yaml."""

from typing import Literal

from pydantic import Field, field_validator

from pipeline.config.base import Section

Reference = Literal["untrained", "start", "instance", "label"]


class ReportParams(Section):
    references: list[Reference] = Field(default=["untrained", "start", "instance", "label"])
    title: str = "Which auxiliary information helps?"

    @field_validator("references")
    @classmethod
    def _each_once(cls, references: list[Reference]) -> list[Reference]:
        if len(set(references)) != len(references):
            raise ValueError("names an arm twice: name each once")
        return references
