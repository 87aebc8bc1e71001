"""From records to examples: which shape a pool has, and how each record is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from instructmining.errors import InputError
from instructmining.examples import Turn
from instructmining.formats.columns import Columns
from instructmining.formats.container import Container, Record, is_object
from instructmining.formats.shapes import Reading, Shape, every_shape, shape_named

_SAMPLE = 256


@dataclass(frozen=True)
class Interpreter:
    """Reads every record of one pool.

    Parameters
    ----------
    shape : Shape
        The shape most of the pool has.
    columns : Columns
        Which columns the user named for which role.
    forced : bool
        Whether the user named the shape; if not, a record in another is read in that.
    others : tuple of Shape
        Shapes tried after all that a pool may have.
    """

    shape: Shape
    columns: Columns
    forced: bool
    others: tuple[Shape, ...] = ()

    def read(self, record: Record) -> Reading:
        """Return turns, response and flags of one record; never raises on its content."""
        if not is_object(record.value):
            codes = dict.fromkeys((*record.flags, "malformed_record"))
            return Reading(flags=tuple(codes))
        fields = self.columns.apply(record.value)
        shape, flags = self.shape, list(record.flags)
        if not self.forced and not shape.fits(fields):
            other = _fitting(fields, chain(every_shape(), self.others))
            if other is not None:
                shape = other
                flags.append("mixed_format")
        reading = shape.read(fields)
        flags.extend(reading.flags)
        turns = tuple(Turn(turn.role, _encodable(turn.content, flags)) for turn in reading.turns)
        response = _encodable(reading.response, flags)
        asked = any(turn.role == "user" and turn.content.strip() for turn in turns)
        if not asked and "no_prompt" not in flags:
            flags.append("empty_prompt")
        return Reading(turns, response, tuple(dict.fromkeys(flags)))


@dataclass
class _Sample:
    """What the first records of a pool look like."""

    records: int = 0
    undecodable: int = 0
    objects: int = 0
    problem: str = ""
    columns: dict[str, None] = field(default_factory=dict)
    votes: Counter[Shape] = field(default_factory=Counter)

    def add(self, record: Record, columns: Columns, shapes: Callable[[], Iterable[Shape]]) -> None:
        self.records += 1
        self.undecodable += "undecodable_text" in record.flags
        if not is_object(record.value):
            self.problem = self.problem or f"record {self.records}: {record.problem}"
            return
        self.objects += 1
        self.columns.update(dict.fromkeys(map(str, record.value)))
        shape = _fitting(columns.apply(record.value), shapes())
        if shape is not None:
            self.votes[shape] += 1

    @property
    def winner(self) -> Shape:
        """The shape of most records; of several the one that is tried first."""
        return min(self.votes, key=lambda shape: (-self.votes[shape], shape.order, shape.name))


def recognise(
    container: Container,
    format: str | None,
    mapping: Mapping[str, str] | None,
    others: tuple[Shape, ...] = (),
) -> Interpreter:
    """Find the shape of a pool from its first records.

    Parameters
    ----------
    container : Container
        The records.
    format, mapping
        Shape and columns the user named, if any.
    others : tuple of Shape
        Shapes tried after all that a pool may have.

    Raises
    ------
    InputError
        If the pool is empty, is not UTF-8, or no record has a shape that is known (or the one
        named).
    """
    columns = Columns.parse(mapping)
    named = shape_named(format) if format is not None else None

    def shapes() -> Iterable[Shape]:
        return chain(every_shape(), others) if named is None else (named,)

    sample = _Sample()
    with closing(container.records()) as records:
        for record in records:
            sample.add(record, columns, shapes)
            if sample.records >= _SAMPLE and sample.votes:
                break
    _check(sample, container, columns)
    if not sample.votes and columns.names_response and named is None:
        sample.votes[shape_named("completion")] += 1  # answers alone, where the user says so
    if not sample.votes:
        raise _no_shape(sample, container, named, others)
    return Interpreter(sample.winner, columns, named is not None, others)


def _check(sample: _Sample, container: Container, columns: Columns) -> None:
    if not sample.records:
        raise InputError(
            f"{container.label}: holds no records; at least one was wanted{container.hint}"
        )
    if 2 * sample.undecodable > sample.records:
        raise InputError(
            f"{container.label}: is not UTF-8 ({sample.undecodable} of the first "
            f"{sample.records} records cannot be decoded); "
            "convert it, for example: iconv -f LATIN1 -t UTF-8"
        )
    if not sample.objects:
        raise InputError(
            f"{container.label}: no record is an object with named fields "
            f"({sample.problem}); JSON objects were wanted{container.hint}"
        )
    absent = [name for name in columns.names if name not in sample.columns]
    if absent:
        raise InputError(
            f"{container.label}: has no column {absent[0]!r}; columns seen: "
            f"{_listed(sample.columns)}; mend --columns"
        )


def _no_shape(
    sample: _Sample, container: Container, named: Shape | None, others: tuple[Shape, ...]
) -> InputError:
    seen = f"columns seen: {_listed(sample.columns)}"
    if named is not None:
        return InputError(
            f"{container.label}: no record is in the format {named.name} ({named.wanted}); "
            f"{seen}; leave --format out or name the columns: --columns response=NAME"
        )
    known = ", ".join(shape.name for shape in chain(every_shape(), others))
    what = "prompt or a response" if others else "response"
    return InputError(
        f"{container.label}: no column holds a {what} in a format that is known ({known}); "
        f"{seen}; name it: --columns response=NAME,instruction=NAME{container.hint}"
    )


def _listed(columns: Mapping[str, None]) -> str:
    names = [name if len(name) <= 40 else f"{name[:37]}..." for name in columns]
    text = ", ".join(names[:12])
    return f"{text} and {len(names) - 12} more" if len(names) > 12 else text


def _fitting(fields: Mapping[str, Any], shapes: Iterable[Shape]) -> Shape | None:
    return next((shape for shape in shapes if shape.fits(fields)), None)


def _encodable(text: str, flags: list[str]) -> str:
    # Tokenizers and Parquet refuse lone surrogates, which JSON escapes can smuggle in.
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        flags.append("undecodable_text")
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
