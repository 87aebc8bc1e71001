"""Find rows that repeat a piece of an evaluation prompt or of its reference, word for word."""

from __future__ import annotations

from collections.abc import Iterable

from instructmining.errors import ExperimentError
from instructmining.examples import Example, normalise
from instructmining.overlap.texts import (
    MIN_WORDS,
    Overlap,
    Words,
    grams,
    prompt_of,
    split_words,
    user_turns,
)

#: Length in words of a run of text that no two independent authors are likely to share.
NGRAM = 13


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
        self._anchors: set[Words] = set()
        self._ngrams: set[Words] = set()
        self._contained: dict[Words, list[Words]] = {}
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
        prompt, response = split_words(prompt_of(example)), split_words(example.response)
        key = _key(prompt, prompt_of(example))
        if key in self._prompts:
            return Overlap("prompt", key)
        for turn in user_turns(example):
            if (key := _key(split_words(turn), turn)) in self._prompts:
                return Overlap("prompt", key)
        if len(response) >= MIN_WORDS and (key := " ".join(response)) in self._responses:
            return Overlap("response", key)
        return self._find_run(prompt) or self._find_run(response)

    def _add(self, example: Example) -> None:
        prompt, response = split_words(prompt_of(example)), split_words(example.response)
        if key := _key(prompt, prompt_of(example)):
            self._prompts.add(key)
        if len(response) >= MIN_WORDS:
            self._responses.add(" ".join(response))
        if MIN_WORDS <= len(prompt) < self.n:
            start = tuple(prompt[: self._anchor])
            self._anchors.add(start)
            self._contained.setdefault(start, []).append(tuple(prompt))
        for words in (prompt, response):
            if len(words) >= self.n:
                self._anchors.update(grams(words, self._anchor))
                self._ngrams.update(grams(words, self.n))

    def _find_run(self, words: list[str]) -> Overlap | None:
        # Almost every row ends here: a shared long run implies a shared short one.
        if self._anchors.isdisjoint(grams(words, self._anchor)):
            return None
        for gram in grams(words, self.n):
            if gram in self._ngrams:
                return Overlap("ngram", " ".join(gram))
        for start, gram in enumerate(grams(words, self._anchor)):
            for whole in self._contained.get(gram, ()):
                if tuple(words[start : start + len(whole)]) == whole:
                    return Overlap("contained", " ".join(whole))
        return None


def _key(words: list[str], text: str) -> str:
    # A prompt of symbols alone has no words; its characters still identify it.
    return " ".join(words) or normalise(text)
