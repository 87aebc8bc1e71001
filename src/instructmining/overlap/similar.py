"""Find rows that are nearly an evaluation text: most of their shingles are the same.

Two texts are as similar as the Jaccard index of their sets of shingles, runs of a few words.
That index is computed exactly, so nothing below the threshold is ever reported; MinHash only says
for which pairs. It comes from a library, and not from an index of shingles to texts, because
thousands of evaluation prompts may share one frame: each shingle of the frame would lead to all of
them, where sketches lead to the few that resemble the whole row.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter
from typing import Any

from instructmining.errors import InputError
from instructmining.examples import Example
from instructmining.overlap.texts import (
    MIN_WORDS,
    Overlap,
    Words,
    grams,
    prompt_of,
    split_words,
    user_turns,
)

#: Words of a shingle. With one word in twelve replaced there is no run of thirteen in common, and
#: 0.71 of all pairs of words, but 0.6 of the triples and 0.41 of runs of five: at a similarity of
#: 0.7 longer shingles find next to nothing that runs of words do not. Of a short question pairs
#: leave enough, at 0.7, if one word is added to seven or more, or replaced among eleven or more:
#: the highest mountain of another country is another question.
SHINGLE = 2
#: Least share of the pairs exactly at the threshold that MinHash proposes; of more similar pairs
#: it proposes more. This is so for ideal permutations, to which those of the library come near.
RECALL = 0.999
#: Below this, nearly every pair would have to be compared.
LEAST_SIMILARITY = 0.1

#: Permutations at most; how many there are follows from `RECALL`.
_PERMUTATIONS = 128
#: Shingles hashed at one time: some megabytes, however long the text.
_CHUNK = 4_096


def shingles(words: list[str]) -> set[Words]:
    """Return every run of `SHINGLE` words of a text, its two ends marked as words that are empty.

    Without the marks the last word would stand in one shingle and those before it in two, and
    it is the last one that tells many questions apart.
    """
    return set(grams(["", *words, ""], SHINGLE)) if words else set()


def jaccard(left: set[Words], right: set[Words]) -> float:
    """Return what two sets share of what they have together, from 0 to 1; 0 of empty sets."""
    shared = len(left & right)
    return shared / (len(left) + len(right) - shared) if shared else 0.0


def bands(similarity: float) -> tuple[int, int]:
    """Return the fewest bands, and the most rows each, that propose a share of `RECALL`.

    Pairs are proposed if all values of some band agree, which for one band happens with
    probability ``similarity ** rows``. More rows in a band propose fewer pairs in vain.
    """
    for rows in range(_PERMUTATIONS // 2, 0, -1):
        missed = 1.0
        for n in range(1, _PERMUTATIONS // rows + 1):
            missed *= 1 - similarity**rows
            if missed <= 1 - RECALL:
                return max(n, 2), rows  # the library wants two
    raise InputError(f"similarity {similarity:g}: wanted at least {LEAST_SIMILARITY}")


class SimilarIndex:
    """Evaluation texts by their shingles; make one with `SimilarIndex.build`.

    Takes some 20 kB for an evaluation text of a hundred words.

    Parameters
    ----------
    similarity : float
        Least Jaccard index of shingles that counts as overlap, from `LEAST_SIMILARITY` to 1.

    Raises
    ------
    InputError
        If what computes sketches is not installed.
    """

    def __init__(self, similarity: float) -> None:
        self.similarity = similarity
        self._sketches = _Sketches(similarity)
        # The words of each text, joined: its shingles are made anew for the few rows that need
        # them.
        self._texts: list[str] = []
        self._seen: set[str] = set()
        # Hashes hold no strings in memory. Two shingles of one hash let a row through to be
        # compared, and never stop one.
        self._known: set[int] = set()
        self._most = 0

    @classmethod
    def build(cls, eval_examples: Iterable[Example], similarity: float) -> SimilarIndex:
        """Index the prompts and references of `eval_examples`.

        Parameters
        ----------
        eval_examples : iterable of Example
            Every row of every evaluation file.
        similarity : float
            Least Jaccard index of shingles that counts as overlap.
        """
        index = cls(similarity)
        for example in eval_examples:
            index._add(split_words(prompt_of(example)))
            index._add(split_words(example.response))
        return index

    def find(self, example: Example) -> Overlap | None:
        """Return the most similar indexed text that is similar enough, or None.

        Notes
        -----
        The prompt, each user turn and the response are compared with the prompts and references
        of at least `MIN_WORDS` words, in shingles of `SHINGLE` words. Of equally similar ones
        the first counts.
        """
        texts = (prompt_of(example), *user_turns(example), example.response)
        found = filter(None, (self._nearest(split_words(text)) for text in texts))
        best = max(found, key=itemgetter(0), default=None)
        return None if best is None else Overlap("similar", best[1])

    def _add(self, words: list[str]) -> None:
        text = " ".join(words)
        if len(words) < MIN_WORDS or text in self._seen:
            return
        own = shingles(words)
        self._sketches.add(len(self._texts), own)
        self._seen.add(text)
        self._texts.append(text)
        self._known.update(map(hash, own))
        self._most = max(self._most, len(own))

    def _nearest(self, words: list[str]) -> tuple[float, str] | None:
        """Return the most similar text with its similarity, None if none is similar enough."""
        # A text with more than its share of shingles resembles none, however it goes on. These
        # two bounds are divided, not multiplied, so as to be rounded as the similarity itself is.
        beginning = set(grams(words[: 3 * self._most + SHINGLE], SHINGLE))
        if beginning and self._most / len(beginning) < self.similarity:
            return None
        # Nor does one of whose shingles too few stand in any text.
        own = shingles(words)
        known = sum(map(self._known.__contains__, map(hash, own)))
        if not known or known / len(own) < self.similarity:
            return None
        best: tuple[float, str] | None = None
        for place in sorted(self._sketches.alike(own)):
            text = self._texts[place]
            found = jaccard(own, shingles(text.split(" ")))
            if found >= self.similarity and (best is None or found > best[0]):
                best = found, text
        return best


class _Sketches:
    """MinHash sketches of sets in buckets, by the library `datasketch`."""

    def __init__(self, similarity: float) -> None:
        try:
            from datasketch import MinHash, MinHashLSH
        except ImportError as error:
            raise InputError(
                "--overlap-similarity needs datasketch, which is not installed; "
                "pip install 'instructmining[overlap]', or leave it out: "
                "runs of words are looked for without"
            ) from error
        n, rows = bands(similarity)
        self._blank: Any = MinHash(num_perm=n * rows)
        self._buckets: Any = MinHashLSH(num_perm=n * rows, params=(n, rows))

    def add(self, place: int, own: set[Words]) -> None:
        """Put a set into its buckets."""
        self._buckets.insert(place, self._sketch(own))

    def alike(self, own: set[Words]) -> list[int]:
        """Return the sets that share a bucket with this one, in no order."""
        found: list[int] = self._buckets.query(self._sketch(own))
        return found

    def _sketch(self, own: set[Words]) -> Any:
        sketch = self._blank.copy()
        encoded = [" ".join(one).encode() for one in own]
        for start in range(0, len(encoded), _CHUNK):
            sketch.update_batch(encoded[start : start + _CHUNK])
        return sketch
