"""Put the evaluation sets' own rows into the mixed pool, to see what there is to win by choosing.

Usage: python experiments/proof/ceiling.py DATA FOLDER

Beside ``mixed.jsonl`` (experiments/proof/pools.py) FOLDER then holds ``ceiling.jsonl``, the rows of
the human references' part *fit* and of LIMA's first half and behind them those of the pool,
``ceiling.own.parquet``, decisions that keep the former alone, and the report parts as files of
their own: of a part of a file the whole file's prompts are kept out of training. No choice from a
pool can be more like the report parts than rows drawn from where they were drawn.
"""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl
from pools import read, record, write

from instructmining.examples import Example
from instructmining.experiments.splits import evaluation_part
from instructmining.files import replacing
from instructmining.formats import open_pool

#: The evaluation sets with parts, by name.
EVALUATIONS = {
    "human": "eval/self_instruct_human_eval/user_oriented_instructions.jsonl",
    "davinci": "eval/self_instruct_human_eval/predictions/text-davinci-003_predictions.jsonl",
}


def part_of(data: Path, name: str, part: str) -> list[Example]:
    """Return the rows of one part of an evaluation set."""
    rows = open_pool(data / EVALUATIONS[name]).examples()
    return evaluation_part(rows, part, name=EVALUATIONS[name])


def main(data: Path, folder: Path) -> None:
    """Write pool, decisions and report parts."""
    fit = [*part_of(data, "human", "fit"), *open_pool(folder / "lima-fit.jsonl").examples()]
    own = [record(row, "own") for row in fit]
    # Before the pool: of two copies, LIMA's own rows are among it, the first is kept.
    write(folder / "ceiling.jsonl", [*own, *read(folder / "mixed.jsonl")])
    with replacing(folder / "ceiling.own.parquet") as temporary:
        pl.DataFrame({"row": range(len(own)), "kept": [True] * len(own)}).write_parquet(temporary)
    for name in EVALUATIONS:
        report = (record(row, name) for row in part_of(data, name, "report"))
        write(folder / f"{name}-report.jsonl", report)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(f"usage: {sys.argv[0]} DATA FOLDER")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
