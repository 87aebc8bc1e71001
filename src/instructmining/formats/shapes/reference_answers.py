"""Reference answers of MT-bench: ``choices`` of ``turns``, without the prompts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from instructmining.examples import Turn
from instructmining.formats.shapes.base import (
    Fields,
    Reading,
    Shape,
    as_list,
    prompt_text,
    response_text,
)


class ReferenceAnswers(Shape):
    """The answers a model gave over several rounds; the last one is the response.

    Reference: Zheng et al. 2023, arXiv 2306.05685.
    """

    name = "reference_answers"
    order = 60
    wanted = "choices: a list of {turns: a list of answers}"

    def fits(self, fields: Fields) -> bool:
        """Whether the first choice has a list of turns."""
        return _answers(fields) is not None

    def read(self, fields: Fields) -> Reading:
        """Read the answers of the first choice."""
        answers = _answers(fields)
        if answers is None:
            return Reading(flags=("no_prompt", "missing_response_field"))
        if not answers:
            return Reading(flags=("no_prompt", "no_assistant_turn"))
        flags: tuple[str, ...] = ("no_prompt",)
        turns: list[Turn] = []
        for answer in answers[:-1]:
            text, found = prompt_text(answer)
            flags += found
            turns.append(Turn("assistant", text))
        response, found = response_text(answers[-1])
        return Reading(tuple(turns), response, flags + found)


def _answers(fields: Fields) -> list[Any] | None:
    choices = as_list(fields.get("choices"))
    if not choices or not isinstance(choices[0], Mapping):
        return None
    return as_list(choices[0].get("turns"))


SHAPE = ReferenceAnswers()
