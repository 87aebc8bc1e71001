"""Lexical diversity of the response: MTLD, one linear walk each way; many texts at once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np

from instructmining.errors import InputError
from instructmining.examples import Example
from instructmining.indicators._words import narrowed, numbered, repeats, words
from instructmining.indicators.base import Column, Indicator, register

__all__ = ["LexicalDiversity", "mtld", "words"]

#: Bytes of the texts whose words are numbered at one time, and of those walked together; a
#: text of more than so many characters is walked alone, as the last steps would be its own.
_NUMBERED = 1 << 17
_TOGETHER = 1 << 20
_LONG = 1 << 14


def mtld(
    tokens: Sequence[str],
    *,
    threshold: float = 0.720,
    inclusive: bool = False,
    min_factor: int = 0,
) -> float:
    """Return the measure of textual lexical diversity of a list of words.

    Words are read in order; when the type-token ratio of the running segment falls below
    the threshold a factor is complete and the segment starts anew. What is left over
    counts as the part of a factor it has covered. The result is words per factor,
    averaged over both reading directions.

    Parameters
    ----------
    tokens : sequence of str
        The words.
    threshold : float
        Type-token ratio that ends a factor, between 0 and 1.
    inclusive : bool
        Whether a ratio equal to the threshold ends a factor too, as in `lexicalrichness`.
    min_factor : int
        Fewest words of a whole factor; 10 in some implementations.

    Returns
    -------
    float
        Tokens per factor; the number of words if none repeats (the limit of the
        definition); NaN for no words.

    References
    ----------
    McCarthy and Jarvis (2010), Behavior Research Methods 42(2), 381-392.
    """
    if not tokens:
        return float("nan")
    ways: tuple[Iterable[str], Iterable[str]] = (tokens, reversed(tokens))
    return sum(_one_way(way, threshold, inclusive, min_factor) for way in ways) / 2


def _one_way(tokens: Iterable[str], threshold: float, inclusive: bool, min_factor: int) -> float:
    factors, start, end = 0.0, 0, 0
    types: set[str] = set()
    for end, token in enumerate(tokens, 1):
        if token not in types:
            types.add(token)
            # A new word raises the ratio; it ends only a factor that was too short before.
            if min_factor <= 1:
                continue
        ratio = len(types) / (end - start)
        below = ratio <= threshold if inclusive else ratio < threshold
        if below and end - start >= min_factor:
            factors += 1
            start = end
            types.clear()
    if end > start:
        factors += (1 - len(types) / (end - start)) / (1 - threshold)
    return end / factors if factors > 0 else float(end)


def _together(texts: Sequence[bytes], threshold: float, inclusive: bool) -> np.ndarray:
    """Return ``mtld(words(text))`` of narrowed texts, bit for bit, shape (n,)."""
    later, earlier, ends = _all_repeats(texts)
    sizes = np.diff(ends, prepend=0)
    # After the last text come all of them as their mirror images, which are read forwards.
    last = 2 * ends[-1] - 1
    before = np.full(last + 1, -1)
    before[later] = earlier
    before[last - earlier] = last - later
    both = np.concatenate([ends, last + 1 - (ends - sizes)[::-1]])
    factors = _factors(before, both, threshold, inclusive)
    with np.errstate(divide="ignore", invalid="ignore"):
        ways = [
            np.where(way > 0, sizes / way, sizes)
            for way in (factors[: len(texts)], factors[: len(texts) - 1 : -1])
        ]
    return np.where(sizes > 0, sum(ways) / 2, np.nan)


def _all_repeats(texts: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what `numbered` and `repeats` give for many texts: later, earlier, ends."""
    parts, n_words = [], 0
    # In parts, as arrays that fit into the cache are filled in half the time.
    for part in _parts(texts, _NUMBERED):
        numbers, ends = numbered(part)
        parts.append([n_words + places for places in (*repeats(numbers, ends), ends)])
        n_words += len(numbers)
    later, earlier, ends = map(np.concatenate, zip(*parts, strict=True))
    return later, earlier, ends


def _factors(before: np.ndarray, ends: np.ndarray, threshold: float, inclusive: bool) -> np.ndarray:
    """Count the factors of many texts, in each the same number of steps at a time.

    A ratio falls only at a word the segment holds already, so a step leads to the next word
    that repeats one of its text. The types of a segment are its words but for those.

    Parameters
    ----------
    before : ndarray of int64, shape (n_words,)
        Where each word stood last in its text; -1 if it did not.
    ends : ndarray of int64, shape (n,)
        Number of words up to the end of each text.
    threshold, inclusive
        As in `mtld`.

    Returns
    -------
    ndarray of float64, shape (n,)
    """
    # What lies at or below the threshold lies below the next number.
    limit = math.nextafter(threshold, 1.0) if inclusive else threshold
    places = np.flatnonzero(before >= 0)
    before = before[places]
    until = places + 1
    steps = np.searchsorted(places, ends)
    n_steps = np.diff(steps, prepend=0)
    # With the texts of most steps first, those under way are always the first n.
    order = np.argsort(-n_steps, kind="stable")
    step = (steps - n_steps)[order]
    start, end = np.concatenate([[0], ends[:-1]])[order], ends[order]
    repeated = np.zeros(len(ends), dtype=np.int64)
    factors = np.zeros(len(ends))
    done = np.searchsorted(np.sort(n_steps), np.arange(n_steps.max(initial=0)), side="right")
    for n in (len(ends) - done).tolist():
        here = until[step[:n]]
        repeated[:n] += before[step[:n]] >= start[:n]
        length = here - start[:n]
        (complete,) = ((length - repeated[:n]) / length < limit).nonzero()
        factors[complete] += 1
        start[complete] = here[complete]
        repeated[complete] = 0
        step[:n] += 1
    left = end > start
    length = (end - start)[left]
    factors[left] += (1 - (length - repeated[left]) / length) / (1 - threshold)
    in_order = np.empty(len(ends))
    in_order[order] = factors
    return in_order


@register("mtld")
@dataclass(frozen=True)
class LexicalDiversity(Indicator):
    """Measure of textual lexical diversity of the response.

    Columns: ``mtld``. Requires no model. Undefined where the response holds no word.
    Reference: McCarthy and Jarvis 2010; paper, section 2.

    Parameters
    ----------
    threshold : float
        Type-token ratio that ends a factor.
    inclusive : bool
        Whether a ratio equal to the threshold ends a factor too.
    min_factor : int
        Fewest words of a whole factor.
    """

    reads_turns: ClassVar[bool] = False

    threshold: float = 0.720
    inclusive: bool = False
    min_factor: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise InputError(f"MTLD threshold {self.threshold} came, one between 0 and 1 is wanted")

    @property
    def columns(self) -> tuple[Column, ...]:
        """The measure."""
        return (Column("mtld", "MTLD", "tokens per factor"),)

    def transform(self, examples: Sequence[Example], output: None) -> np.ndarray:
        """Return ``mtld``, shape (n, 1)."""
        texts = [example.response for example in examples]
        narrow = [
            None if self.min_factor > 1 or len(text) > _LONG else narrowed(text) for text in texts
        ]
        values = np.empty(len(texts))
        values[[text is None for text in narrow]] = [
            mtld(
                words(text),
                threshold=self.threshold,
                inclusive=self.inclusive,
                min_factor=self.min_factor,
            )
            for text, narrow_text in zip(texts, narrow, strict=True)
            if narrow_text is None
        ]
        values[[text is not None for text in narrow]] = [
            value
            for part in _parts([text for text in narrow if text is not None], _TOGETHER)
            for value in _together(part, self.threshold, self.inclusive)
        ]
        return values.reshape(-1, 1)


def _parts(texts: Sequence[bytes], size: int) -> Iterator[Sequence[bytes]]:
    """Cut texts into runs of about `size` bytes."""
    part = np.cumsum([len(text) for text in texts]) // size
    cuts = np.flatnonzero(np.diff(part)) + 1
    for begin, end in pairwise([0, *cuts.tolist(), len(texts)]):
        if begin < end:
            yield texts[begin:end]
