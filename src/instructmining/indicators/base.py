"""What an indicator is, and the registry that finds them.

A new indicator is one new file in this folder: a frozen dataclass that derives
`Indicator` and is decorated with `register`. No list is edited; the folder is scanned.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, TypeVar

import numpy as np

from instructmining.errors import InputError, first_line
from instructmining.examples import Example
from instructmining.plugins import Plugin, blaming, is_ours, misbehaved, pass_over, plugins


@dataclass(frozen=True, slots=True)
class Column:
    """One column an indicator fills.

    Parameters
    ----------
    name : str
        Name in the score table.
    symbol : str
        Symbol in the paper, or the field's usual one.
    unit : str
        Unit of the values.
    """

    name: str
    symbol: str
    unit: str


@dataclass(frozen=True, slots=True)
class Need:
    """The pass an indicator reads.

    Parameters
    ----------
    kind : str
        ``"tokens"``, ``"causal"``, ``"encoder"``, ``"reward"`` or ``"evaluator"``.
    options : frozenset of str
        Extra outputs wanted of it, such as ``"alone"`` or ``"states:12"``.
    """

    kind: str
    options: frozenset[str] = frozenset()


class Indicator:
    """A readout: from examples alone, or from what a pass produced, to float columns.

    Subclasses set `name`, `version`, `columns` and, if they read a model, `needs`, and
    implement `transform`. Fields of the dataclass are parameters that change values.
    """

    name: ClassVar[str]
    #: Raised whenever the values change for the same input.
    version: ClassVar[int] = 1
    needs: ClassVar[Need | None] = None
    #: Whether values depend on other rows; such indicators derive `PoolIndicator`.
    pool_dependent: ClassVar[bool] = False
    #: Whether, without a pass, the turns are read; if not, they are not sent to workers.
    reads_turns: ClassVar[bool] = True
    #: Whether it fills a column only where no model was named for another that does.
    stands_in: ClassVar[bool] = False

    @classmethod
    def family(cls) -> list[Indicator]:
        """Return those that are found by a column's name, with their default parameters."""
        return [cls()]

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns filled, in order."""
        raise NotImplementedError

    @property
    def label(self) -> str:
        """What messages call its columns."""
        return " ".join(column.name for column in self.columns)

    def transform(self, examples: Sequence[Example], output: Any) -> np.ndarray:
        """Return values for a batch.

        Parameters
        ----------
        examples : sequence of Example
            `n` examples, each with a response. Empty for an indicator that reads a pass
            of a model: texts are not held while it runs.
        output : object
            What the pass in `needs` gave for them; None without one.

        Returns
        -------
        ndarray of float64, shape (n, len(columns))
            NaN where a value is undefined.
        """
        raise NotImplementedError

    def values(self, examples: Sequence[Example], output: Any) -> np.ndarray:
        """Return what `transform` gives, once it is seen to be what it should.

        Raises
        ------
        InputError
            If an indicator of another package fails, or gives values of another shape or kind.
        """
        with blaming(self):
            found = self.transform(examples, output)
        if is_ours(self):
            return found
        wanted = (len(examples) if output is None else len(found), len(self.columns))
        if not isinstance(found, np.ndarray) or found.shape != wanted or found.dtype.kind != "f":
            came = f"{getattr(found, 'dtype', type(found).__name__)}"
            raise misbehaved(
                self, f"gave {came} of shape {np.shape(found)}, wanted floats of shape {wanted}"
            )
        return found

    def definition(self, of_pass: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the values depend on, as flat JSON: own parameters and the pass's."""
        own = {own.name: getattr(self, own.name) for own in fields(self)}  # type: ignore[arg-type]
        return {"indicator": self.name, "version": self.version, **own, **of_pass}


class PoolIndicator(Indicator):
    """An indicator whose values depend on a reference set of other rows.

    Its `transform_pool` is called once, with everything, after its pass has run.
    """

    pool_dependent: ClassVar[bool] = True

    def transform_pool(
        self, texts: Sequence[str], output: np.ndarray, reference: Reference
    ) -> np.ndarray:
        """Return values of shape (len(texts), len(columns)) given a reference set."""
        raise NotImplementedError

    def compare(self, texts: Sequence[str], output: np.ndarray, reference: Reference) -> Compared:
        """Return the values of `transform_pool` and how they came about."""
        return Compared(self.transform_pool(texts, output, reference))


@dataclass(frozen=True)
class Compared:
    """Values that depend on a reference set, and how they came about.

    Parameters
    ----------
    values : ndarray of float64, shape (n, n_columns)
        NaN where a value is undefined.
    definition : mapping
        What to add to the columns' definition: empty if it was computed as defined.
    recorded : mapping
        Facts about the search, for the score table.
    """

    values: np.ndarray
    definition: Mapping[str, Any] = field(default_factory=dict)
    recorded: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Reference:
    """The rows a pool-dependent indicator compares with.

    Parameters
    ----------
    texts : sequence of str
        One key per row; rows with the same key hold the same text.
    output : ndarray, shape (m, d)
        What the pass gave for them.
    kind : str
        ``"sample"``, ``"pool"`` or ``"file"``: part of the definition.
    """

    texts: Sequence[str]
    output: np.ndarray
    kind: str


IndicatorT = TypeVar("IndicatorT", bound=type[Indicator])
#: Builds indicators from names such as ``"nll"`` or ``"knn_6"``.
_REGISTRY: dict[str, type[Indicator]] = {}


def register(name: str) -> Callable[[IndicatorT], IndicatorT]:
    """Enter a class into the registry under `name`; a name taken twice is an error."""

    def enter(cls: IndicatorT) -> IndicatorT:
        if name in _REGISTRY:
            raise ValueError(f"two indicators are called {name!r}")
        cls.name = name
        _REGISTRY[name] = cls
        return cls

    return enter


def registered() -> dict[str, type[Indicator]]:
    """Return every indicator of this folder, then of plugins, each by name.

    A plugin that cannot be used is passed over with a warning.
    """
    return _registered()[0]


def _registered() -> tuple[dict[str, type[Indicator]], list[InputError]]:
    """Return the registry, and why plugins are missing from it."""
    package = importlib.import_module("instructmining.indicators")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    every = dict(sorted(_REGISTRY.items()))
    refused = []
    for plugin in plugins("instructmining.indicators"):
        try:
            every[plugin.name] = _accepted(plugin, every)
        except InputError as refusal:
            pass_over(refusal)
            refused.append(refusal)
    return every, refused


def _accepted(plugin: Plugin, before: Mapping[str, type[Indicator]]) -> type[Indicator]:
    """Return the class of a plugin; it may take the place of none that came before."""
    cls = plugin.value
    if not (isinstance(cls, type) and issubclass(cls, Indicator)):
        raise plugin.refusal("is not a class that derives Indicator")
    if plugin.name in before:
        raise plugin.refusal("has the name of another indicator")
    try:
        columns = _filled(cls)
    except Exception as error:
        raise plugin.refusal(f"does not name its columns: {first_line(error)}") from error
    taken = sorted(name for name in columns if _is_filled(name, before))
    if taken:
        raise plugin.refusal(f"fills a column that another fills, {', '.join(taken)}")
    cls.name = plugin.name
    return cls


def _filled(cls: type[Indicator]) -> set[str]:
    return {column.name for indicator in cls.family() for column in indicator.columns}


def _is_filled(column: str, by: Mapping[str, type[Indicator]]) -> bool:
    return any(column in _filled(cls) or _parsed(cls, column) for cls in by.values())


def _parsed(cls: type[Indicator], column: str) -> Indicator | None:
    """Return the indicator that a class makes of a column's name, ``knn_10`` say, if it does."""
    try:
        found: Indicator | None = getattr(cls, "parse", lambda _: None)(column)
    except Exception:  # noqa: BLE001 - a plugin that chokes on a name does not know it
        return None
    return found


def by_column(without: Collection[str] = ()) -> dict[str, Indicator]:
    """Return the default indicator of every column name.

    Parameters
    ----------
    without : collection of str
        Kinds of passes for which there is no model: what reads one gives way to an
        indicator that stands in for it, if there is one.
    """
    found: dict[str, Indicator] = {}
    every = [indicator for cls in registered().values() for indicator in cls.family()]
    for indicator in sorted(every, key=lambda one: one.stands_in):
        for column in indicator.columns:
            before = found.get(column.name)
            if before is None or (before.needs and before.needs.kind in without):
                found[column.name] = indicator
    return found


def indicator_for(column: str, without: Collection[str] = ()) -> Indicator:
    """Return the indicator that fills `column`.

    Parameters
    ----------
    column : str
        Name of the column.
    without : collection of str
        As for `by_column`.

    Raises
    ------
    InputError
        If none does; the message names the nearest column, and plugins passed over.
    """
    from difflib import get_close_matches

    known = by_column(without)
    if column in known:
        return known[column]
    every, refused = _registered()
    for cls in every.values():
        parsed = _parsed(cls, column)
        if parsed is not None:
            return parsed
    near = get_close_matches(column, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "choose one of these."
    why = "".join(f"; passed over: {refusal}" for refusal in refused)
    raise InputError(
        f"no indicator fills a column {column!r}; {hint} Known: {', '.join(known)}{why}"
    )


def indicators_for(columns: Sequence[str]) -> list[Indicator]:
    """Return the indicators that fill `columns`, each once, in order of first mention."""
    return list(dict.fromkeys(indicator_for(column) for column in columns))
