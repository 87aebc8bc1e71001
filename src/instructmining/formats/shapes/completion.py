"""Pairs of a prompt and its completion, under any of their usual names."""

from __future__ import annotations

from instructmining.formats.shapes.alpaca import user_turn
from instructmining.formats.shapes.base import (
    Fields,
    Reading,
    Shape,
    as_list,
    first_of,
    prompt_text,
    response_of,
    system_turn,
)
from instructmining.formats.shapes.conversation import keyed_by, read_turns

PROMPT = ("prompt", "question", "query", "instruction", "input")
RESPONSE = ("completion", "response", "answer", "output")


class Completion(Shape):
    """``prompt``/``completion``, ``question``/``answer``, ``query``/``response`` and so on.

    Both may also be lists of messages, as TRL's conversational form has them.
    """

    name = "completion"
    order = 50
    wanted = "prompt, question or query; completion, response or answer"

    def fits(self, fields: Fields) -> bool:
        """Whether there are a prompt and a completion."""
        asked = any(name in fields for name in PROMPT)
        return asked and any(name in fields for name in RESPONSE)

    def read(self, fields: Fields) -> Reading:
        """Read system, prompt and completion."""
        asked, answered = first_of(fields, PROMPT), first_of(fields, RESPONSE)
        before, after = as_list(asked) or [], as_list(answered) or []
        if keyed_by(before, "role") and keyed_by(after, "role"):
            return read_turns([*before, *after], system_turn(fields))
        response, flags = response_of(fields, RESPONSE)
        prompt, prompt_flags = prompt_text(asked)
        return Reading((*system_turn(fields), *user_turn(prompt)), response, flags + prompt_flags)


SHAPE = Completion()
