"""Find rows that are nearly an evaluation text: most of their shingles are the same.

Two texts are as similar as the Jaccard index of their sets of shingles, runs of a few words.
That index is computed exactly, so nothing below the threshold is ever reported; MinHash only says
for which pairs. It comes from a library, and not from an index of shingles to texts, because
thousands of evaluation prompts may share one frame: each shingle of the frame would lead to all of
them, where sketches lead to the few that resemble the whole row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
from instructmining.overlap.words import NGRAM

#: Words of a shingle, of an evaluation text that is long enough for a run of `NGRAM` words.
SHINGLE = 5
#: Of a shorter one. It has few shingles, and with longer ones a single word would change most of
#: them: one word put into a question of nine leaves 0.7 of its pairs, and one replaced within a
#: question of up to twelve, which then asks something else, leaves less.
SHORT_SHINGLE = 2
#: Least share of the pairs exactly at the threshold that MinHash proposes; of more similar pairs
#: it proposes more. This is so for ideal permutations, to which those of the library come near.
RECALL = 0.999
#: Below this many pairs would have to be compared one by one.
LEAST_SIMILARITY = 0.1

#: Permutations at most; how many there are follows from `RECALL`.
_PERMUTATIONS = 128
#: Shingles hashed at one time: some megabytes, however long the text.
_CHUNK = 4_096


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
        self._long = _Shingled(SHINGLE, similarity)
        self._short = _Shingled(SHORT_SHINGLE, similarity)

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
        of at least `MIN_WORDS` words: in shingles of `SHINGLE` words, or of `SHORT_SHINGLE` with
        evaluation texts of less than `NGRAM` words. Of equally similar ones the first counts.
        """
        found = [
            match
            for text in (prompt_of(example), *user_turns(example), example.response)
            for match in self._matches(split_words(text))
        ]
        best = max(found, key=lambda match: match[0], default=None)
        return None if best is None else Overlap("similar", best[1])

    def _add(self, words: list[str]) -> None:
        if len(words) >= MIN_WORDS:
            (self._long if len(words) >= NGRAM else self._short).add(words)

    def _matches(self, words: list[str]) -> Iterator[tuple[float, str]]:
        for shingled in (self._long, self._short):
            match = shingled.nearest(words)
            if match is not None:
                yield match


class _Shingled:
    """Evaluation texts that are compared by shingles of one length."""

    def __init__(self, length: int, similarity: float) -> None:
        self._length = length
        self._similarity = similarity
        self._sketches = _Sketches(similarity)
        self._texts: dict[str, None] = {}
        self._listed: list[str] = []
        # Hashes take a tenth of the room. Two shingles of one hash let a row through to be
        # compared, and never stop one.
        self._known: set[int] = set()
        self._most = 0

    def add(self, words: list[str]) -> None:
        """Index a text, once."""
        text = " ".join(words)
        if text in self._texts:
            return
        shingles = set(grams(words, self._length))
        self._sketches.add(len(self._listed), shingles)
        self._texts[text] = None
        self._listed.append(text)
        self._known.update(map(hash, shingles))
        self._most = max(self._most, len(shingles))

    def nearest(self, words: list[str]) -> tuple[float, str] | None:
        """Return the most similar text, with its similarity; None if none is similar enough."""
        # A text with more than its share of shingles resembles none, however it goes on.
        beginning = words[: 3 * self._most + self._length]
        shingles = set(grams(beginning, self._length))
        if not shingles or self._most / len(shingles) < self._similarity:
            return None
        if len(beginning) < len(words):
            shingles = set(grams(words, self._length))
        known = sum(map(self._known.__contains__, map(hash, shingles)))
        # Almost every row ends here: what it shares with one text is known, and of its own
        # shingles no larger a part than the similarity demands.
        if known / len(shingles) < self._similarity:
            return None
        best: tuple[float, str] | None = None
        for place in sorted(self._sketches.alike(shingles)):
            text = self._listed[place]
            found = jaccard(shingles, set(grams(text.split(" "), self._length)))
            if found >= self._similarity and (best is None or found > best[0]):
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

    def add(self, place: int, shingles: set[Words]) -> None:
        """Put a set into its buckets."""
        self._buckets.insert(place, self._sketch(shingles))

    def alike(self, shingles: set[Words]) -> list[int]:
        """Return the sets that share a bucket with this one, in no order."""
        found: list[int] = self._buckets.query(self._sketch(shingles))
        return found

    def _sketch(self, shingles: set[Words]) -> Any:
        sketch = self._blank.copy()
        encoded = [" ".join(one).encode() for one in shingles]
        for start in range(0, len(encoded), _CHUNK):
            sketch.update_batch(encoded[start : start + _CHUNK])
        return sketch
