"""Data that may train what is shipped: Apache-2.0 or MIT, or made here of such.

NOTICE lists them. A share of each pool is taken, chosen by the hash of the prompt, so that
most of its rows stay free for pools whose figures are published.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from instructmining.examples import Example, Turn, prompt_hash
from instructmining.formats import open_pool
from instructmining.heads.damage import first_sentences
from instructmining.heads.preferences import Preference, read_preferences

#: Files of preferences.
PREFERENCES = ("orca_dpo_pairs_284.jsonl", "dpo_en_demo.json")
#: Files of instructions, and the share of their prompts that is taken.
POOLS = {
    "guanaco_1k_first_turn.jsonl": 1.0,
    "seed_tasks.jsonl": 1.0,
    "gpteacher_roleplay.json": 1 / 4,
    "gsm_8k_train.json": 1 / 32,
}
_MOST_PROMPT_WORDS = 80
_LEAST_WORDS = 4
#: Words of a response at most: one of these is drawn.
_LENGTHS = (12, 25, 40, 70)
_COMMON = frozenset(
    """a an and are as be can for how i in is it of on or that the this to was what with
    you""".split()  # noqa: SIM905
)


@dataclass(frozen=True)
class Good:
    """A response taken to be good.

    Parameters
    ----------
    turns : tuple of Turn
        What it answers.
    response : str
        Whole sentences from its beginning.
    source : str
        The file's name.
    """

    turns: tuple[Turn, ...]
    response: str
    source: str

    @property
    def group(self) -> str:
        """Hash of the prompt."""
        return prompt_hash(self.turns)


def preferences(data: Path) -> list[Preference]:
    """Read every pair of the preference files."""
    paths = [data / "preferences" / name for name in PREFERENCES]
    return [pair for path in paths for pair in read_preferences(path).pairs]


def good_responses(data: Path, seed: int = 0) -> list[Good]:
    """Read short English answers to short English prompts, one per prompt."""
    rng = random.Random(seed)
    found: dict[str, Good] = {}
    for turns, response, source in _candidates(data):
        if not _is_english(" ".join(turn.content for turn in turns)) or not _is_english(response):
            continue
        short = first_sentences(response, rng.choice(_LENGTHS))
        if short is None or len(short.split()) < _LEAST_WORDS:
            continue
        good = Good(turns, short, source)
        found.setdefault(good.group, good)
    return list(found.values())


def _candidates(data: Path) -> Iterator[tuple[tuple[Turn, ...], str, str]]:
    for name, share in POOLS.items():
        for example in open_pool(data / "instructions" / name).examples():
            if _taken(example, share):
                yield example.turns, example.response, name
    for name in PREFERENCES:
        for pair in read_preferences(data / "preferences" / name).pairs:
            # Their long system turns would make up most of what is run.
            turns = tuple(turn for turn in pair.turns if turn.role != "system")
            if _is_short(turns):
                yield turns, pair.better, name


def _taken(example: Example, share: float) -> bool:
    place = int(prompt_hash(example.turns)[:8], 16) / 16**8
    return example.scorable and place < share and _is_short(example.turns)


def _is_short(turns: tuple[Turn, ...]) -> bool:
    n_words = sum(len(turn.content.split()) for turn in turns)
    return 0 < n_words <= _MOST_PROMPT_WORDS


def _is_english(text: str) -> bool:
    words = re.findall(r"[a-z']+", text.lower())
    if not words or sum(ord(letter) > 127 for letter in text) > 0.03 * len(text):
        return False
    return sum(word in _COMMON for word in words) > 0.15 * len(words)
