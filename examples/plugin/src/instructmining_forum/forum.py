"""Threads of a forum: ``question``, perhaps ``context``, ``answers`` of ``text`` and ``votes``."""

from __future__ import annotations

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


class Forum(Shape):
    """The response is the answer with most votes, of several the first."""

    wanted = "question, answers: a list of {text, votes}; context if there is any"

    def fits(self, fields: Fields) -> bool:
        """Whether there are a question and answers with a text."""
        return "question" in fields and bool(_answers(fields))

    def read(self, fields: Fields) -> Reading:
        """Read context and question as one prompt, and the best answer."""
        parts = [prompt_text(fields.get(name)) for name in ("context", "question")]
        prompt = "\n\n".join(text for text, _ in parts if text.strip())
        turns = (Turn("user", prompt),) if prompt else ()
        flags = tuple(flag for _, found in parts for flag in found)
        answers = _answers(fields)
        if not answers:
            return Reading(turns, "", (*flags, "missing_response_field"))
        response, found = response_text(max(answers, key=_votes)["text"])
        return Reading(turns, response, flags + found)


def _answers(fields: Fields) -> list[dict[str, Any]]:
    found = as_list(fields.get("answers")) or []
    return [one for one in found if isinstance(one, dict) and "text" in one]


def _votes(answer: dict[str, Any]) -> float:
    votes = answer.get("votes")
    return votes if isinstance(votes, int | float) else 0
