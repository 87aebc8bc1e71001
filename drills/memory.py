"""Batches that do not fit into memory: ``RLIMIT_AS`` a little above what is in use."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from drills.outcome import Outcome, drill
from drills.process import run
from drills.scene import Scene

#: Scores of halved batches differ from those of whole ones by rounding alone.
TOLERANCE = 1e-5
#: Megabytes beyond what is in use when scoring begins, from plenty to next to nothing.
_MARGINS = (2_000, 500, 250, 120, 60)
#: Columns of a layer wide enough for a batch to take hundreds of megabytes.
_WIDE = 16_384
#: Rows of the pool: a batch or two.
_ROWS = 100


def short_memory(
    scene: Scene, chance: random.Random, margins: tuple[int, ...] = _MARGINS
) -> Iterator[Outcome]:
    """Score with less and less memory: the same scores, or one clear line."""
    folder = scene.fresh("memory")
    _save_wide_model(folder / "lm")
    pool = folder / "pool.jsonl"
    lines = (scene.folder / "pool.jsonl").read_text().splitlines(keepends=True)
    pool.write_text("".join(lines[:_ROWS]))
    tiny = folder / "tiny.jsonl"
    tiny.write_text("".join(lines[:2]))
    with drill("batch out of memory", "score") as outcome:
        whole = pl.DataFrame()
        for margin in margins:
            place = folder / str(margin)
            arguments = [
                *("score", pool, "-o", place / "scores.parquet"),
                *("--indicators", "nll,ifd", "--lm", folder / "lm", "--store", place / "store"),
            ]
            ended = run([margin, tiny, *arguments], module="drills.limited")
            said = re.search(r"halved (\d+) times", ended.out)
            halved = int(said[1]) if said else 0
            if ended.code == 0:
                frame = pl.read_parquet(place / "scores.parquet")
                whole = frame if whole.is_empty() else whole
                worst = _worst(frame, whole)
                outcome.expect(worst <= TOLERANCE, f"{margin} MB: scores differ by {worst:.1e}")
                outcome.ended("same scores, batches halved" if halved else "same scores")
                continue
            outcome.expect(bool(ended.error), f"{margin} MB: {ended.tail}")
            outcome.expect("memory" in ended.error, f"{margin} MB: {ended.error}")
            outcome.expect(not (place / "scores.parquet").exists(), f"{margin} MB: half a table")
            again = run(arguments)
            outcome.expect(again.code == 0, f"{margin} MB, with memory again: {again.tail}")
            outcome.ended("exit 2, one line, went on with memory again")
        happened = "same scores, batches halved" in outcome.ends
        outcome.expect(happened, "no margin led to a halved batch")
    yield outcome


def _worst(frame: pl.DataFrame, whole: pl.DataFrame) -> float:
    names = ["nll", "ifd"]
    if frame.select(names).null_count().row(0) != whole.select(names).null_count().row(0):
        return float("inf")
    return max(float((frame[name] - whole[name]).abs().max() or 0.0) for name in names)  # type: ignore[arg-type]


def _save_wide_model(folder: Path) -> None:
    from models.tiny import save_causal_lm

    save_causal_lm(folder, num_hidden_layers=1, intermediate_size=_WIDE, hidden_size=32)
    settings = json.loads((folder / "config.json").read_text())
    assert settings["intermediate_size"] == _WIDE
