"""What other installed packages add, found by their entry points when somebody looks for it.

Who asks for a plugin by name gets an error where it cannot be used. Who does not is told once, by a
warning, that it is passed over, and goes on without.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache, cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from instructmining.errors import InputError, InstructMiningError, first_line


class PassedOver(UserWarning):
    """A plugin nobody asked for cannot be used, and was left out."""


@contextmanager
def blaming(thing: object) -> Iterator[None]:
    """Say in one line what code of another package failed at; our own faults pass through.

    Parameters
    ----------
    thing : object
        An indicator or a judge, whose method is called meanwhile.

    Raises
    ------
    InputError
        If it raises anything that is not meant for a user.
    """
    try:
        yield
    except InstructMiningError:
        raise
    except Exception as error:
        if is_ours(thing):
            raise
        why = f"{type(error).__name__}: {first_line(error)}"
        raise misbehaved(thing, f"fails ({why})") from error


def is_ours(thing: object) -> bool:
    """Whether an object is of a class of this package."""
    return type(thing).__module__.partition(".")[0] == "instructmining"


def misbehaved(thing: object, what: str) -> InputError:
    """Return the error of an object that does what it must not, named by its class."""
    named = f"{type(thing).__module__}.{type(thing).__qualname__}"
    return InputError(f"{named}: {what}; mend it, or leave out what it gives")


@dataclass(frozen=True)
class Plugin:
    """One thing a distribution adds; it is imported when its value is first read.

    Parameters
    ----------
    name : str
        Name of the entry point, by which users ask for it.
    distribution : str
        Package that has to be mended or uninstalled where it fails.
    entry : EntryPoint
        Where the value lies.
    """

    name: str
    distribution: str
    entry: EntryPoint

    @property
    def value(self) -> Any:
        """What the entry point names.

        Raises
        ------
        InputError
            If it cannot be imported.
        """
        value, error = self._imported
        if error is not None:
            raise self.refusal(f"cannot be imported: {first_line(error)}") from error
        return value

    @cached_property
    def _imported(self) -> tuple[Any, Exception | None]:
        # Failures are kept too: a module that cannot be imported would be run at every look.
        try:
            return self.entry.load(), None
        except Exception as error:  # noqa: BLE001 - strangers' code fails in any way it likes
            return None, error
        except SystemExit as ending:  # a script without a guard would end the command
            return None, RuntimeError(f"it ends the program ({ending.code})")

    def refusal(self, why: str) -> InputError:
        """Return the error that names the plugin and its distribution."""
        return InputError(
            f"plugin {self.name!r} of {self.distribution} {why}; mend or uninstall "
            f"{self.distribution}"
        )


@cache
def plugins(group: str) -> tuple[Plugin, ...]:
    """Return what installed distributions add to a group, in order of name; imports nothing.

    Parameters
    ----------
    group : str
        Such as ``"instructmining.indicators"``.
    """
    found = [
        Plugin(entry.name, entry.dist.name if entry.dist else "an unknown distribution", entry)
        for entry in entry_points(group=group)
    ]
    return tuple(sorted(found, key=lambda one: (one.name, one.distribution)))


def plugin_named(group: str, kind: str, name: str, own: Sequence[str] = ()) -> Plugin:
    """Return the plugin of that name.

    Parameters
    ----------
    group : str
        Such as ``"instructmining.judges"``.
    kind : str
        What messages call one of the group, such as ``"judge"``.
    name : str
        In any case.
    own : sequence of str
        Names that are known without plugins, for the message.

    Raises
    ------
    InputError
        If no distribution adds it, or two do.
    """
    found = [one for one in plugins(group) if one.name.lower() == name.lower()]
    if len(found) == 1:
        return found[0]
    if found:
        whose = " and ".join(one.distribution for one in found)
        raise InputError(f"{kind} {name!r} is added by {whose}; uninstall all but one")
    known = [*own, *dict.fromkeys(one.name for one in plugins(group))]
    if not known:
        raise InputError(f"{kind} {name!r} is not known; install a package that adds it")
    near = get_close_matches(name, known, n=1)
    guess = f"did you mean {near[0]}? Known: " if near else "choose from "
    raise InputError(f"{kind} {name!r} is not known; {guess}{', '.join(known)}")


def pass_over(refusal: InputError) -> None:
    """Warn of a plugin that nobody asked for; of each once, however often it is looked at."""
    _warn_once(str(refusal))


@cache
def _warn_once(refusal: str) -> None:
    warnings.warn(f"passed over: {refusal}", PassedOver, stacklevel=3)
