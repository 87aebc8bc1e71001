"""Make a worse response of a good one, by rule and in a known way.

A head learns from pairs: a good response and the same one damaged. `DAMAGES` names what can be
done to a text and the columns it hurts; an answer swapped with another prompt's (`swapped`)
hurts coherence alone. The rules are made for English; in other scripts those apply that need
no knowledge of the language.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from instructmining.errors import InputError
from instructmining.heads.slips import is_function_word, is_long, mistyped, slips


class Word(NamedTuple):
    """A word, punctuation included, and the white space before it."""

    gap: str
    text: str


_WORD = re.compile(r"(\s*)(\S+)")


def _words(text: str) -> list[Word]:
    return [Word(*found) for found in _WORD.findall(text)]


def _texts(words: Sequence[Word]) -> list[str]:
    return [word.text for word in words]


def _some(places: Sequence[int], share: float, rng: random.Random) -> list[int]:
    """Draw a share of `places`, at least one if there is any; in ascending order."""
    n = min(len(places), max(1, round(share * len(places))))
    return sorted(rng.sample(places, n))


def shuffle(words: Sequence[Word], rng: random.Random, other: Sequence[Word]) -> list[Word]:
    """Exchange words within runs of 3 to 10, the line breaks where they were.

    Hurts understandability and naturalness: the same words, no syntax.
    """
    size = rng.choice((3, 4, 6, 10))
    texts: list[str] = []
    for start in range(0, len(words), size):
        run = _texts(words[start : start + size])
        rng.shuffle(run)
        texts += run
    return [Word(word.gap, text) for word, text in zip(words, texts, strict=True)]


def drop(words: Sequence[Word], rng: random.Random, other: Sequence[Word]) -> list[Word]:
    """Leave out 15 to 40 % of the words.

    Hurts understandability and naturalness: a telegram that lost more than it can spare.
    """
    return _without(words, set(_some(range(len(words)), rng.uniform(0.15, 0.4), rng)))


def repeat(words: Sequence[Word], rng: random.Random, other: Sequence[Word]) -> list[Word]:
    """Say up to three phrases of 1 to 5 words again, each one to three times.

    Hurts understandability and naturalness: the stutter of a model that is stuck in a loop.
    """
    result = list(words)
    for _ in range(rng.randint(1, 3)):
        n = rng.randint(1, min(5, len(result)))
        end = rng.randint(n, len(result))
        again = [Word(" ", result[end - n].text), *result[end - n + 1 : end]]
        result[end:end] = again * rng.randint(1, 3)
    return result


def insert(words: Sequence[Word], rng: random.Random, other: Sequence[Word]) -> list[Word]:
    """Put words of another text between the words, 10 to 30 % as many.

    Hurts understandability and naturalness: noise in the line.
    """
    result: list[Word] = []
    places = _some(range(len(words)), rng.uniform(0.1, 0.3), rng) if other else []
    begin = 0
    for place in places:
        # Before or after the word, so that both ends can be reached.
        end = place + rng.randint(0, 1)
        result += [*words[begin:end], Word(" ", rng.choice(other).text)]
        begin = end
    return result + list(words[begin:])


def substitute(words: Sequence[Word], rng: random.Random, other: Sequence[Word]) -> list[Word]:
    """Exchange 10 to 30 % of the words for words of another text.

    Hurts understandability and naturalness: syntax breaks, and what was said is lost.
    """
    result = list(words)
    for place in _some(range(len(words)), rng.uniform(0.1, 0.3), rng) if other else []:
        result[place] = Word(words[place].gap, rng.choice(other).text)
    return result


def splice(words: Sequence[Word], rng: random.Random, other: Sequence[Word]) -> list[Word]:
    """Go on, after the first half, with the second half of another text.

    Hurts coherence: the text changes its subject. Both are cut at the sentence end nearest
    the middle, so that little but coherence is hurt; a text of one sentence in its middle.
    """
    if not other:
        return list(words)
    first, second = _middle(words), _middle(other)
    return [*words[: max(1, first)], *other[second:]]


def typo(words: Sequence[Word], rng: random.Random, other: Sequence[Word]) -> list[Word]:
    """Mistype 10 to 30 % of the words of four letters or more, one slip in each.

    Hurts naturalness, mildly: what is meant stays clear.
    """
    result = list(words)
    long = [place for place, word in enumerate(words) if is_long(word.text)]
    for place in _some(long, rng.uniform(0.1, 0.3), rng):
        gap, text = words[place]
        result[place] = Word(gap, mistyped(text, rng))
    return result


def grammar(words: Sequence[Word], rng: random.Random, other: Sequence[Word]) -> list[Word]:
    """Make the slips of a learner in 30 to 60 % of the places that allow one.

    A function word is left out, or exchanged for one of its kind ("in" for "on", "was" for
    "are"); an ending is stripped ("walked", "walking", "walks" to "walk"). Hurts
    naturalness, mildly: what is meant stays clear.
    """
    result = list(words)
    left_out: set[int] = set()
    places = [place for place, word in enumerate(words) if slips(word.text)]
    for place in _some(places, rng.uniform(0.3, 0.6), rng):
        gap, text = words[place]
        # Left out with its punctuation, a word would take a sentence end along.
        if is_function_word(text) and rng.random() < 0.6:
            left_out.add(place)
        else:
            result[place] = Word(gap, rng.choice(slips(text)))
    return _without(result, left_out)


@dataclass(frozen=True)
class Damage:
    """What can be done to a text.

    Parameters
    ----------
    apply : callable
        From the words of the text (one or more), a source of randomness and the words of
        another text to the words of the worse one; the same for the same state of the source.
    hurts : tuple of str
        Columns that fall: of ``nat``, ``coh``, ``und``.
    """

    apply: Callable[[Sequence[Word], random.Random, Sequence[Word]], list[Word]]
    hurts: tuple[str, ...]


DAMAGES: Mapping[str, Damage] = {
    "shuffle": Damage(shuffle, ("nat", "und")),
    "drop": Damage(drop, ("nat", "und")),
    "repeat": Damage(repeat, ("nat", "und")),
    "insert": Damage(insert, ("nat", "und")),
    "substitute": Damage(substitute, ("nat", "und")),
    "typo": Damage(typo, ("nat",)),
    "grammar": Damage(grammar, ("nat",)),
    "splice": Damage(splice, ("coh",)),
}


def damaged(text: str, kind: str, rng: random.Random, other: str = "") -> str | None:
    """Damage a text in one way.

    Parameters
    ----------
    text : str
        A good response.
    kind : str
        A name in `DAMAGES`.
    rng : random.Random
        Source of randomness; one that is seeded alike damages alike.
    other : str
        Another response, from which ``insert``, ``substitute`` and ``splice`` take words.

    Returns
    -------
    str or None
        The worse text, with the white space of `text` around the words it keeps. None where
        no word changed or none is left, as with an empty text.

    Raises
    ------
    InputError
        If there is no such kind.
    """
    if kind not in DAMAGES:
        raise InputError(f"damage {kind!r} came; choose one of {', '.join(DAMAGES)}")
    body = text.strip()
    words = _words(body)
    if not words:
        return None
    result = DAMAGES[kind].apply(words, rng, _words(other.strip()))
    if not result or _texts(result) == _texts(words):
        return None
    before, _, after = text.partition(body)
    rest = (f"{word.gap or ' '}{word.text}" for word in result[1:])
    return "".join([before, result[0].text, *rest, after])


#: Responses among which `swapped` looks for one of the same length.
_DRAWN = 8


def swapped(
    index: int, responses: Sequence[str], groups: Sequence[object], rng: random.Random
) -> int:
    """Choose an answer to another prompt that does not stand out by its length.

    Hurts coherence alone: the response is as good as it was, to another question.

    Parameters
    ----------
    index : int
        The response to replace.
    responses : sequence of str
        `n` responses.
    groups : sequence of hashable
        The prompt each answers.
    rng : random.Random
        Source of randomness.

    Returns
    -------
    int
        Index of a response in another group, different from the one at `index`: of up to
        eight drawn, the one nearest in number of words.

    Raises
    ------
    InputError
        If no other group has another response.
    """

    def fits(i: int) -> bool:
        return groups[i] != groups[index] and responses[i] != responses[index]

    n = len(responses)
    drawn = [i for i in (rng.randrange(n) for _ in range(_DRAWN)) if fits(i)]
    candidates = drawn or [i for i in range(n) if fits(i)]
    if not candidates:
        raise InputError(
            f"{n} responses to one prompt, or all the same, came; give responses to two prompts"
        )
    length = len(responses[index].split())
    return min(candidates, key=lambda i: abs(len(responses[i].split()) - length))


#: Straight quotes for typographic ones.
_STRAIGHT = str.maketrans("‘’“”", "''\"\"")
#: What stands apart: an ellipsis, a mark that is not inside a number.
_MARK = re.compile(r'\.{2,}|(?<!\d)[.,:]|[.,:](?!\d)|[!?;()"…]')


def spoken(text: str) -> str:
    """Write a text as dialogue corpora do: lower case, punctuation apart, on one line.

    Hurts nothing: good and worse responses alike are written so, for the heads to meet this
    style too.
    """
    return " ".join(_MARK.sub(r" \g<0> ", text.translate(_STRAIGHT).lower()).split())


def first_sentences(text: str, n_words: int) -> str | None:
    """Cut a text at a sentence end.

    Parameters
    ----------
    text : str
        The text.
    n_words : int
        Most words to keep.

    Returns
    -------
    str or None
        As many whole sentences from the beginning as have at most `n_words` words, or the
        whole text if it has no more; None where the first sentence is longer or the text
        empty. White space inside is kept, around it is stripped.
    """
    words = _words(text.strip())
    whole = len(words) <= n_words
    n = len(words) if whole else max((i for i in _sentence_ends(words) if i <= n_words), default=0)
    return "".join(word.gap + word.text for word in words[:n]) or None


def _without(words: Sequence[Word], places: set[int]) -> list[Word]:
    """Leave out the words at `places`; a line that began with one still begins there."""
    result: list[Word] = []
    gap = ""
    for place, word in enumerate(words):
        gap = max(gap, word.gap, key=lambda space: space.count("\n"))
        if place not in places:
            result.append(Word(gap, word.text))
            gap = ""
    return result


# Sentences

_END = re.compile(r"[.!?…。！？][\"'”’)\]*_]*$")
#: Not the end of a sentence, though it looks like one.
_ABBREVIATION = re.compile(r"\W*(?:Mrs?|Ms|Dr|Prof|St|vs|e\.g|i\.e)\.$")
#: A label of a list, at the beginning of a line.
_LABEL = re.compile(r"\W*(?:\d{1,3}|[A-Za-z])[.)]\W*$")


def _sentence_ends(words: Sequence[Word]) -> list[int]:
    """Count, for each sentence, the words up to its end."""
    ends = []
    for place, (gap, text) in enumerate(words):
        label = (place == 0 or "\n" in gap) and _LABEL.match(text)
        if _END.search(text) and not label and not _ABBREVIATION.match(text):
            ends.append(place + 1)
    return ends


def _middle(words: Sequence[Word]) -> int:
    """Count the words up to the sentence end nearest the middle, or to the middle itself."""
    inner = [n for n in _sentence_ends(words) if n < len(words)]
    return min(inner, key=lambda n: abs(2 * n - len(words)), default=len(words) // 2)
