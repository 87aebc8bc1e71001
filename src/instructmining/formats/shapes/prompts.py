"""Prompts without a response, as files of questions to ask a model hold them."""

from __future__ import annotations

from instructmining.examples import Turn
from instructmining.formats.shapes.alpaca import INPUT, user_turn
from instructmining.formats.shapes.base import (
    Fields,
    Reading,
    Shape,
    as_list,
    first_of,
    prompt_text,
    system_turn,
)
from instructmining.formats.shapes.conversation import keyed_by, read_turns

ASKED = ("prompt", "question", "query", "instruction", "input")
#: Of MT-bench: the questions of several rounds.
ROUNDS = "turns"


class Prompts(Shape):
    """``instruction`` with its ``input``, ``prompt``, ``question``, ``query``, or ``turns``.

    Of several rounds (MT-bench) the first is read: a later one needs the answer to it. Not among
    the shapes of a pool, whose rows have responses (`formats.open_prompts`).
    """

    name = "prompts"
    order = 2_000
    wanted = "instruction, prompt, question, query or turns"

    def fits(self, fields: Fields) -> bool:
        """Whether anything is asked."""
        return first_of(fields, (*ASKED, ROUNDS)) is not None

    def read(self, fields: Fields) -> Reading:
        """Read system and prompt."""
        if fields.get("instruction") is not None:
            texts = [prompt_text(fields["instruction"]), prompt_text(first_of(fields, INPUT))]
            return _reading(fields, user_turn(*(text for text, _ in texts)), *texts)
        asked = first_of(fields, ASKED)
        messages = as_list(asked) or []
        if keyed_by(messages, "role"):
            return read_turns(messages, system_turn(fields))
        if asked is None:
            asked = next(iter(as_list(fields.get(ROUNDS)) or ()), None)
        text = prompt_text(asked)
        return _reading(fields, user_turn(text[0]), text)


def _reading(
    fields: Fields, turns: tuple[Turn, ...], *texts: tuple[str, tuple[str, ...]]
) -> Reading:
    flags = [flag for _, found in texts for flag in found]
    return Reading((*system_turn(fields), *turns), "", ("missing_response_field", *flags))


PROMPTS = Prompts()
