"""Losses of several methods on one evaluation set, checked once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from instructmining.errors import ExperimentError
from instructmining.evaluation.crossed import Floats


@dataclass(frozen=True)
class EvaluationLosses:
    """Losses of methods on one evaluation set; make it with `evaluation_losses`.

    Parameters
    ----------
    name : str
        Of the evaluation set.
    losses : mapping of method to ndarray of shape (n_seeds, n_prompts)
        Negative log-likelihood of each reference, in nats, one row per training seed.
    n_tokens : ndarray of shape (n_prompts,)
        Tokens of each reference.
    seeds : mapping of method to tuple of int
        Seed of each row. Methods are paired by it.
    """

    name: str
    losses: Mapping[str, Floats]
    n_tokens: Floats
    seeds: Mapping[str, tuple[int, ...]]

    def shared(self, one: str, other: str) -> tuple[int, ...]:
        """Seeds both methods were trained with, in ascending order."""
        return tuple(sorted({*self.seeds[one]} & {*self.seeds[other]}))

    def rows(self, method: str, seeds: Sequence[int]) -> Floats:
        """Losses of a method for some of its seeds, (len(seeds), n_prompts)."""
        at = {seed: row for row, seed in enumerate(self.seeds[method])}
        return self.losses[method][[at[seed] for seed in seeds]]


def evaluation_losses(
    name: str,
    losses: Mapping[str, ArrayLike],
    n_tokens: ArrayLike,
    seeds: Mapping[str, Sequence[int]] | None = None,
) -> EvaluationLosses:
    """Check the losses of methods on one evaluation set.

    Parameters
    ----------
    name : str
        Of the evaluation set.
    losses : mapping of method to array_like of shape (n_seeds, n_prompts)
        Negative log-likelihood of each reference, in nats. Methods may differ in the number
        of seeds, never in prompts.
    n_tokens : array_like of int, shape (n_prompts,)
        Tokens of each reference.
    seeds : mapping of method to sequence of int, optional
        Seed of each row; by default the number of the row, so that rows are paired as they
        stand.

    Raises
    ------
    ExperimentError
        If there are fewer than two prompts, a table has another shape, a loss is not finite,
        negative or 0 on every prompt, a reference has no token, or seeds do not name the rows.
    """
    if not losses:
        raise ExperimentError(f"evaluation set {name}: no method came; give losses of two or more")
    tokens = _numbers(f"evaluation set {name}: tokens per prompt", n_tokens)
    if tokens.ndim != 1 or len(tokens) < 2:
        raise ExperimentError(
            f"evaluation set {name}: tokens of shape {tokens.shape} came, one number for each of "
            "two or more prompts was wanted; give the tokens of every reference"
        )
    bad = np.flatnonzero(~((tokens >= 1) & np.isfinite(tokens)))
    if len(bad):
        raise ExperimentError(
            f"evaluation set {name}: prompt {bad[0]} has {tokens[bad[0]]:g} tokens, at least 1 "
            "was wanted; leave prompts without a reference out for all methods"
        )
    tables = {method: _table(name, method, rows, len(tokens)) for method, rows in losses.items()}
    labels = {method: _seeds(name, method, len(tables[method]), seeds) for method in tables}
    return EvaluationLosses(name, tables, tokens, labels)


def _table(name: str, method: str, rows: ArrayLike, n_prompts: int) -> Floats:
    where = f"evaluation set {name}, method {method}"
    table = _numbers(f"{where}: losses", rows)
    if table.ndim != 2 or table.shape[1] != n_prompts or not len(table):
        raise ExperimentError(
            f"{where}: losses of shape {table.shape} came, (seeds, {n_prompts}) was wanted, one "
            "row per seed and one column per prompt; give all methods the same prompts"
        )
    bad = np.argwhere(~(np.isfinite(table) & (table >= 0)))
    if len(bad):
        row, prompt = bad[0]
        raise ExperimentError(
            f"{where}: the loss of row {row} on prompt {prompt} is {table[row, prompt]:g}, a "
            "number of nats from 0 was wanted; repeat the run, or leave the prompt out for all "
            "methods"
        )
    if not table.sum(axis=1).all():
        row = int(np.argmin(table.sum(axis=1)))
        raise ExperimentError(
            f"{where}: the losses of row {row} are all 0, which has no logarithm; measure them anew"
        )
    return table


def _seeds(
    name: str, method: str, n_rows: int, seeds: Mapping[str, Sequence[int]] | None
) -> tuple[int, ...]:
    if seeds is None:
        return tuple(range(n_rows))
    found = tuple(int(seed) for seed in seeds.get(method, ()))
    if len(found) != n_rows or len({*found}) != n_rows:
        raise ExperimentError(
            f"evaluation set {name}, method {method}: seeds {list(found)} came for {n_rows} rows "
            "of losses; name one seed for each row, each once"
        )
    return found


def _numbers(what: str, values: ArrayLike) -> Floats:
    try:
        return np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ExperimentError(
            f"{what} are no table of numbers ({str(error).splitlines()[0]}); give rows of equal "
            "length"
        ) from error
