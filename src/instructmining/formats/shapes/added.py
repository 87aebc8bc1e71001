"""Shapes that other packages add, tried after our own and kept from harming other pools."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import ClassVar

from instructmining.errors import InputError, first_line
from instructmining.formats.flags import FLAGS
from instructmining.formats.shapes.base import Fields, Reading, Shape
from instructmining.plugins import Plugin, pass_over, plugin_named, plugins

GROUP = "instructmining.formats"


@dataclass(frozen=True, eq=False)
class AddedShape(Shape):
    """The shape of a plugin, under the name of its entry point.

    Parameters
    ----------
    plugin : Plugin
        Whose it is.
    shape : Shape
        What it made.
    """

    #: After all of ours.
    order: ClassVar[int] = 1_000
    plugin: Plugin
    shape: Shape

    @property
    def name(self) -> str:  # type: ignore[override]
        """Name of the entry point."""
        return self.plugin.name

    @property
    def wanted(self) -> str:  # type: ignore[override]
        """The fields it needs."""
        return self.shape.wanted

    def fits(self, fields: Fields) -> bool:
        """Whether the plugin says so; one that fails on other people's records is passed over."""
        try:
            return bool(self.shape.fits(fields))
        except Exception as error:  # noqa: BLE001 - strangers' code fails in any way it likes
            pass_over(self._failed(error))
            return False

    def read(self, fields: Fields) -> Reading:
        """Read a record as the plugin does.

        Raises
        ------
        InputError
            If it raises, or gives what is no reading.
        """
        try:
            reading = self.shape.read(fields)
        except Exception as error:
            raise self._failed(error) from error
        if not isinstance(reading, Reading) or not set(reading.flags) <= set(FLAGS):
            raise self.plugin.refusal("gives what is no reading, or a flag that is not known")
        return reading

    def _failed(self, error: Exception) -> InputError:
        why = f"{type(error).__name__}: {first_line(error)}"
        return self.plugin.refusal(f"fails on a record ({why})")


@cache
def added_shapes(taken: tuple[str, ...]) -> tuple[Shape, ...]:
    """Return the shapes of plugins in order of name; what cannot be used is passed over.

    Parameters
    ----------
    taken : tuple of str
        Names of our own shapes.
    """
    found: dict[str, Shape] = {}
    for plugin in plugins(GROUP):
        try:
            if plugin.name.lower() in (*taken, *map(str.lower, found)):
                raise plugin.refusal("has the name of another format")
            found[plugin.name] = _made(plugin)
        except InputError as refusal:
            pass_over(refusal)
    return tuple(found.values())


def shape_added(name: str, own: tuple[str, ...]) -> Shape:
    """Return the shape of a plugin that is asked for by name.

    Parameters
    ----------
    name : str
        In any case.
    own : tuple of str
        Names of our own shapes, for the message.

    Raises
    ------
    InputError
        If no distribution adds it, or it cannot be used.
    """
    return _made(plugin_named(GROUP, "format", name, own))


def _made(plugin: Plugin) -> AddedShape:
    cls = plugin.value
    if not (isinstance(cls, type) and issubclass(cls, Shape)):
        raise plugin.refusal("is not a class that derives Shape")
    try:
        made = AddedShape(plugin, cls())
        if not isinstance(made.wanted, str):
            raise TypeError("wanted is no text")
    except Exception as error:
        raise plugin.refusal(f"cannot be made: {first_line(error)}") from error
    return made
