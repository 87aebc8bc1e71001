"""What each way of choosing data takes from a pool, under one budget.

=========  ===================================================================
method     takes, first to last; ties in the order of the pool
=========  ===================================================================
rule       the lowest predicted log loss
random     a shuffle, another one for every training seed
longest    the most response tokens (``len_out``)
shortest   the fewest response tokens (``len_out``)
ppl        the lowest perplexity of the response given its prompt
ifd        the highest IFD below 1; rows from 1 on never, for there the prompt
           hinders the response
all        every row that may be trained on, whatever the budget
target     rows of the evaluation files themselves, in the order of the files, see
           `targets`: not a choice from the pool, but what there is to win by one
NAME       rows another tool kept, see `decisions.read_decisions`
=========  ===================================================================

A row whose value is undefined is never taken by the method that goes by it.

**What is equal.** The budget is taken from one method, the reference, which takes K rows.

- ``tokens``: every other method takes its rows in its own order until it has as many
  *loss-bearing response tokens* as those K rows, to the nearest row; they are counted as the
  base model's tokenizer cuts them for training, end of turn included. All are trained for the
  same number of *optimiser steps* and epochs: each epoch's shuffled rows are divided into as
  many steps as K rows in batches of the setting's size would be. Methods then differ in the
  number of rows and in rows per step, and on average not in response tokens per step. Prompt
  tokens are not equal: they carry no loss.
- ``rows``: every method takes K rows, in batches of the same size, and so in the same number
  of steps. Methods then differ in tokens, and a method of long responses is trained on more.

``all`` is exempt from either: the same epochs, in batches of the setting's size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from instructmining.errors import ExperimentError
from instructmining.experiments.mixtures import Mixture, MixtureRow, ranking, shares_of
from instructmining.experiments.specs import UNRANKED, MethodSpec

BudgetKind = Literal["tokens", "rows"]
RANDOM, ALL, TARGET = "random", "all", "target"
#: What the rule's own prediction is called among the values.
PREDICTED = "predicted"
#: Method to the value it goes by, and the sign that puts its first row lowest.
_ORDER: Mapping[str, tuple[str, int]] = {
    "rule": (PREDICTED, 1),
    "longest": ("len_out", -1),
    "shortest": ("len_out", 1),
    "ppl": ("ppl", 1),
    "ifd": ("ifd", -1),
}


@dataclass(frozen=True)
class Candidates:
    """The rows any method may take, the same for all.

    Parameters
    ----------
    rows : tuple of MixtureRow
        Where each stands, in the order of the pool.
    tokens : ndarray of int64, shape (n,)
        Loss-bearing tokens of each in an epoch.
    values : mapping of str to ndarray of float64, shape (n,)
        What methods go by; NaN where undefined.
    listed : mapping of str to sequence of int
        Name of a table of decisions to row numbers in the order it takes them.
    target : Candidates, optional
        What ``target`` takes from instead.
    """

    rows: tuple[MixtureRow, ...]
    tokens: np.ndarray
    values: Mapping[str, np.ndarray] = field(default_factory=dict)
    listed: Mapping[str, Sequence[int]] = field(default_factory=dict)
    target: Candidates | None = None

    def of(self, method: str) -> Candidates:
        """Return what a method takes from."""
        return self.target if method == TARGET and self.target is not None else self


@dataclass(frozen=True)
class Ration:
    """What every method gets.

    Parameters
    ----------
    keep : int
        Rows the reference takes.
    reference : str
        Method the budget is taken from.
    kind : {"tokens", "rows"}
        What is equal.
    batch_size : int
        Rows in a step where nothing else decides their number.
    seeds : tuple of int
        Training seeds.
    all_seeds : int
        How many of them ``all`` is trained with, the first.
    draw_seed : int
        With the training seed it decides what ``random`` takes.
    """

    keep: int
    reference: str
    kind: BudgetKind = "tokens"
    batch_size: int = 8
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    all_seeds: int = 2
    draw_seed: int = 0


@dataclass(frozen=True)
class Choice:
    """What a method took, for one or for every seed.

    Parameters
    ----------
    method : str
        Which.
    mixture : Mixture
        The rows taken.
    n_tokens : int
        Their loss-bearing tokens.
    steps : int
        Optimiser steps of an epoch.
    n_open : int
        Rows the method could have taken.
    """

    method: str
    mixture: Mixture
    n_tokens: int
    steps: int
    n_open: int


def columns_of(methods: Sequence[MethodSpec]) -> list[str]:
    """Name the indicator columns the methods go by, without the rule's."""
    columns = [_ORDER[one.name][0] for one in methods if one.name in _ORDER]
    return list(dict.fromkeys(name for name in columns if name != PREDICTED))


def reference_of(methods: Sequence[MethodSpec], asked: str | None = None) -> str:
    """Return the method the budget is taken from and the others are held against.

    Parameters
    ----------
    methods : sequence of MethodSpec
        All that are compared.
    asked : str, optional
        By default the rule, else the first that chooses (neither ``random``, ``all`` nor
        ``target``), else ``random``, whose budget is that of its first seed.

    Raises
    ------
    ExperimentError
        If the one asked for is not compared, or is ``all``, which keeps to no budget.
    """
    names = [one.name for one in methods]
    if asked is None:
        first = [name for name in names if name not in UNRANKED]
        return "rule" if "rule" in names else (first or [RANDOM])[0]
    if asked not in names or asked == ALL:
        raise ExperimentError(
            f"reference {asked!r} came; choose one of "
            f"{', '.join(name for name in names if name != ALL)}"
        )
    return asked


def preference(method: str, candidates: Candidates, seed: int, draw_seed: int) -> np.ndarray:
    """Order the candidates a method may take, first to last.

    Parameters
    ----------
    method : str
        A name of `specs.SELECTORS` or of `candidates.listed`.
    candidates : Candidates
        What it takes from.
    seed, draw_seed : int
        Training seed and seed of draws: what ``random`` depends on.

    Returns
    -------
    ndarray of int64
        Positions among the candidates.
    """
    rows = candidates.rows
    if method in candidates.listed:
        at = {row.row: position for position, row in enumerate(rows)}
        return np.array([at[r] for r in candidates.listed[method] if r in at], dtype=np.int64)
    if method in (ALL, TARGET):
        return np.arange(len(rows))
    if method == RANDOM:
        rank = ranking(draw_seed, f"random-s{seed}")
        return np.array(sorted(range(len(rows)), key=lambda i: rank(rows[i].digest)), dtype=int)
    column, sign = _ORDER[method]
    values = candidates.values[column]
    open_rows = np.isfinite(values)
    if method == "ifd":
        open_rows &= values < 1.0
    chosen = np.flatnonzero(open_rows)
    return chosen[np.argsort(sign * values[chosen], kind="stable")]


def choose(
    methods: Sequence[MethodSpec], candidates: Candidates, ration: Ration
) -> tuple[Choice, ...]:
    """Let every method take its rows.

    Parameters
    ----------
    methods : sequence of MethodSpec
        In the order they are run and shown.
    candidates : Candidates
        What there is.
    ration : Ration
        What each gets.

    Returns
    -------
    tuple of Choice
        One per method, and for ``random`` one per training seed.

    Raises
    ------
    ExperimentError
        If a method has too few rows for the budget.
    """
    own = candidates.of(ration.reference)
    if not 1 <= ration.keep <= len(own.rows):
        where = "the evaluation files" if own is candidates.target else "the pool"
        raise ExperimentError(
            f"keep {ration.keep:,} rows came, {len(own.rows):,} of {where} can be used; "
            "lower --keep"
        )
    first = preference(ration.reference, own, ration.seeds[0], ration.draw_seed)
    n = _enough(ration.reference, ration.keep, len(first), "rows")
    n_tokens = int(own.tokens[first[:n]].sum())
    taken = [
        _take(method, seeds, candidates.of(method.name), ration, n_tokens)
        for method in methods
        for seeds in _groups(method.name, ration)
    ]
    if ration.kind == "rows":
        return tuple(taken)
    # A step takes a row at least, so that few long rows set the number of steps for all.
    steps = min(choice.steps for choice in taken if choice.method != ALL)
    return tuple(choice if choice.method == ALL else _in_steps(choice, steps) for choice in taken)


def _groups(method: str, ration: Ration) -> list[tuple[int, ...]]:
    """Seeds that share a mixture."""
    if method == RANDOM:
        return [(seed,) for seed in ration.seeds]
    return [ration.seeds[: ration.all_seeds] if method == ALL else ration.seeds]


def _take(
    method: MethodSpec,
    seeds: tuple[int, ...],
    candidates: Candidates,
    ration: Ration,
    n_tokens: int,
) -> Choice:
    order = preference(method.name, candidates, seeds[0], ration.draw_seed)
    sizes = candidates.tokens[order]
    if method.name == ALL:
        n = len(order)
    elif ration.kind == "rows":
        n = _enough(method.name, ration.keep, len(order), "rows")
    else:
        n = nearest(sizes, _enough(method.name, n_tokens, int(sizes.sum()), "response tokens"))
    rows = tuple(candidates.rows[i] for i in order[:n])
    name = f"{RANDOM}-s{seeds[0]}" if method.name == RANDOM else method.name
    own = None if seeds == ration.seeds else seeds
    mixture = Mixture(name, rows, shares_of(rows), str(method), own)
    whole = math.ceil(ration.keep / ration.batch_size)
    steps = math.ceil(n / ration.batch_size) if method.name == ALL else min(whole, n)
    return Choice(method.name, mixture, int(sizes[:n].sum()), steps, len(order))


def _in_steps(choice: Choice, steps: int) -> Choice:
    return replace(choice, mixture=replace(choice.mixture, steps_per_epoch=steps), steps=steps)


def _enough(method: str, wanted: int, there: int, unit: str) -> int:
    if there < wanted:
        raise ExperimentError(
            f"method {method}: all it can take is {there:,} {unit}, the budget is {wanted:,}; "
            "lower --keep or leave the method out"
        )
    return wanted


def nearest(sizes: np.ndarray, wanted: int) -> int:
    """Count the rows from the front whose tokens come closest to those wanted."""
    totals = np.cumsum(sizes)
    reached = int(np.searchsorted(totals, wanted))
    if reached and wanted - totals[reached - 1] < totals[reached] - wanted:
        return reached
    return reached + 1
