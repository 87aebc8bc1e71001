from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from instructmining.errors import RuleError
from instructmining.rules import ranking
from instructmining.rules.fit import fit_rule
from instructmining.rules.provenance import Provenance
from instructmining.rules.ranking import LengthRule
from instructmining.rules.rule import Rule
from instructmining.rules.schema import RuleDocument
from instructmining.rules.stability import Resampled

from .simulated import series

COLUMNS = {"len_out": "identity", "nll": "identity"}


def rule_of(*slopes: float, **known: object) -> Rule:
    return Rule.from_document(
        RuleDocument(("len_out", "nll"), ("identity",) * 2, slopes, 0.0, Provenance(**known))
    )


def refits_of(draws: np.ndarray) -> Resampled:
    return Resampled(("len_out", "nll"), draws, draws[::-1], (), 0)


def rows_of(n: int = 200, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return pl.DataFrame({"len_out": rng.normal(size=n), "nll": rng.normal(size=n)})


def test_overlaps_are_those_of_sets_compared_one_by_one() -> None:
    rows = rows_of()
    draws = np.random.default_rng(1).normal(size=(12, 2)) * 0.2 + [1.0, -0.5]
    length = LengthRule("len_out", "identity", -1.0, np.array([-1.0, -2.0, 3.0]))
    n, overlaps, undefined = ranking.compare_rankings(
        rows, COLUMNS, rule_of(1.0, -0.5), refits_of(draws), length
    )
    assert (n, undefined) == (200, 0)
    x = rows.to_numpy()
    for one, k in zip(overlaps, (2, 10, 20), strict=True):
        assert one.n == k
        tops = [set(np.argsort(x @ own, kind="stable")[:k].tolist()) for own in draws]
        pairs = [len(a & b) / k for i, a in enumerate(tops) for b in tops[:i]]
        assert one.refits == pytest.approx(tuple(np.quantile(pairs, [0.025, 0.5, 0.975])))
        assert one.repeated == pytest.approx(one.refits)
        own = set(np.argsort(x @ [1.0, -0.5], kind="stable")[:k].tolist())
        longest = set(np.argsort(-x[:, 0], kind="stable")[:k].tolist())
        assert one.with_length == pytest.approx(len(own & longest) / k)
        # Of three refits of length two agree and one points the other way.
        assert one.length_refits is not None
        assert one.length_refits[1] == 0.0


def test_rows_alike_are_taken_in_order_whatever_the_refit() -> None:
    rows = pl.DataFrame({"len_out": np.repeat([0.1, 0.3], 50), "nll": np.zeros(100)})
    draws = np.column_stack([np.linspace(0.1, 3.7, 9), np.zeros(9)])
    _, overlaps, _ = ranking.compare_rankings(rows, COLUMNS, rule_of(1, 0), refits_of(draws), None)
    assert all(one.refits == (1.0, 1.0, 1.0) for one in overlaps)
    best = ranking.top_rows(rows.to_numpy(), draws)
    assert (best == np.arange(10)).all()


def test_rows_without_a_value_are_not_ranked_and_counted() -> None:
    rows = rows_of(100).with_columns(
        nll=pl.when(pl.int_range(100) < 30).then(None).otherwise(pl.col("nll"))
    )
    draws = np.array([[1.0, 0.0], [1.0, 0.1]])
    n, _, undefined = ranking.compare_rankings(rows, COLUMNS, rule_of(1, 0), refits_of(draws), None)
    assert (n, undefined) == (70, 30)
    with pytest.raises(RuleError, match="10 of 40 rows have a value in each of len_out, nll"):
        ranking.compare_rankings(rows[:40], COLUMNS, rule_of(1, 0), refits_of(draws), None)


def test_of_many_rows_the_same_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "MAX_ROWS", 50)
    draws = np.array([[1.0, 0.0], [1.0, 0.5]])
    found = [
        ranking.compare_rankings(rows_of(), COLUMNS, rule_of(1, 0), refits_of(draws), None)
        for _ in range(2)
    ]
    assert found[0] == found[1]
    assert found[0][0] == 50


def test_how_a_rule_uses_single_rows() -> None:
    means = fit_rule(
        series(12, {"len_out": 0.1, "nll": 0.1}), evaluation="human", columns=COLUMNS
    ).means
    means = replace(
        means, features=("clip(len_out)", "nll"), x=np.array([[0.0, 0.0], [2.0, 1.0]] * 6)
    )
    rule = Rule.from_document(
        RuleDocument(
            ("len_out", "nll"),
            ("clip", "identity"),
            (1.0, 1.0),
            0.0,
            Provenance(ranges={"len_out": (0.0, 98.0)}),
        )
    )
    nll = [0.5] * 50 + [2.0] * 30 + [None] * 20
    rows = pl.DataFrame({"len_out": np.arange(100.0), "nll": nll})
    length, loss = ranking.row_use(rows, rule, means)
    assert length.outside == pytest.approx(0.01)
    assert length.clipped == pytest.approx(0.02)
    assert length.beyond_means == pytest.approx(0.97)
    assert length.undefined == 0.0
    spread = np.clip(np.arange(100.0), 0.99, 98.01).std() / means.x[:, 0].std(ddof=1)
    assert length.spread == pytest.approx(spread)
    assert loss.outside is None
    assert loss.clipped == 0.0
    assert loss.undefined == pytest.approx(0.2)
    assert loss.beyond_means == pytest.approx(30 / 80)
