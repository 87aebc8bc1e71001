"""The words of a text; and those of many texts at once, as numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from itertools import count
from unicodedata import category

import numpy as np

#: Scripts written without spaces: each character counts as a word of its own.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]"
)
#: What stands in a word between two letters or digits.
_JOINTS = "'’-"
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
    return re.compile(rf"{run}(?:[{_JOINTS}]{run})*")


def words(text: str) -> list[str]:
    """Split `text` into casefolded words; unspaced scripts character by character."""
    if text.isascii():
        # The same words as below, three times as fast.
        text = text.translate(_ASCII)
        return (_LOOSE.sub(" ", text) if "'" in text or "-" in text else text).split()
    spaced = _UNSPACED.sub(r" \g<0> ", text) if _UNSPACED.search(text) else text
    return [word.casefold() for word in _word().findall(spaced)]


#: A character set of one byte each that holds most texts in Latin letters.
_NARROW = "cp1252"
#: Its characters as they are read: letters in lower case, what stands in no word as a space.
_READ = "".join(
    c.lower() if c.isalnum() or c in f"_{_JOINTS}" else " "
    for c in bytes(range(256)).decode(_NARROW, "replace")
).encode(_NARROW)
#: Keeps the first n of eight bytes that were read as one little-endian number.
_FIRST = np.array([(1 << 8 * n) - 1 for n in range(9)], dtype=np.uint64)
#: Odd, its bits well mixed: 2**64 over the golden ratio.
_MIX = np.uint64(0x9E3779B97F4A7C15)


def narrowed(text: str) -> bytes | None:
    """Return what `numbered` reads; None for a text with characters of other scripts."""
    if text.isascii():
        return text.encode("ascii")
    try:
        # The one character here whose casefolded form has two.
        return text.replace("ß", "ss").encode(_NARROW)
    except UnicodeEncodeError:
        return None


def numbered(texts: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Turn the words of texts into numbers, faster than into strings.

    Parameters
    ----------
    texts : sequence of bytes
        `n` texts, as `narrowed` gives them.

    Returns
    -------
    numbers : ndarray of uint64, shape (n_words, 2)
        Two for each word, one text after the other. Those of two words of a text are the
        same if, and only if, `words` gives the same string for both.
    ends : ndarray of int64, shape (n,)
        Number of words up to the end of each text.
    """
    # Sixteen bytes are read from where a word begins, be it the last letter.
    read = (b" " + b" ".join(texts) + b" " * 16).translate(_READ)
    begin, end = _bounds(np.frombuffer(read, dtype=np.uint8))
    size = end - begin
    eight = np.ndarray(len(read) - 7, dtype="<u8", buffer=read, strides=(1,))
    numbers = np.empty((len(begin), 2), dtype=np.uint64)
    numbers[:, 0] = eight[begin] & _FIRST[np.minimum(size, 8)]
    numbers[:, 1] = eight[begin + 8] & _FIRST[np.clip(size - 8, 0, 8)]
    # A longer word is numbered by its first appearance; no other begins with a byte of 0.
    longer = np.flatnonzero(size > 16)
    spans = map(slice, begin[longer].tolist(), end[longer].tolist())
    first: dict[bytes, int] = {}
    appeared = list(map(first.setdefault, map(read.__getitem__, spans), count()))
    numbers[longer, 0] = 0
    numbers[longer, 1] = appeared
    return numbers, np.searchsorted(begin, np.cumsum([len(text) + 1 for text in texts]))


def _bounds(read: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where words begin and end in bytes that begin and end with a space."""
    joint = np.zeros(len(read), dtype=bool)
    for byte in _JOINTS.encode(_NARROW):
        joint |= read == byte
    letter = (read != ord(" ")) & ~joint
    inside = letter.copy()
    inside[1:-1] |= joint[1:-1] & letter[:-2] & letter[2:]
    edges = np.flatnonzero(inside[1:] != inside[:-1]) + 1
    return edges[::2], edges[1::2]


def repeats(numbers: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the words that stood in their text before.

    Parameters
    ----------
    numbers, ends : ndarray
        As `numbered` gives them.

    Returns
    -------
    later, earlier : ndarray of int64, shape (n_repeats,)
        Places of such words, and of the same words when they last stood there.
    """
    first, second = numbers.T
    # Equal words are brought together, in the order of their places, by one sort of a hash
    # above the place: three times as fast as a stable sort of the words.
    bits = len(first).bit_length()
    shift = np.uint64(bits)
    mixed = ((first * _MIX ^ second) * _MIX) >> shift
    placed = np.sort(mixed << shift | np.arange(len(first), dtype=np.uint64))
    order = (placed & np.uint64((1 << bits) - 1)).astype(np.int64)
    same = _same_as_next(first[order]) & _same_as_next(second[order])
    if np.any(~same & _same_as_next(placed >> shift)):
        # Different words that share a hash may stand in turn.
        order = np.lexsort((second, first))
        same = _same_as_next(first[order]) & _same_as_next(second[order])
    begins = np.repeat(np.concatenate([[0], ends[:-1]]), np.diff(ends, prepend=0))
    earlier, later = order[:-1], order[1:]
    same &= earlier >= begins[later]
    return later[same], earlier[same]


def _same_as_next(values: np.ndarray) -> np.ndarray:
    same: np.ndarray = values[:-1] == values[1:]
    return same
