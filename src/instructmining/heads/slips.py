"""Slips in one word: of the typing hand, and of the English grammar."""

from __future__ import annotations

import random
import re

#: Four letters or more, of any script.
_LONG = re.compile(r"[^\W\d_]{4,}")
#: Letters of a word, and the punctuation around them.
_LETTERS = re.compile(r"(\W*)([A-Za-z]+)(\W*)")
#: Function words that learners take for one another.
_KINDS = (
    ("a", "an", "the"),
    ("of", "in", "on", "at", "to", "for", "with", "by", "from"),
    ("is", "are", "was", "were", "be", "am"),
    ("has", "have", "had"),
    ("do", "does", "did"),
    ("will", "would", "can", "could"),
    ("and", "or", "but"),
    ("that", "which", "who"),
)
_KIND = {word: kind for kind in _KINDS for word in kind}
#: Look inflected and are not.
_UNINFLECTED = {
    *("always", "anything", "besides", "during", "evening", "everything", "hundred", "indeed"),
    *("morning", "nothing", "perhaps", "something"),
}
#: What takes "-es" for its plural; "-s" is no plural after these.
_SIBILANT, _NO_PLURAL = ("x", "ch", "sh", "ss"), ("s", "u", "i")
#: Stems that lost an e before "-ing": "mak", "believ", "separat", "judg".
_SILENT_E = re.compile(
    r"[^aeiou]*[aeiou][^aeiouwxy]|.*(?:[vcz]|dg|chang|[bcdgilmnprtu]at)|creat", re.DOTALL
)


def is_long(word: str) -> bool:
    """Whether `mistyped` changes the word: it has four letters in a row."""
    return _LONG.search(word) is not None


def mistyped(word: str, rng: random.Random) -> str:
    """Exchange two neighbouring letters, leave one out, or add a stray one.

    Parameters
    ----------
    word : str
        With punctuation or without; the first four or more letters in a row are mistyped.
    rng : random.Random
        Source of randomness.

    Returns
    -------
    str
        Another word; the same where there are no such letters.
    """
    found = _LONG.search(word)
    if found is None:
        return word
    begin, letters = found.start(), found.group()
    slip = rng.random()
    unequal = [i for i in range(len(letters) - 1) if letters[i] != letters[i + 1]]
    if slip < 0.4 and unequal:
        i = begin + rng.choice(unequal)
        return word[:i] + word[i + 1] + word[i] + word[i + 2 :]
    i = begin + rng.randrange(len(letters))
    if slip < 0.7:
        return word[:i] + word[i + 1 :]
    return word[:i] + rng.choice("abcdefghijklmnopqrstuvwxyz") + word[i:]


def is_function_word(word: str) -> bool:
    """Whether the word, without punctuation, is one a learner may leave out."""
    return word.lower() in _KIND


def slips(word: str) -> list[str]:
    """Say what a slip of grammar may put in place of a word.

    Parameters
    ----------
    word : str
        With punctuation or without.

    Returns
    -------
    list of str
        For a function word the others of its kind, for an inflected one its stem; none of
        them is the word itself. Empty where no slip is known.
    """
    found = _LETTERS.fullmatch(word)
    if found is None:
        return []
    before, letters, after = found.groups()
    plain = letters.lower()
    if plain in _KIND:
        others = [other for other in _KIND[plain] if other != plain]
        if letters[0].isupper():
            others = [other.capitalize() for other in others]
    else:
        stem = _stem(plain)
        # A stem is the beginning of its word, but for a y or an e at the end.
        others = [] if stem == plain else [letters[: len(stem) - 1] + _last(letters, stem)]
    return [before + other + after for other in others]


def _last(letters: str, stem: str) -> str:
    kept = letters[len(stem) - 1]
    return kept if kept.lower() == stem[-1] else stem[-1]


def _stem(word: str) -> str:
    """Strip the ending of a plural, a participle or a past; five letters at least."""
    stem = word
    if len(word) < 5 or word in _UNINFLECTED:
        return word
    if word.endswith(("ies", "ied")):
        stem = word[:-3] + "y"
    elif word.endswith("es") and word[:-2].endswith(_SIBILANT):
        stem = word[:-2]
    elif word.endswith("s") and not word[:-1].endswith(_NO_PLURAL):
        stem = word[:-1]
    elif word.endswith("ing"):
        stem = _verb(word[:-3]) or word
    elif word.endswith("ed") and not word.endswith("eed"):
        stem = _verb(word[:-2]) or word
    return stem


def _verb(stem: str) -> str | None:
    """Spell a verb without its ending; None where what is left has no vowel."""
    if not any(vowel in stem for vowel in "aeiou"):
        return None
    if len(stem) > 3 and stem[-1] == stem[-2] and stem[-1] in "bdgmnprt":
        return stem[:-1]
    return stem + "e" if _SILENT_E.fullmatch(stem) else stem
