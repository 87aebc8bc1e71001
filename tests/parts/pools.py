"""Pools in parts, and the same pools joined, with scores that need no model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from instructmining.folders import DiskFolder
from instructmining.formats import open_pool
from instructmining.parts.pool import SCORES, Part, list_parts
from instructmining.rules.rule import Rule
from instructmining.rules.transforms import feature_name
from instructmining.scoring.digests import as_series
from instructmining.scoring.flags import FlagCodes
from instructmining.scoring.rows import PoolIndex
from instructmining.scoring.table import ScoreTable

DEFINITIONS = {name: {"indicator": name, "version": 1} for name in ("len", "nll", "mtld")}


def a_rule(**transforms: str) -> Rule:
    """Return a rule of nll and mtld."""
    chosen = transforms or {"nll": "clip", "mtld": "clip+log1p"}
    rule = Rule(columns=["nll", "mtld"], transforms=chosen)
    features = pl.DataFrame(
        np.random.default_rng(3).normal(size=(9, 2)), schema=list(_features(rule))
    )
    return rule.fit(features, features.to_numpy() @ [0.3, -0.07] + 1.1)


def _features(rule: Rule) -> list[str]:
    transforms = dict(rule.transforms or {})
    return [feature_name(name, transforms.get(name, "identity")) for name in rule.columns or ()]


@dataclass(frozen=True)
class MadePool:
    """A pool in parts, and joined."""

    folder: Path
    parts: list[Part]
    joined: Path
    frame: pl.DataFrame


def make_pool(folder: Path, sizes: Sequence[int], seed: int = 0, *, ties: bool = False) -> MadePool:
    """Write parts of these sizes: some rows are copies, lack a value, or have no response."""
    rng = np.random.default_rng(seed)
    parts = folder / "pool"
    parts.mkdir(parents=True)
    lines: list[str] = []
    frames: list[pl.DataFrame] = []
    for number, size in enumerate(sizes):
        own = [_record(rng, sum(sizes)) for _ in range(size)]
        path = parts / f"part-{number}.jsonl"
        path.write_text("".join(own), encoding="utf-8")
        lines += own
        frames.append(_scores(path, rng, ties=ties))
        ScoreTable(frames[-1], DEFINITIONS, {"by": "hand"}).save(Path(f"{path}{SCORES}"))
    joined = folder / "joined.jsonl"
    joined.write_text("".join(lines), encoding="utf-8")
    frame = pl.concat(frames).with_columns(row=pl.int_range(sum(sizes), dtype=pl.Int64))
    listed = list_parts(parts / "*.jsonl", DiskFolder(parts), {})
    return MadePool(folder, listed, joined, frame)


def _record(rng: np.random.Generator, n: int) -> str:
    text = int(rng.integers(0, max(2, n)))
    record = {
        "instruction": f"question {text}",
        "output": "" if rng.random() < 0.05 else f"answer {text}",
        "task": f"task {text % 4}",
    }
    if text % 5 == 0:
        del record["task"]
    return json.dumps(record) + "\n"


def _scores(path: Path, rng: np.random.Generator, *, ties: bool) -> pl.DataFrame:
    index = PoolIndex.read(open_pool(path), FlagCodes())
    n = len(index)
    bare = ~index.scorable

    def column(values: np.ndarray, missing: float) -> pl.Series:
        gone = bare | (rng.random(n) < missing)
        return pl.Series(
            [None if g else float(v) for g, v in zip(gone, values, strict=True)], dtype=pl.Float64
        )

    nll = rng.integers(0, 5, n).astype(float) if ties else rng.gamma(2.0, 1.0, n)
    mtld = rng.integers(1, 4, n).astype(float) if ties else rng.gamma(3.0, 20.0, n)
    return pl.DataFrame(
        {
            "row": np.arange(n),
            "example": as_series(index.digests),
            "len": column(rng.integers(1, 60, n), 0.0),
            "nll": column(nll, 0.04),
            "mtld": column(mtld, 0.04),
            "flags": pl.Series(
                [["no_response"] if b else [] for b in bare], dtype=pl.List(pl.String)
            ),
        }
    )
