from __future__ import annotations

import math
import sys
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from instructmining.errors import ExperimentError
from instructmining.examples import Example
from instructmining.experiments.contest.choosing import Candidates
from instructmining.experiments.contest.comparing import read_candidates
from instructmining.experiments.execute import Executor
from instructmining.experiments.fake import FakeFinetuner, FakeModel
from instructmining.experiments.plan import Setting
from instructmining.experiments.planning import Materials, read_materials
from instructmining.experiments.runs import RunLog
from instructmining.experiments.size.blend import SizeSearch
from instructmining.experiments.size.scope import Scope, Search, Trial, make_search
from instructmining.experiments.size.searching import Results, carry_out, trials
from instructmining.experiments.size.sized import Found, conclude
from instructmining.experiments.tuning.training import Job, Tuned
from instructmining.scoring.table import ScoreTable
from texts import write_pool

N_ROWS = 400
SEEDS = (0, 1)


@dataclass
class SizedTuner:
    """A loss that depends on the number of rows alone, lowest at `optimum`, with a little noise."""

    optimum: int = 60
    noise: float = 0.0002
    asked: list[Job] = field(default_factory=list)

    base = FakeModel(1.0)
    together = 1

    def tuned_together(self, jobs: Sequence[Job]) -> Generator[Tuned, None, None]:
        for place, job in enumerate(jobs):
            self.asked.append(job)
            n = len(job.examples)
            away = math.log(n / self.optimum)
            draw = np.random.default_rng([job.seed, n]).normal()
            yield Tuned(place, FakeModel(0.9 + 0.02 * away**2 + self.noise * draw), 0.0)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> tuple[Materials, Candidates]:
    folder = tmp_path_factory.mktemp("files")
    rows = write_pool(folder / "pool.jsonl", N_ROWS, letters="abcdef", seed=1)
    evaluation = write_pool(folder / "evaluation.jsonl", 20, letters="nopqrst", seed=3)
    sets = [(f"human-{part}", evaluation, part) for part in ("fit", "report")]
    materials = read_materials({"pool": rows}, sets)
    values = {"predicted": np.arange(N_ROWS)[::-1].astype(float)}

    def count(examples: Sequence[Example]) -> list[int]:
        return [len(example.response.split()) + 1 for example in examples]

    candidates, materials = read_candidates(materials, count, values, {})
    return materials, candidates


def search_of(pool: tuple[Materials, Candidates], **scope: Any) -> Search:
    setting = Setting({"name": "none"}, {"epochs": 2, "batch_size": 8}, size=N_ROWS, seeds=SEEDS)
    asked = {"smallest": 8, "largest": N_ROWS, "sizes": 5, "trials": 8, **scope}
    return make_search(*pool, "rule", Scope(**asked), setting)


def executor(search: Search, log: RunLog, tuner: SizedTuner) -> Executor:
    rows = [row for mixture in search.plan.mixtures for row in mixture.rows]
    scores = ScoreTable(pl.DataFrame({"example": [row.digest for row in rows]}).unique(), {})
    measure = FakeFinetuner(scores, {}).measure
    return Executor(search.plan, log, tuner, measure, scores)


def carried_out(
    search: Search, path: Path, tuner: SizedTuner | None = None, limit: int | None = None
) -> Found | None:
    log, tuner = RunLog(path), tuner or SizedTuner()
    ended = carry_out(search, log, lambda: executor(search, log, tuner), limit=limit)
    found = conclude(search, log.records())
    assert ended is (found is not None)
    return found


def test_blendsearch_begins_small_and_comes_near_the_best_size(pool, tmp_path):
    found = carried_out(search_of(pool, trials=12), tmp_path / "runs.jsonl")
    assert found.proposed[0] == 8
    assert len(found.proposed) == len({*found.proposed}) == 12
    assert 35 <= found.best_of("search") <= 100
    assert found.best_of("sweep") == 57
    assert found.best in {found.best_of("search"), found.best_of("sweep")}
    assert found.frugal <= found.best
    assert f"{found.best:,} lose least on the prompts searched on" in found.verdict
    assert any("BlendSearch's 12" in note for note in found.notes)
    assert found.to_json()["scope"]["steps"] == 2 * math.ceil(math.sqrt(8 * N_ROWS) / 8)


def test_a_search_in_pieces_ends_as_one_in_one_go(pool, tmp_path):
    whole = carried_out(search_of(pool), tmp_path / "whole.jsonl")
    pieces = None
    for limit in (1, 6, 7, 3, None):
        assert pieces is None
        pieces = carried_out(search_of(pool), tmp_path / "pieces.jsonl", limit=limit)
    assert [trial.name for trial in pieces.tried] == [trial.name for trial in whole.tried]
    assert replace(pieces, seconds=0, search=whole.search) == replace(whole, seconds=0)


def test_more_trials_go_on_where_fewer_ended(pool, tmp_path):
    few = carried_out(search_of(pool, trials=4), tmp_path / "runs.jsonl")
    tuner = SizedTuner()
    more = carried_out(search_of(pool, trials=8), tmp_path / "runs.jsonl", tuner)
    assert more.proposed[:4] == few.proposed
    assert not {few.proposed[0], few.proposed[3]} & {
        len(one.examples) for one in tuner.asked if not one.steps and not one.steps_per_epoch
    }


def test_curves_take_the_rows_and_steps_they_promise(pool):
    search = search_of(pool, steps=9)
    ranked = search.plan.mixtures[0].rows
    # The lowest prediction is that of the last row.
    assert [row.row for row in ranked[:3]] == [399, 398, 397]
    epochs = search.mixture(Trial("epochs", 20, "sweep"), 0)
    assert (epochs.rows, epochs.steps, epochs.steps_per_epoch) == (ranked[:20], None, None)
    steps = search.mixture(Trial("steps", 20, "comparison"), 0)
    assert (steps.rows, steps.steps, steps.steps_per_epoch) == (ranked[:20], 9, None)
    one, other = (search.mixture(Trial("random", 20, "comparison"), seed) for seed in SEEDS)
    assert {*one.rows} != {*other.rows}
    assert (one.steps, one.steps_per_epoch) == (None, 3)


def test_random_rows_have_as_many_tokens(pool):
    search, candidates = search_of(pool), pool[1]
    tokens = dict(zip(candidates.rows, candidates.tokens, strict=True))
    for size in (8, 57, 400):
        ranked, drawn = (
            sum(tokens[row] for row in search.mixture(Trial(curve, size, "sweep"), 1).rows)
            for curve in ("epochs", "random")
        )
        assert abs(ranked - drawn) <= max(candidates.tokens)
        assert search.n_tokens(Trial("epochs", size, "sweep")) == ranked


def test_fixed_steps_reach_the_tuner(pool, tmp_path):
    tuner = SizedTuner()
    carried_out(search_of(pool, steps=9, trials=0), tmp_path / "runs.jsonl", tuner)
    fixed = [one for one in tuner.asked if one.steps]
    assert {one.steps for one in fixed} == {9}
    assert {len(one.examples) for one in fixed} == {8, 21, 57, 150, 400}


def test_without_trials_the_sweep_alone_is_made(pool, tmp_path):
    found = carried_out(search_of(pool, trials=0), tmp_path / "runs.jsonl")
    assert found.proposed == ()
    assert found.best_of("search") is None
    assert found.best == 57


def test_a_budget_of_tokens_ends_the_search(pool, tmp_path):
    search = search_of(pool)
    found = carried_out(search, tmp_path / "free.jsonl")
    costs = [search.n_tokens(Trial("epochs", k, "search")) * 2 * 2 for k in found.proposed]
    bound = search_of(pool, tokens=sum(costs[:3]))
    assert carried_out(bound, tmp_path / "bound.jsonl").proposed == found.proposed[:3]


def test_a_budget_of_time_ends_the_search(pool, tmp_path):
    search = search_of(pool, seconds=0.0)
    assert len(carried_out(search, tmp_path / "runs.jsonl").proposed) == 1


@pytest.mark.parametrize(("optimum", "said"), [(1, "lower --smallest"), (4000, "raise --largest")])
def test_an_optimum_at_a_bound_is_said(pool, tmp_path, optimum, said):
    found = carried_out(search_of(pool), tmp_path / "runs.jsonl", SizedTuner(optimum))
    assert any(said in note for note in found.notes)


def test_an_inner_optimum_is_not_called_a_bound(pool, tmp_path):
    found = carried_out(search_of(pool), tmp_path / "runs.jsonl")
    assert not any("--smallest" in note or "--largest" in note for note in found.notes)


def test_losses_are_those_of_the_log(pool, tmp_path):
    search = search_of(pool, trials=0)
    carried_out(search, tmp_path / "runs.jsonl", SizedTuner(noise=0))
    results = Results(search, RunLog(tmp_path / "runs.jsonl").records())
    found = results.losses(Trial("epochs", 57, "sweep"), "report").mean
    assert found == pytest.approx(math.exp(0.9 + 0.02 * math.log(57 / 60) ** 2 - 1.0), rel=1e-4)
    assert results.untuned("report").mean == pytest.approx(1)


def test_trials_do_not_depend_on_the_other_proposer(pool, tmp_path):
    search = search_of(pool)
    wide = carried_out(search, tmp_path / "wide.jsonl")
    narrow = carried_out(search_of(pool, sizes=2), tmp_path / "narrow.jsonl")
    assert narrow.proposed == wide.proposed
    results = Results(search, RunLog(tmp_path / "wide.jsonl").records())
    assert list(trials(search, results)) == list(wide.tried)


@pytest.mark.parametrize(
    "scope", [{"smallest": 0}, {"smallest": 400}, {"sizes": 1}, {"trials": -1}]
)
def test_a_scope_without_a_choice_is_refused(pool, scope):
    with pytest.raises(ExperimentError, match="give"):
        search_of(pool, **scope)


def test_blendsearch_without_flaml_is_refused_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "flaml.tune.searcher.blendsearch", None)
    with pytest.raises(ExperimentError, match=r"pip install 'instructmining\[search\]'"):
        SizeSearch(8, 64)


def test_blendsearch_stops_when_all_sizes_were_tried():
    search = SizeSearch(3, 6)
    asked = []
    while (size := search.ask()) is not None:
        asked.append(size)
        search.tell(size, 1.0 / size, size)
    assert sorted(asked) == [3, 4, 5, 6]
