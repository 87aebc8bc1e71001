"""Column names: which a role is known by, and those the user names instead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from instructmining.errors import InputError

#: Role to the column names it is known by, the canonical one first.
ROLES: Mapping[str, tuple[str, ...]] = {
    "instruction": ("instruction", "prompt", "question", "query"),
    "input": ("input", "context"),
    "response": ("response", "output", "completion", "answer"),
    "system": ("system", "system_prompt"),
    "history": ("history",),
    "messages": ("messages", "conversation", "conversations"),
    "instances": ("instances",),
}


@dataclass(frozen=True)
class Columns:
    """The user's choice of columns: role to column name."""

    chosen: Mapping[str, str]

    @classmethod
    def parse(cls, mapping: Mapping[str, str] | None) -> Columns:
        """Accept any known name of a role as key, such as ``output`` for ``response``.

        Raises
        ------
        InputError
            If a key names no role.
        """
        roles = {name: role for role, names in ROLES.items() for name in names}
        chosen: dict[str, str] = {}
        for key, column in (mapping or {}).items():
            role = roles.get(key.strip().lower())
            if role is None:
                near = get_close_matches(key, roles, n=1)
                guess = f"did you mean {near[0]}?" if near else f"choose from {', '.join(ROLES)}"
                raise InputError(f"columns: {key!r} is no role a column can have; {guess}")
            chosen[role] = column
        return cls(chosen)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns the user named."""
        return tuple(self.chosen.values())

    @property
    def names_response(self) -> bool:
        """Whether the user named the column of the response."""
        return "response" in self.chosen

    def apply(self, record: Mapping[Any, Any]) -> dict[str, Any]:
        """Return the fields in lower case, chosen columns under the name of their role."""
        fields = {str(name).strip().lower(): value for name, value in record.items()}
        if not self.chosen:
            return fields
        for role in self.chosen:
            for name in ROLES[role]:
                fields.pop(name, None)
        for role, column in self.chosen.items():
            if column in record:
                fields[role] = record[column]
        return fields
