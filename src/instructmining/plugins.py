"""What other installed packages add, found by their entry points when a registry is read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from instructmining.errors import InputError, first_line


@dataclass(frozen=True)
class Plugin:
    """One thing a distribution adds.

    Parameters
    ----------
    name : str
        Name of the entry point, by which users ask for it.
    distribution : str
        Package that has to be mended or uninstalled where it fails.
    value : object
        What the entry point names.
    """

    name: str
    distribution: str
    value: Any

    def refusal(self, why: str) -> InputError:
        """Return the error that names the plugin and its distribution."""
        return _refusal(self.name, self.distribution, why)


@cache
def plugins(group: str) -> tuple[Plugin, ...]:
    """Import what installed distributions add to a group, in order of name.

    Parameters
    ----------
    group : str
        Such as ``"instructmining.indicators"``.

    Raises
    ------
    InputError
        If one cannot be imported.
    """
    found = []
    for entry in sorted(entry_points(group=group), key=lambda one: one.name):
        distribution = entry.dist.name if entry.dist else "an unknown distribution"
        try:
            value = entry.load()
        except Exception as error:
            why = f"cannot be imported: {first_line(error)}"
            raise _refusal(entry.name, distribution, why) from error
        found.append(Plugin(entry.name, distribution, value))
    return tuple(found)


def _refusal(name: str, distribution: str, why: str) -> InputError:
    return InputError(f"plugin {name!r} of {distribution} {why}; mend or uninstall {distribution}")
