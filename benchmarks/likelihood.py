"""``nll`` and ``ifd`` against wana (llama.cpp) and against a plain transformers loop.

All three score the same rows in turn, with the same weights: the Q4_1 file wana bundles is
the one our small model is converted from. Loading is left out, and so is a first call on a
few rows. Ours is the engine with an empty store: tokenisation, planning and writing the
store are inside. wana keeps its own settings, but for the better of two numbers of threads.
Rows of more tokens than wana accepts are left out of the sample.

For packed weights llama.cpp rounds activations to 8 bits, which moves a mean over a handful
of tokens by up to 0.2 nats. Whether the scores agree is therefore judged against wana run
once, not timed, with the same weights unpacked to float32; both correlations are reported.

A second line compares whole commands as a user types them, start and loading included.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.peer_wana import Wana, WanaError, environment, record
from benchmarks.pool import sample
from benchmarks.timing import Agreement, Aim, Options, Row, Timed, in_turn, say
from instructmining.examples import Example
from instructmining.models.sources import DEFAULT_LM, resolve

if TYPE_CHECKING:
    from instructmining.scoring.labour import Labour

ROWS = 48
#: Rows of the untimed first call, and of the choice between numbers of threads.
WARM_UP = 4
#: wana's default, and one thread for each of two cores.
WANA_THREADS = (4, 2)
#: Least rank correlation of scores that agree.
SPEARMAN = 0.999
WANA_AIM = Aim("ratio", 6.0)

Scorer = Callable[[Sequence[Example]], np.ndarray]


def run(options: Options) -> list[Row]:
    """Time the three contestants, then the two commands."""
    examples, pool = sample(options.rows or ROWS, options.seed)
    examples = [example for example, whole in zip(examples, _whole(examples), strict=True) if whole]
    n = len(examples)
    contestants: list[Scorer] = [library(), plain_loop()]
    wana: Wana | None = None
    missing = ""
    with ExitStack() as stack:
        try:
            wana = stack.enter_context(_better_wana(options, examples[:WARM_UP]))
            contestants.append(wana.score)
        except WanaError as error:
            missing = str(error)
            say(f"likelihood: {missing}")
        for score in contestants[:2]:
            score(examples[:WARM_UP])
        say(f"likelihood: {n} rows, {options.repeats} rounds, {len(contestants)} contestants")
        calls = [partial(score, examples) for score in contestants]
        ours, plain, *theirs = in_turn(calls, options.repeats)
    what = f"nll + ifd, {n} rows of {pool}"
    against_loop = _against_loop(what, examples, ours, plain)
    if wana is None:
        absent = Row(
            what,
            "rows/s",
            ours.rates(n),
            against="wana: not measured",
            aim=WANA_AIM,
            note=missing,
        )
        return [absent, against_loop]
    against_wana = _against_wana(what, examples, ours, theirs[0], wana)
    return [against_wana, against_loop, _commands(examples, pool, wana)]


def library(columns: Sequence[str] = ("nll", "ifd"), labour: Labour | None = None) -> Scorer:
    """Return our scoring with its model kept loaded; each call begins with an empty store."""
    from instructmining.indicators.base import indicators_for
    from instructmining.scoring.engine import Engine
    from instructmining.scoring.labour import Local
    from instructmining.scoring.passes import Models
    from instructmining.scoring.store import Store

    models = Models()

    def score(examples: Sequence[Example]) -> np.ndarray:
        with tempfile.TemporaryDirectory() as folder:
            engine = Engine(Store(Path(folder)), models, labour=labour or Local())
            table = engine.score(examples, indicators_for(columns), columns=columns)
        return table.frame.select(columns).to_numpy()

    return score


def plain_loop(dtype: str | None = None) -> Scorer:
    """Return what a user would write: one row at a time, two forward passes with labels.

    In the number format ours would take, unless one is named.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from instructmining.models.runtime import pick_device, pick_dtype, quiet_loading

    quiet_loading()
    device = pick_device()
    folder = resolve(DEFAULT_LM).folder
    tokenizer = AutoTokenizer.from_pretrained(folder)
    chosen = getattr(torch, dtype) if dtype else pick_dtype(device)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=chosen)
    model = model.to(device).eval()

    def loss(context: list[int], answer: list[int]) -> float:
        ids = torch.tensor([context + answer], device=device)
        labels = torch.tensor([[-100] * len(context) + answer], device=device)
        return float(model(input_ids=ids, labels=labels).loss)

    @torch.inference_mode()
    def score(examples: Sequence[Example]) -> np.ndarray:
        found = []
        for example in examples:
            turns = [{"role": turn.role, "content": turn.content} for turn in example.turns]
            prompt = tokenizer.apply_chat_template(
                turns, add_generation_prompt=True, return_dict=False
            )
            answer = tokenizer(example.response, add_special_tokens=False)["input_ids"]
            nll = loss(prompt, answer)
            found.append([nll, nll / loss([tokenizer.bos_token_id], answer)])
        return np.asarray(found)

    return score


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Rank correlation of two columns of scores."""
    import polars as pl

    frame = pl.DataFrame({"a": a, "b": b})
    return float(frame.select(pl.corr("a", "b", method="spearman")).item())


def _whole(examples: Sequence[Example]) -> list[bool]:
    """Whether each row is scored uncut, which wana demands."""
    from instructmining.models.chat import ChatTokenizer

    tokenised = ChatTokenizer(resolve(DEFAULT_LM).folder).tokenise(examples)
    return [tokens is not None and not tokens.flags for tokens in tokenised]


def _better_wana(options: Options, examples: Sequence[Example]) -> Wana:
    """Return the faster of wana's settings on a few rows; the other one is ended."""
    python = options.wana_python or environment()
    say("likelihood: choosing wana's number of threads")
    found = [Wana(python, threads) for threads in WANA_THREADS]
    for wana in found:
        wana.score(examples[:1])
    timed = in_turn([partial(wana.score, examples) for wana in found], 1)
    best = min(range(len(found)), key=lambda index: timed[index].seconds[0])
    for index, wana in enumerate(found):
        if index != best:
            wana.close()
    return found[best]


def _against_loop(what: str, examples: Sequence[Example], ours: Timed, plain: Timed) -> Row:
    """Equal but for rounding: a loop in bfloat16 rounds more than ours, so float32 decides."""
    from instructmining.models.runtime import pick_device, pick_dtype

    n = len(examples)
    dtype = str(pick_dtype(pick_device())).removeprefix("torch.")
    exactly = plain.result if dtype == "float32" else plain_loop("float32")(examples)
    difference = np.abs(ours.result[:, 0] - exactly[:, 0])
    middle, worst = float(np.median(difference)), float(difference.max())
    exact = dtype == "float32"
    holds = worst <= 1e-4 if exact else middle <= 3e-3
    return Row(
        what=what,
        unit="rows/s",
        ours=ours.rates(n),
        theirs=plain.rates(n),
        against=f"transformers, batch 1, two forwards, {dtype}",
        agreement=Agreement(
            f"nll: median |Δ| {middle:.1e}, max {worst:.1e} against float32", holds
        ),
    )


def _against_wana(
    what: str, examples: Sequence[Example], ours: Timed, theirs: Timed, wana: Wana
) -> Row:
    say("likelihood: wana's scores in float32")
    with Wana(wana.python, wana.threads, float32=True) as unpacked:
        exact = _distance(ours.result, unpacked.score(examples))
    packed = _distance(ours.result, theirs.result)
    return Row(
        what=what,
        unit="rows/s",
        ours=ours.rates(len(examples)),
        theirs=theirs.rates(len(examples)),
        against=wana.label,
        agreement=Agreement(
            f"{exact.text} with its weights in float32; as it comes {packed.text}", exact.holds
        ),
        aim=WANA_AIM,
    )


def _distance(ours: np.ndarray, theirs: np.ndarray) -> Agreement:
    """Compare `nll` and `ifd` with wana's two mean losses."""
    theirs = np.column_stack([theirs[:, 0], theirs[:, 0] / theirs[:, 1]])
    ranks = [spearman(ours[:, column], theirs[:, column]) for column in range(2)]
    apart = np.median(np.abs(ours - theirs), axis=0)
    text = f"Spearman nll {ranks[0]:.4f}, ifd {ranks[1]:.4f}, median |Δ| "
    text += f"{apart[0]:.4f}, {apart[1]:.4f}"
    return Agreement(text, min(ranks) >= SPEARMAN)


def _commands(examples: Sequence[Example], pool: str, wana: Wana) -> Row:
    """Time both command lines once, from start to exit."""
    say("likelihood: whole commands")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = folder / "rows.jsonl"
        lines = [json.dumps(record(example)) for example in examples]
        rows.write_text("\n".join(lines) + "\n", encoding="utf-8")
        ours = [sys.executable, "-m", "instructmining", "score", str(rows)]
        ours += ["-o", str(folder / "ours.parquet"), "--indicators", "nll,ifd"]
        ours += ["--store", str(folder / "store")]
        theirs = [
            str(wana.python),
            "-m",
            "wana",
            "score",
            str(rows),
            "-o",
            str(folder / "theirs.jsonl"),
        ]
        mine, other = in_turn([lambda: _quiet(ours), lambda: _quiet(theirs)], 1)
    return Row(
        what=f"whole command, nll + ifd, {len(examples)} rows of {pool}",
        unit="s",
        ours=mine.seconds,
        theirs=other.seconds,
        against=f"wana {wana.versions['wana']}, its default of 4 threads",
        higher_is_better=False,
        note="Whole commands are timed once, start and model loading included.",
    )


def _quiet(command: list[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
