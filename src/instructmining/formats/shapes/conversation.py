"""Lists of turns, whatever their keys are called; used by several shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from instructmining.examples import Turn
from instructmining.formats.shapes.base import (
    Fields,
    Reading,
    as_list,
    first_of,
    prompt_text,
    response_text,
    system_turn,
)

FIELDS = ("messages", "conversations", "conversation")
_ROLE_KEYS = ("role", "from", "speaker")
_CONTENT_KEYS = ("content", "value", "text")
_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "ai": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "function_call": "assistant",
    "tool": "tool",
    "function": "tool",
    "function_response": "tool",
    "tool_response": "tool",
    "observation": "tool",
    "ipython": "tool",
}


def turns_in(fields: Fields) -> list[Any] | None:
    """Return the list of turns of a record, or null if it has none."""
    return as_list(first_of(fields, FIELDS))


def keyed_by(items: Sequence[Any], key: str) -> bool:
    """Whether the first turn names its role by `key`."""
    return bool(items) and isinstance(items[0], Mapping) and key in items[0]


def read_conversation(fields: Fields) -> Reading:
    """Read a record whose turns stand in one list."""
    items = turns_in(fields)
    if items is None:
        return Reading(flags=("missing_response_field",))
    return read_turns(items, system_turn(fields))


def read_turns(items: Sequence[Any], system: tuple[Turn, ...] = ()) -> Reading:
    """Take the last assistant turn as the response and what comes before as turns.

    Parameters
    ----------
    items : sequence
        Objects with a role and a content.
    system : tuple of Turn
        A system turn given elsewhere in the record; one in the list goes before it.
    """
    flags: list[str] = []
    roles = [_role(item, flags) for item in items]
    if "assistant" in roles:
        last = len(roles) - 1 - roles[::-1].index("assistant")
        response, found = response_text(_content(items[last]))
        flags.extend(found)
    else:
        last, response = len(roles), ""
        flags.append("no_assistant_turn")
    if last + 1 < len(roles):
        flags.append("trailing_turns")
    turns = list(() if "system" in roles[:last] else system)
    for role, item in zip(roles[:last], items[:last], strict=True):
        if role is None:
            continue
        text, found = prompt_text(_content(item))
        flags.extend(found)
        turns.append(Turn(role, text))
    return Reading(tuple(turns), response, tuple(flags))


def _role(item: Any, flags: list[str]) -> str | None:
    name = first_of(item, _ROLE_KEYS) if isinstance(item, Mapping) else None
    if not isinstance(name, str):
        flags.append("malformed_turn")
        return None
    role = _ROLES.get(name.strip().lower())
    if role is None:
        flags.append("unknown_role")
    return role or "user"


def _content(item: Mapping[str, Any]) -> Any:
    return first_of(item, _CONTENT_KEYS)
