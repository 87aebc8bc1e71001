"""A pool in parts gives the selection of the joined pool."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from instructmining.folders import DiskFolder
from instructmining.formats import open_pool
from instructmining.parts import select as module
from instructmining.parts.decide import DECISIONS
from instructmining.parts.select import PartsSelection, select_parts
from instructmining.selection.budget import Budget, Fraction, Rows, Tokens
from instructmining.selection.quota import group_rows, parse_quota
from instructmining.selection.select import Limits, Selection, load_decisions, select_rows
from parts.pools import MadePool, a_rule, make_pool


def joined(pool: MadePool, rule, budget: Budget, quota: str | None) -> Selection:
    groups = None
    if quota is not None:
        groups = group_rows(open_pool(pool.joined).records(), parse_quota(quota), "joined")
    return select_rows(
        pool.frame,
        rule.predict_rows(pool.frame),
        budget,
        contributions=rule.contributions(pool.frame),
        rule_columns=list(rule.columns_),
        limits=Limits(groups=groups),
    )


def in_parts(pool: MadePool, rule, budget: Budget, quota: str | None) -> PartsSelection:
    shares = None if quota is None else parse_quota(quota)
    return select_parts(pool.parts, rule, (budget, shares), DiskFolder(pool.folder / "out"))


def decisions_of(pool: MadePool) -> pl.DataFrame:
    """Return the decisions on all parts with the rows numbered as in the joined pool."""
    first, found = 0, []
    begins = {}
    for part in pool.parts:
        frame, _ = load_decisions(pool.folder / "out" / (part.name + DECISIONS))
        begins[part.name] = first
        found.append((part.name, first, frame))
        first += frame.height
    numbered = []
    for name, begin, frame in found:
        reasons = []
        for reason in frame["reason"]:
            kind, _, where = reason.partition(":")
            if kind == "duplicate_of":
                other, _, row = where.rpartition(":")
                where = str(begins[other or name] + int(row))
            reasons.append(f"{kind}:{where}" if where else kind)
        numbered.append(
            frame.with_columns(
                row=pl.col("row") + begin, reason=pl.Series(reasons, dtype=pl.String)
            )
        )
    return pl.concat(numbered)


def check_alike(pool: MadePool, rule, budget: Budget, quota: str | None) -> PartsSelection:
    wanted = joined(pool, rule, budget, quota)
    came = in_parts(pool, rule, budget, quota)
    decisions = decisions_of(pool)
    exact = [name for name in wanted.decisions.columns if not name.startswith("contribution:")]
    assert decisions.columns == wanted.decisions.columns
    assert decisions.select(exact).to_dicts() == wanted.decisions.select(exact).to_dicts()
    for name in set(decisions.columns) - {*exact}:
        np.testing.assert_allclose(
            decisions[name].fill_null(np.nan), wanted.decisions[name].fill_null(np.nan), atol=1e-12
        )
    assert came.reasons == wanted.reasons
    assert came.n_kept == len(wanted.kept_rows)
    assert tuple(came.facts["notes"]) == wanted.notes
    params = dict(came.facts["params"])
    assert params.pop("parts") == len(pool.parts)
    ranks = wanted.decisions.filter("kept")["rank"].to_list()
    assert params.pop("last_rank") == max(ranks, default=0)
    assert params == wanted.params
    kept = "".join((pool.folder / "out" / part.name).read_text() for part in pool.parts)
    lines = pool.joined.read_text().splitlines(keepends=True)
    assert kept == "".join(lines[row] for row in wanted.kept_rows)
    return came


QUOTAS = (None, "task", "task=task 1:40%", "task=task 0:0,task 2:30%", "task=:0")


@pytest.fixture(autouse=True)
def small_buckets(monkeypatch):
    monkeypatch.setattr(module, "_BUCKET_ROWS", 7)


@pytest.mark.parametrize("seed", range(40))
def test_parts_are_decided_as_the_pool_of_all(tmp_path, seed):
    rng = np.random.default_rng(seed)
    sizes = [30, *rng.integers(1, 40, rng.integers(0, 5)).tolist()]
    pool = make_pool(tmp_path, sizes, seed, ties=seed % 3 == 0)
    n = int(rng.integers(1, 60))
    budget = (Rows(n), Tokens(20 * n), Fraction(n / 60))[seed % 3 - 1]
    check_alike(pool, a_rule(), budget, QUOTAS[seed % len(QUOTAS)])
