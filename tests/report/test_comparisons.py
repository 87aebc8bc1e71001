from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from rich.console import Console, RenderableType

from evaluation.simulated import World
from instructmining.experiments.contest.choosing import Choice, Ration
from instructmining.experiments.contest.comparing import Compared, Contest, judge
from instructmining.experiments.mixtures import Mixture, MixtureRow
from instructmining.experiments.outlook import Outlook
from instructmining.experiments.plan import EvaluationSet, Plan, Setting, Source
from instructmining.report.comparisons import render_compared, render_contest

#: Method to its true log ratio to random.
EFFECTS = {"rule": -0.04, "random": 0.0, "shortest": 0.06, "all": -0.04}
SETS = ("human", "gpt4")


def contest_of(n_seeds: int, kind: str = "tokens") -> Contest:
    seeds = tuple(range(n_seeds))
    rows = tuple(MixtureRow("pool", row, f"{row:032x}") for row in range(5000))
    size = {"rule": 250, "shortest": 1234, "all": 5000}
    choices = [
        Choice(method, Mixture(method, rows[:n], {"pool": 1.0}, method), 40 * n, 32, 5000)
        for method, n in size.items()
    ]
    choices[1:1] = [
        Choice(
            "random",
            Mixture(f"random-s{seed}", rows[: 200 + seed], {"pool": 1.0}, "random", (seed,)),
            40 * (200 + seed),
            32,
            5000,
        )
        for seed in seeds
    ]
    plan = Plan(
        (Source("pool", "pool.jsonl", 5200, "abc", excluded={"duplicate": 150, "[bold]": 50}),),
        tuple(EvaluationSet(name, f"{name}.jsonl", "report", 96, "abc") for name in SETS),
        Setting({"name": "m"}, {"epochs": 3}, size=250, seeds=seeds),
        tuple(choice.mixture for choice in choices),
    )
    ration = Ration(250, "rule", kind=kind, seeds=seeds)  # type: ignore[arg-type]
    return Contest(plan, tuple(choices), ration, 5000, ("[red]a note[/red]",))


def compared_of(n_seeds: int) -> Compared:
    contest = contest_of(n_seeds)
    rng = np.random.default_rng(0)
    drawn = {name: World().draw_losses(rng, n_seeds, EFFECTS) for name in SETS}
    records: list[dict[str, Any]] = []
    for choice in contest.choices:
        for seed in contest.seeds(choice):
            losses = {
                name: {"per_example": list(zip(table[choice.method][seed], tokens, strict=True))}
                for name, (table, tokens) in drawn.items()
            }
            records.append(
                {
                    "mixture": choice.mixture.name,
                    "seed": seed,
                    "losses": losses,
                    "seconds": {"train": 61.0, "evaluate": 1.0},
                }
            )
    untuned = {name: {"token_mean": 2.5, "example_mean": 2.7} for name in SETS}
    records.append({"mixture": None, "seed": None, "losses": untuned})
    return judge(contest, records)


def shown(what: RenderableType, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(what)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_the_verdict_comes_first_and_everything_fits_eighty_columns():
    compared = compared_of(5)
    text = shown(render_compared(compared))
    assert max(map(len, text.splitlines())) <= 80
    assert text.startswith("rule is better than random on human (-")
    joined = " ".join(text.split())
    assert joined.startswith(" ".join(compared.comparison.verdict.split()))
    for name in SETS:
        assert f"\n{name}: 96 prompts\n" in text
    # No row of figures is broken: neither an interval nor a conclusion.
    lines = [line.split() for line in text.splitlines()]
    rows = [line for line in lines if line[:1] == ["random"] and line[-1:] == ["better"]]
    assert len(rows) == len(SETS)
    assert all(line[2] == "%" and line[4] == "…" for line in rows)
    assert "untuned 2.5000 2.7000" in joined
    assert "200 – 204" in text and "8,000 – 8,160" in text
    assert "the 10,000 loss-bearing response tokens of rule's 250 rows" in joined
    assert "[red]a note[/red]" in text


def test_what_is_not_known_with_one_seed_is_a_dash():
    text = shown(render_compared(compared_of(1)))
    assert text.startswith("too few seeds to compare rule with random")
    assert max(map(len, text.splitlines())) <= 80
    assert "nan" not in text.lower() and "None" not in text
    assert "too few seeds" in text and "–" in text


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("tokens", "to the nearest row, and 96 optimiser steps a run"),
        ("rows", "250 rows each, in batches of one size, so 96 optimiser steps a run"),
    ],
)
def test_cost_is_told_before_anything_is_run(kind, said):
    contest = contest_of(3, kind)
    left = contest.plan.runs[-7:]
    assert {mixture for mixture, _ in left} == {
        *("all", "rule", "random-s1", "random-s2", "shortest")
    }
    text = shown(render_contest(contest, left, Outlook(0.002, 120.0, 9, 0.2, 10.0)))
    joined = " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 80
    assert said in joined
    assert joined.startswith("12 runs, 7 of them still to be made")
    assert "duplicate 150, [bold] 50" in joined
    assert "human (report, 96 prompts)" in joined
    rows = sum(len(m.rows) for name, _ in left for m in contest.plan.mixtures if m.name == name)
    hours = (rows * 3 * 0.2 + 7 * 10.0) / 3600
    assert f"About {hours:.1f} h one after another, for rows as long as those of 9" in joined
    assert "before" not in shown(render_contest(contest, left, None))
