"""Find training rows that overlap an evaluation prompt or its reference.

A rule is fitted on evaluation losses, so a training row that repeats an evaluation
prompt, or a long piece of it, would make memory look like quality.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from instructmining.errors import ExperimentError
from instructmining.examples import Example, normalise

#: Length in words of a run of text that no two independent authors are likely to share.
NGRAM = 13
#: Shorter texts are too common to count when merely contained in a row.
MIN_WORDS = 6
_Kind = Literal["prompt", "response", "contained", "ngram"]
_Words = tuple[str, ...]

# Han and Kana write no spaces: without its own rule a whole sentence would be one word.
_IDEOGRAPHS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_IDEOGRAPHS}]|[^\W{_IDEOGRAPHS}]+")


@dataclass(frozen=True, slots=True)
class Overlap:
    """Why a row overlaps.

    Parameters
    ----------
    kind : {"prompt", "response", "contained", "ngram"}
        Equal prompt, equal response, a whole short evaluation prompt inside the row, or
        a shared run of words.
    text : str
        The matched words, casefolded and joined by spaces.
    """

    kind: _Kind
    text: str


class OverlapIndex:
    """Evaluation texts, indexed for fast look-up; make one with `OverlapIndex.build`.

    Parameters
    ----------
    n : int
        Number of words in a run that counts as overlap.
    """

    def __init__(self, n: int = NGRAM) -> None:
        if n < 1:
            raise ExperimentError(f"word n-gram of {n} for overlap; give at least 1")
        self.n = n
        self._anchor = min(n, MIN_WORDS)
        self._anchors: set[_Words] = set()
        self._ngrams: set[_Words] = set()
        self._contained: dict[_Words, list[_Words]] = {}
        self._prompts: set[str] = set()
        self._responses: set[str] = set()

    @classmethod
    def build(cls, eval_examples: Iterable[Example], n: int = NGRAM) -> OverlapIndex:
        """Index the prompts and references of `eval_examples`.

        Parameters
        ----------
        eval_examples : iterable of Example
            Every row of every evaluation file, whatever part it belongs to.
        n : int
            Number of words in a run that counts as overlap.
        """
        index = cls(n)
        for example in eval_examples:
            index._add(example)
        return index

    def find(self, example: Example) -> Overlap | None:
        """Return the first overlap of `example` with the indexed texts, or None.

        Notes
        -----
        A row overlaps if its prompt, or one of its user turns, equals an evaluation
        prompt; if its response equals a reference of at least `MIN_WORDS` words (below
        that it is an answer such as "Yes" or "Positive"); if its prompt or response
        contains a whole evaluation prompt of `MIN_WORDS` to `n` - 1 words; or if either
        shares a run of `n` words with an evaluation prompt or reference. Words are
        compared casefolded and without punctuation. System turns do not count, since
        one stock sentence there would tie every row to every prompt.
        """
        prompt, response = _words(_prompt(example)), _words(example.response)
        key = _key(prompt, _prompt(example))
        if key in self._prompts:
            return Overlap("prompt", key)
        for turn in example.turns if len(example.turns) > 1 else ():
            if turn.role == "user" and _key(_words(turn.content), turn.content) in self._prompts:
                return Overlap("prompt", _key(_words(turn.content), turn.content))
        if len(response) >= MIN_WORDS and (key := " ".join(response)) in self._responses:
            return Overlap("response", key)
        return self._find_run(prompt) or self._find_run(response)

    def _add(self, example: Example) -> None:
        prompt, response = _words(_prompt(example)), _words(example.response)
        if key := _key(prompt, _prompt(example)):
            self._prompts.add(key)
        if len(response) >= MIN_WORDS:
            self._responses.add(" ".join(response))
        if MIN_WORDS <= len(prompt) < self.n:
            start = tuple(prompt[: self._anchor])
            self._anchors.add(start)
            self._contained.setdefault(start, []).append(tuple(prompt))
        for words in (prompt, response):
            if len(words) >= self.n:
                self._anchors.update(_grams(words, self._anchor))
                self._ngrams.update(_grams(words, self.n))

    def _find_run(self, words: list[str]) -> Overlap | None:
        # Almost every row ends here: a shared long run implies a shared short one.
        if self._anchors.isdisjoint(_grams(words, self._anchor)):
            return None
        for gram in _grams(words, self.n):
            if gram in self._ngrams:
                return Overlap("ngram", " ".join(gram))
        for start, gram in enumerate(_grams(words, self._anchor)):
            for whole in self._contained.get(gram, ()):
                if tuple(words[start : start + len(whole)]) == whole:
                    return Overlap("contained", " ".join(whole))
        return None


def _prompt(example: Example) -> str:
    return "\n".join(turn.content for turn in example.turns if turn.role != "system")


def _words(text: str) -> list[str]:
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def _key(words: list[str], text: str) -> str:
    # A prompt of symbols alone has no words; its characters still identify it.
    return " ".join(words) or normalise(text)


def _grams(words: list[str], n: int) -> Iterator[_Words]:
    return zip(*(words[start:] for start in range(n)), strict=False)
