"""What is compared with evaluation texts: words, and which of a row's texts they come from."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from instructmining.examples import Example

#: Shorter texts are too common to count as anything but equal prompts.
MIN_WORDS = 6
Kind = Literal["prompt", "response", "contained", "ngram", "similar", "embedding"]
Words = tuple[str, ...]

# Han and Kana write no spaces: without its own rule a whole sentence would be one word.
_IDEOGRAPHS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_IDEOGRAPHS}]|[^\W{_IDEOGRAPHS}]+")


@dataclass(frozen=True, slots=True)
class Overlap:
    """Why a row overlaps.

    Parameters
    ----------
    kind : {"prompt", "response", "contained", "ngram", "similar", "embedding"}
        Equal prompt, equal response, a whole short evaluation prompt inside the row, a
        shared run of words, nearly the shingles of an evaluation text, or nearly the
        embedding of an evaluation example.
    text : str
        The words of the evaluation text that matched, casefolded and joined by spaces; of an
        embedding the prompt of its example.
    """

    kind: Kind
    text: str


def prompt_of(example: Example) -> str:
    """Join the turns before the response, system turns left out.

    One stock sentence there would tie every row to every prompt.
    """
    return "\n".join(turn.content for turn in example.turns if turn.role != "system")


def user_turns(example: Example) -> Iterator[str]:
    """Yield what the user said at each turn of a conversation; of a single turn nothing."""
    for turn in example.turns if len(example.turns) > 1 else ():
        if turn.role == "user":
            yield turn.content


def split_words(text: str) -> list[str]:
    """Split a text into words, casefolded and without punctuation; every ideograph is one."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def grams(words: list[str], n: int) -> Iterator[Words]:
    """Yield every run of `n` words, in order."""
    return zip(*(words[start:] for start in range(n)), strict=False)
