"""Alpaca: ``instruction``, ``input``, ``output`` or ``response``; ``history``, ``system``."""

from __future__ import annotations

from typing import Any

from instructmining.examples import Turn
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

INPUT = ("input", "context")
RESPONSE = ("output", "response")


class Alpaca(Shape):
    """One instruction, its input on the next line, and a response.

    Earlier rounds may stand in ``history`` as pairs of question and answer. Dolly's
    ``context`` is read as ``input``.
    """

    name = "alpaca"
    order = 40
    wanted = "instruction, output or response; input, history and system if there are any"

    def fits(self, fields: Fields) -> bool:
        """Whether there are an instruction and a response."""
        return "instruction" in fields and any(name in fields for name in RESPONSE)

    def read(self, fields: Fields) -> Reading:
        """Read system, history, instruction with input, and response."""
        response, flags = response_of(fields, RESPONSE)
        earlier, history_flags = _history(fields.get("history"))
        instruction, instruction_flags = prompt_text(fields.get("instruction"))
        given, input_flags = prompt_text(first_of(fields, INPUT))
        turns = (*system_turn(fields), *earlier, *user_turn(instruction, given))
        return Reading(turns, response, flags + history_flags + instruction_flags + input_flags)


def user_turn(instruction: str, given: str = "") -> tuple[Turn, ...]:
    """Join an instruction and its input by one newline; none if both are blank."""
    if not given.strip():
        text = instruction
    elif not instruction.strip():
        text = given
    else:
        line = instruction.rstrip("\n")
        text = f"{line}\n{given}"
    return (Turn("user", text),) if text.strip() else ()


def _history(value: Any) -> tuple[tuple[Turn, ...], tuple[str, ...]]:
    if value is None or value == "":
        return (), ()
    pairs = as_list(value)
    if pairs is None:
        return (), ("malformed_turn",)
    turns: list[Turn] = []
    flags: tuple[str, ...] = ()
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            flags = ("malformed_turn",)
            continue
        for role, content in zip(("user", "assistant"), pair, strict=True):
            text, found = prompt_text(content)
            flags += found
            turns.append(Turn(role, text))
    return tuple(turns), flags


SHAPE = Alpaca()
