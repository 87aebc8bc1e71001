"""ShareGPT: ``conversations`` of ``from`` and ``value``."""

from __future__ import annotations

from instructmining.formats.shapes.base import Fields, Reading, Shape
from instructmining.formats.shapes.conversation import keyed_by, read_conversation, turns_in


class ShareGPT(Shape):
    """Turns with ``from`` (human, gpt, system, tool and their variants) and ``value``."""

    name = "sharegpt"
    order = 20
    wanted = "conversations: a list of {from, value}"

    def fits(self, fields: Fields) -> bool:
        """Whether there is a list whose turns say who they are from."""
        return keyed_by(turns_in(fields) or (), "from")

    def read(self, fields: Fields) -> Reading:
        """Read the list of turns."""
        return read_conversation(fields)


SHAPE = ShareGPT()
