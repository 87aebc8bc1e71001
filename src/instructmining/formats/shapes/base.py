"""The contract of shapes, and how single fields become text."""

from __future__ import annotations

import json
import math
import reprlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar

from instructmining.examples import Turn

Fields = Mapping[str, Any]
Text = tuple[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a shape finds in one record.

    Parameters
    ----------
    turns : tuple of Turn
        Everything before the response.
    response : str
        The last assistant turn, ``""`` if there is none.
    flags : tuple of str
        Codes of `instructmining.formats.FLAGS`.
    """

    turns: tuple[Turn, ...] = ()
    response: str = ""
    flags: tuple[str, ...] = ()


class Shape(ABC):
    """How the fields of a record are understood. Field names come in lower case.

    Attributes
    ----------
    name : str
        What ``--format`` calls it; a plugin's has the name of its entry point.
    order : int
        Shapes with a lower number are tried first, those of plugins after all of ours.
    wanted : str
        The fields it needs, for messages.
    """

    name: ClassVar[str]
    order: ClassVar[int]
    wanted: ClassVar[str]

    @abstractmethod
    def fits(self, fields: Fields) -> bool:
        """Whether the fields of a record have this shape."""

    @abstractmethod
    def read(self, fields: Fields) -> Reading:
        """Read a record, even one that does not fit: flags say what is wrong with it."""


def first_of(fields: Fields, names: Sequence[str]) -> Any:
    """Return the first field of `names` that is there and not null, else null."""
    return next((fields[name] for name in names if fields.get(name) is not None), None)


def response_of(fields: Fields, names: Sequence[str]) -> Text:
    """Return the text of the response field, known by any of `names`."""
    if not any(name in fields for name in names):
        return "", ("missing_response_field",)
    return response_text(first_of(fields, names))


def response_text(value: Any) -> Text:
    """Return a response as text; what is none is flagged, never raised."""
    flags: tuple[str, ...] = ()
    if isinstance(value, list) and any(isinstance(part, Mapping) for part in value):
        value, flags = joined_parts(value)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "", ("null_response",)
    if isinstance(value, Real) and not isinstance(value, bool):
        return str(value), ("coerced_response",)
    if not isinstance(value, str):
        return "", ("non_text_response",)
    return (value, flags) if value.strip() else ("", (*flags, "empty_response"))


def prompt_text(value: Any) -> Text:
    """Return a prompt field as text: null is empty, parts are joined, the rest is JSON."""
    if isinstance(value, str):
        return value, ()
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "", ()
    if isinstance(value, list) and any(isinstance(part, Mapping) for part in value):
        return joined_parts(value)
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError, RecursionError):  # what no JSON holds; only memory does
        text = reprlib.repr(value)
    return text, ("coerced_prompt",)


def joined_parts(parts: Sequence[Any]) -> Text:
    """Join the text parts of a message with newlines; others are left out and flagged."""
    texts: list[str] = []
    for part in parts:
        text = part.get("text") if isinstance(part, Mapping) else part
        if isinstance(text, str):
            texts.append(text)
    flags = ("non_text_part",) if len(texts) < len(parts) else ()
    return "\n".join(texts), flags


def as_list(value: Any) -> list[Any] | None:
    """Return a list; also one written as JSON into a text cell, as CSV files have it."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    return list(value) if isinstance(value, list | tuple) else None


def system_turn(fields: Fields) -> tuple[Turn, ...]:
    """Return the system turn that a record gives in a field of its own, if any."""
    value = first_of(fields, ("system", "system_prompt"))
    return (Turn("system", value),) if isinstance(value, str) and value.strip() else ()
