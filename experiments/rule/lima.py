"""Set LIMA rows apart as an evaluation set of two halves: one to fit rules on, one to report.

Usage: python experiments/rule/lima.py LIMA.jsonl FOLDER

Writes ``lima-fit.jsonl`` and ``lima-report.jsonl``, 125 rows each, lines as they came. Rows are
taken by the hash of their prompt, among those whose prompt and response have at most 1,500
characters: measuring a loss on LIMA's long answers in every run would cost more than training.
`experiment plan` leaves rows that overlap an evaluation set out of every mixture.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from instructmining.examples import Example, normalised_prompt
from instructmining.experiments.splits import prompt_hash
from instructmining.files import replacing
from instructmining.formats import open_pool

PARTS = ("fit", "report")
ROWS = 125
MAX_CHARACTERS = 1_500
SALT = "instructmining-lima-1"


def chosen(examples: Sequence[Example]) -> dict[str, list[int]]:
    """Return the row numbers of each part, in the order of the file."""
    by_prompt: dict[str, int] = {}
    for example in examples:
        n_characters = len(example.prompt) + len(example.response)
        if example.scorable and n_characters <= MAX_CHARACTERS:
            by_prompt.setdefault(normalised_prompt(example.turns), example.row)
    ordered = sorted(by_prompt, key=lambda prompt: prompt_hash(prompt, SALT))
    return {
        part: sorted(by_prompt[prompt] for prompt in ordered[start : start + ROWS])
        for part, start in zip(PARTS, (0, ROWS), strict=True)
    }


def main(source: Path, folder: Path) -> None:
    """Write both parts."""
    lines = source.read_bytes().splitlines(keepends=True)
    folder.mkdir(parents=True, exist_ok=True)
    for part, rows in chosen(list(open_pool(str(source)).examples())).items():
        with replacing(folder / f"lima-{part}.jsonl") as temporary:
            temporary.write_bytes(b"".join(lines[row] for row in rows))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
