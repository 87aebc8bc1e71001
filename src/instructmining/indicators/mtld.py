"""Lexical diversity of the response: MTLD, in one linear walk each way."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import ClassVar
from unicodedata import category

import numpy as np

from instructmining.errors import InputError
from instructmining.examples import Example
from instructmining.indicators.base import Column, Indicator, register

#: Scripts written without spaces: each character counts as a word of its own.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]"
)


#: ASCII as it is read: letters in lower case, what never stands in a word as a space.
_ASCII = "".join(c.lower() if c.isalnum() or c in "_'-" else " " for c in map(chr, range(128)))
#: An apostrophe or hyphen without a letter or digit on both sides.
_LOOSE = re.compile(r"['\-](?:(?![a-z0-9_])|(?<![a-z0-9_]['\-]))")


@cache
def _word() -> re.Pattern[str]:
    """Match runs of letters and digits, with apostrophes and hyphens inside a word."""
    # Vowel signs and accents that follow their letter are no word characters to `re`.
    marks = "".join(c for c in map(chr, range(0x10000)) if category(c).startswith("M"))
    run = rf"\w[\w{marks}]*"
    return re.compile(rf"{run}(?:['’\-]{run})*")


def words(text: str) -> list[str]:
    """Split `text` into casefolded words; unspaced scripts character by character."""
    if text.isascii():
        # The same words as below, three times as fast.
        text = text.translate(_ASCII)
        return (_LOOSE.sub(" ", text) if "'" in text or "-" in text else text).split()
    spaced = _UNSPACED.sub(r" \g<0> ", text) if _UNSPACED.search(text) else text
    return [word.casefold() for word in _word().findall(spaced)]


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
        values = [
            mtld(
                words(example.response),
                threshold=self.threshold,
                inclusive=self.inclusive,
                min_factor=self.min_factor,
            )
            for example in examples
        ]
        return np.asarray(values, dtype=np.float64).reshape(-1, 1)
