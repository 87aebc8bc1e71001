"""Made-up words, so that no two texts share a run of them by chance."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from instructmining.examples import Example, Turn


def sentence(rng: np.random.Generator, n_words: int, letters: str = "abcdefghij") -> str:
    """Return words of 3 to 6 of the letters."""
    words = ["".join(rng.choice(list(letters), size=rng.integers(3, 7))) for _ in range(n_words)]
    return " ".join(words)


def examples_of(n: int, seed: int = 0) -> list[Example]:
    """Examples of many lengths: with the default system turn, with their own, of two turns."""
    rng = np.random.default_rng(seed)
    found = []
    for row in range(n):
        turns: tuple[Turn, ...] = (Turn("user", sentence(rng, 2 + row % 5)),)
        if row % 4 == 1:
            turns = (Turn("system", sentence(rng, 3)), *turns)
        if row % 4 == 2:
            turns = (*turns, Turn("assistant", "Naïve café?"), Turn("user", sentence(rng, 2)))
        found.append(Example(row, turns, sentence(rng, 1 + (row * 5) % 7)))
    return found


def write_pool(path: Path, n: int, *, letters: str, seed: int, n_words: int = 8) -> str:
    """Write an Alpaca file whose responses have `n_words` to ``n_words + 3`` words."""
    rng = np.random.default_rng(seed)
    rows = [
        {
            "instruction": sentence(rng, 5, letters),
            "input": "",
            "output": sentence(rng, int(n_words + rng.integers(0, 4)), letters),
        }
        for _ in range(n)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)
