from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from instructmining.errors import ExperimentError
from instructmining.experiments.mixtures import SourcePool, SourceRow
from instructmining.experiments.tilting import KINDS, ScoredRows, draw_candidates, mixture_rows

COLUMNS = {"a": "identity", "b": "identity", "c": "identity"}


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def pools_and_scores(
    sizes: dict[str, int], seed: int = 0
) -> tuple[dict[str, SourcePool], pl.DataFrame]:
    """Sources whose features have other means each; b follows a."""
    random = np.random.default_rng(seed)
    pools, scores = {}, []
    for number, (name, n) in enumerate(sizes.items()):
        rows = tuple(SourceRow(i, digest(f"{name}-{i}"), 1) for i in range(n))
        pools[name] = SourcePool(name, rows, n)
        drawn = random.normal(size=(n, 3)) + number
        drawn[:, 1] = 0.8 * drawn[:, 0] + 0.6 * drawn[:, 1]
        scores += [(row.digest, *values) for row, values in zip(rows, drawn, strict=True)]
    return pools, pl.DataFrame(scores, schema=["example", *COLUMNS], orient="row")


def scored(sizes: dict[str, int] | None = None) -> ScoredRows:
    pools, scores = pools_and_scores(sizes or {"s1": 300, "s2": 200, "s3": 60})
    return ScoredRows.of(pools, scores, COLUMNS)


def test_rows_are_joined_with_their_scores_whatever_the_order():
    pools, scores = pools_and_scores({"s1": 5, "s2": 4})
    rows = ScoredRows.of(pools, scores.reverse(), COLUMNS)
    assert [row.source for row in rows.rows] == ["s1"] * 5 + ["s2"] * 4
    assert rows.source.tolist() == [0] * 5 + [1] * 4
    np.testing.assert_array_equal(rows.x, scores.select("a", "b", "c").to_numpy())
    transformed = ScoredRows.of(pools, scores, {"c": "log1p"})
    assert transformed.features == ("log1p(c)",)


def test_a_text_in_two_sources_is_left_to_the_first():
    pools, scores = pools_and_scores({"s1": 5, "s2": 4})
    twice = replace(pools["s2"], rows=(*pools["s2"].rows, pools["s1"].rows[0]))
    rows = ScoredRows.of({**pools, "s2": twice}, scores, COLUMNS)
    assert len(rows.rows) == 9


def test_undefined_rows_are_left_out_and_counted():
    pools, scores = pools_and_scores({"s1": 5})
    broken = scores.with_columns(a=pl.when(pl.int_range(5) == 2).then(None).otherwise(pl.col("a")))
    rows = ScoredRows.of(pools, broken, COLUMNS)
    assert rows.n_undefined == 1
    assert [row.row for row in rows.rows] == [0, 1, 3, 4]


def test_missing_columns_and_rows_are_named():
    pools, scores = pools_and_scores({"s1": 5})
    with pytest.raises(ExperimentError, match="without column z"):
        ScoredRows.of(pools, scores, {"z": "identity"})
    with pytest.raises(ExperimentError, match="s1: row 4 has no scores"):
        ScoredRows.of(pools, scores[:4], COLUMNS)


def test_units_are_standard_deviations():
    rows = scored()
    for number in range(3):
        np.testing.assert_allclose(rows.within[rows.source == number].mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose((rows.within**2).mean(axis=0), 1)
    np.testing.assert_allclose(rows.across.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(rows.across.std(axis=0), 1)


def test_candidates_hold_distinct_rows_of_the_size_and_shares_they_say():
    rows = scored()
    drawn = draw_candidates(rows, 40, 60, seed=0)
    assert len(drawn) == len(drawn.specs) == 60
    for place, (chosen, shares) in enumerate(zip(drawn.places, drawn.shares, strict=True)):
        assert len(set(chosen.tolist())) == 40
        counts = np.bincount(rows.source[chosen], minlength=3)
        np.testing.assert_allclose(shares, counts / 40)
        np.testing.assert_allclose(drawn.x[place], rows.x[chosen].mean(axis=0))


def test_tilted_means_are_spread_far_more_than_uniform_ones():
    rows = scored()
    drawn = draw_candidates(rows, 40, 200, seed=0)
    plain = draw_candidates(rows, 40, 200, seed=0, tilted=False)

    def spread(candidates):
        # About what the shares of the sources explain.
        shares = np.column_stack([np.ones(200), candidates.shares[:, 1:]])
        fitted = shares @ np.linalg.lstsq(shares, candidates.x, rcond=None)[0]
        return (candidates.x - fitted).std(axis=0)

    assert (spread(drawn) > 3 * spread(plain)).all()


def test_some_candidates_leave_each_source_out_and_all_kinds_occur():
    drawn = draw_candidates(scored(), 40, 200, seed=0)
    absent = (drawn.shares == 0).mean(axis=0)
    assert ((absent > 0.2) & (absent < 0.6)).all()
    words = " ".join(drawn.specs)
    assert all(kind in words for kind in KINDS if kind != "none")
    assert sum(not spec.startswith(("+", "-")) for spec in drawn.specs) > 5


def test_the_draw_depends_on_content_and_seed_only():
    pools, scores = pools_and_scores({"s1": 90, "s2": 70})
    rows = ScoredRows.of(pools, scores, COLUMNS)
    turned = {name: replace(pool, rows=tuple(reversed(pool.rows))) for name, pool in pools.items()}
    other = ScoredRows.of(dict(reversed(turned.items())), scores, COLUMNS)
    for one, two in zip(
        draw_candidates(rows, 30, 20, seed=4).places,
        draw_candidates(other, 30, 20, seed=4).places,
        strict=True,
    ):
        assert {rows.rows[i] for i in one} == {other.rows[i] for i in two}
    # More candidates, or another seed: the first stay, or all change.
    more = draw_candidates(rows, 30, 25, seed=4)
    few = draw_candidates(rows, 30, 20, seed=4)
    assert more.specs[:20] == few.specs
    assert draw_candidates(rows, 30, 20, seed=5).specs != few.specs


def test_every_row_can_be_drawn():
    rows = scored({"s1": 50, "s2": 50})
    drawn = draw_candidates(rows, 25, 300, seed=0)
    assert len(set(np.concatenate(drawn.places).tolist())) == 100


def test_small_sources_are_filled_up_by_others():
    # Alone, none of the sources fills a mixture.
    rows = scored({"s1": 12, "s2": 12, "s3": 12})
    drawn = draw_candidates(rows, 30, 50, seed=0)
    assert {len(places) for places in drawn.places} == {30}
    with pytest.raises(ExperimentError, match="mixtures of 37 rows from 36"):
        draw_candidates(rows, 37, 1, seed=0)


def test_rows_of_a_mixture_are_mixed_in_a_seeded_order():
    rows = scored()
    places = list(range(0, 560, 14))
    ordered = mixture_rows(rows, places, "m", 0)
    assert set(ordered) == {rows.rows[i] for i in places}
    assert ordered == mixture_rows(rows, places[::-1], "m", 0)
    assert ordered != mixture_rows(rows, places, "m", 1)
    assert len({row.source for row in ordered[:10]}) > 1
