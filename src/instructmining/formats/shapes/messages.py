"""Chat messages: ``messages`` of ``role`` and ``content``, as chat APIs and TRL have them."""

from __future__ import annotations

from instructmining.formats.shapes.base import Fields, Reading, Shape
from instructmining.formats.shapes.conversation import keyed_by, read_conversation, turns_in


class Messages(Shape):
    """Turns with ``role`` and ``content``; the content is text or a list of parts."""

    name = "messages"
    order = 10
    wanted = "messages: a list of {role, content}"

    def fits(self, fields: Fields) -> bool:
        """Whether there is a list whose turns have a role."""
        return keyed_by(turns_in(fields) or (), "role")

    def read(self, fields: Fields) -> Reading:
        """Read the list of turns."""
        return read_conversation(fields)


SHAPE = Messages()
