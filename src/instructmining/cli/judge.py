"""``instructmining judge``: the answers of a comparison, put before a judge in pairs."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from instructmining.cli import options
from instructmining.errors import InputError

if TYPE_CHECKING:
    from instructmining.evaluation.judges.server import Server

Folder = Annotated[
    Path, typer.Argument(metavar="COMPARISON", help="Folder of a comparison run with --answer.")
]
Url = Annotated[
    str | None,
    typer.Option(metavar="URL", help="Server that speaks OpenAI's chat completions, …/v1."),
]
Model = Annotated[str | None, typer.Option(help="What the server calls the judge.")]
RewardModel = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Or a reward model the rule does not read; small: the head."),
]
PluginJudge = Annotated[
    str | None, typer.Option("--judge", metavar="NAME", help="Or a judge that a plugin adds.")
]
JudgeOption = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=VALUE", help="Setting of the judge of a plugin; may come again."),
]
KeyVariable = Annotated[
    str, typer.Option(metavar="VARIABLE", help="Environment variable that holds the server's key.")
]
JudgeTokens = Annotated[int, typer.Option(help="Longest reply of the judge.")]
Concurrency = Annotated[int, typer.Option(help="Requests under way at one time.")]
HumanPairs = Annotated[
    str | None,
    typer.Option(metavar="PREFERENCES", help="Pairs people have judged, to measure the judge on."),
]
NPeople = Annotated[int, typer.Option(help="How many of these pairs.")]
Reference = Annotated[
    str | None, typer.Option(metavar="METHOD", help="Held against the others; rule by default.")
]
PriceIn = Annotated[
    float | None, typer.Option(metavar="PRICE", help="Of a million tokens sent to the judge.")
]
PriceOut = Annotated[
    float | None, typer.Option(metavar="PRICE", help="Of a million tokens it writes.")
]
Limit = Annotated[
    int | None, typer.Option(help="Ask only so many questions; 0 shows what it will cost.")
]


def judge(
    comparison: Folder,
    judge_url: Url = None,
    judge_model: Model = None,
    judge_reward: RewardModel = None,
    judge_name: PluginJudge = None,
    judge_option: JudgeOption = None,
    judge_key: KeyVariable = "OPENAI_API_KEY",
    judge_tokens: JudgeTokens = 256,
    concurrency: Concurrency = 8,
    human_pairs: HumanPairs = None,
    n_people: NPeople = 100,
    reference: Reference = None,
    price_in: PriceIn = None,
    price_out: PriceOut = None,
    limit: Limit = None,
) -> None:
    """Have the answers of tuned models judged in pairs, and say how far to trust the judge."""
    from rich.console import Console

    from instructmining import api
    from instructmining.cli.progress import Bars
    from instructmining.report.judgements import render_judged, render_trial

    server = _server(judge_url, judge_model, os.environ.get(judge_key), judge_tokens, concurrency)
    named = (judge_name, _settings(judge_option or []))
    setting = api.JudgingSetting(server, judge_reward, human_pairs, n_people, reference, *named)
    prepared = api.prepare_judging(comparison, setting)
    # What it will cost is talk; standard output is for what came of it.
    prices = None if price_in is None and price_out is None else (price_in or 0, price_out or 0)
    Console(stderr=True).print(render_trial(prepared.trial, prepared.judge, prepared.left, prices))
    with Bars("questions") as bars:
        judged = prepared.run(bars, limit)
    if judged is None:
        options.say(f"{prepared.left} questions are left; run it again to go on")
        return
    Console().print(render_judged(judged))
    options.say(f"written to {prepared.folder / 'judged.json'}")


def _settings(given: Sequence[str]) -> dict[str, str | int | float | bool]:
    """Read ``KEY=VALUE``; what JSON takes for a text, a number or a truth value becomes one."""
    found = {}
    for text in given:
        key, equals, value = text.partition("=")
        key = key.strip().replace("-", "_")
        if not (equals and key.isidentifier()) or key in found:
            raise InputError(f"--judge-option {text!r}: wanted KEY=VALUE, each KEY once")
        try:
            parsed = json.loads(value)
        except ValueError:
            parsed = value
        found[key] = parsed if isinstance(parsed, str | int | float) else value
    return found


def _server(
    url: str | None, model: str | None, key: str | None, tokens: int, concurrency: int
) -> Server | None:
    from instructmining.evaluation.judges.server import Server

    if (url is None) != (model is None):
        raise InputError(
            "--judge-url and --judge-model belong together: where the judge answers, and what it "
            "is called there"
        )
    if url is None or model is None:
        return None
    return Server(url, model, key, tokens, concurrency=concurrency)
