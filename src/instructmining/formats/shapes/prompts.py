"""Prompts without a response, as files of questions to ask a model hold them."""

from __future__ import annotations

from instructmining.formats.shapes import alpaca, completion
from instructmining.formats.shapes.base import (
    Fields,
    Reading,
    Shape,
    as_list,
    first_of,
    system_turn,
)
from instructmining.formats.shapes.conversation import keyed_by, read_turns

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
        return first_of(fields, (*completion.PROMPT, ROUNDS)) is not None

    def read(self, fields: Fields) -> Reading:
        """Read what is asked as the shapes with a response read theirs."""
        if fields.get("instruction") is not None:
            return alpaca.SHAPE.read(fields)
        asked = first_of(fields, completion.PROMPT)
        messages = as_list(asked) or []
        if keyed_by(messages, "role"):
            return read_turns(messages, system_turn(fields))
        if asked is None:
            asked = next(iter(as_list(fields.get(ROUNDS)) or ()), None)
        return completion.SHAPE.read({**fields, completion.PROMPT[0]: asked})


PROMPTS = Prompts()
