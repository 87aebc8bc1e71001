"""Fine-tuning runs per hour in the pilot's setting: packed against padded, frozen layers kept.

Usage: python -m benchmarks.finetuning [--small] [--repeats N] [--seed N] [--output FOLDER]

A run is training on 128 examples and measuring the loss on the 48 rows of
``examples/demo_eval.jsonl``; ``--small`` takes 16 and 6, two optimiser steps.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from rich.console import Console

from benchmarks.pool import sample
from benchmarks.report import show, write
from benchmarks.timing import (
    REPOSITORY,
    Agreement,
    Options,
    Row,
    Timed,
    in_turn,
    machine,
    say,
)
from instructmining.examples import Example
from instructmining.formats import open_pool

#: The pilot's sources, where the folder of data sets lies beside the repository.
SOURCES = REPOSITORY.parent / "shared" / "data" / "instructions"
FILES = (
    "alpaca_data.json",
    "dolly_3k.json",
    "gsm_8k_train.json",
    "guanaco_1k_first_turn.jsonl",
    "lima_1029_with_source.jsonl",
    "gpteacher_roleplay.json",
)
EVALUATION = REPOSITORY / "examples" / "demo_eval.jsonl"

#: Peak learning rates, not searched for: times do not depend on them.
RATES = {"lora": 1e-3, "top": 2e-4, "full": 5e-5}

#: Losses of runs that should agree may differ by this much, in nats per token. Adam makes
#: large steps of small gradients, so rounding grows; seeds differ by 0.001 to 0.003.
TOLERANCE = 1e-4

#: Examples of a run, in the pilot and with ``--small``.
PILOT, SMALL = 128, 16


def run(options: Options) -> list[Row]:
    """Time whole runs, in turn; resulting losses stand side by side."""
    import torch

    rows = options.rows or PILOT
    examples, pool = mixture(rows, options.seed)
    evaluation = list(open_pool(EVALUATION).examples())
    evaluation = evaluation[: min(len(evaluation), max(6, len(evaluation) * rows // PILOT))]
    # On one thread the time of the processor is what an idle core would have taken.
    alone = torch.get_num_threads() == 1
    bench = _Bench(examples, evaluation, options.seed)
    say(f"loading; {len(examples)} examples of {pool}, {len(evaluation)} evaluation rows")
    contestants = bench.contestants()
    clock = time.process_time if alone else time.perf_counter
    timed = in_turn([_told(*one) for one in contestants.items()], options.repeats, clock)
    found = dict(zip(contestants, timed, strict=True))
    what = f"{len(examples)} examples of {pool}, loss on {len(evaluation)} rows"
    note = (
        "Fine-tuning: SmolLM2-135M-Instruct, batches of 8, one epoch, at most 256 tokens, seed "
        f"{options.seed}; LoRA rank 8 on q and v, or the last 4 layers, or all weights; peak "
        f"rates {RATES['lora']:g}, {RATES['top']:g}, {RATES['full']:g}. Before: padded "
        "micro-batches of 768 tokens and a padded evaluation. Untuned loss "
        f"{bench.untuned:.6f}. " + ("Processor time of one thread." if alone else "Wall time.")
    )
    pairs = [
        ("lora", "before", "LoRA, padded"),
        ("top, first run", "top, nothing kept", "top, packed, nothing kept"),
        ("top, later run", "top, nothing kept", "top, packed, nothing kept"),
        ("top, nothing kept", "before", "LoRA, padded"),
        ("full", "before", "LoRA, padded"),
    ]
    return [_row(what, ours, theirs, name, found, note) for ours, theirs, name in pairs]


def mixture(rows: int, seed: int) -> tuple[list[Example], str]:
    """Draw equally from the pilot's sources, or from the demonstration's pool without them."""
    paths = [SOURCES / name for name in FILES]
    if not all(path.is_file() for path in paths):
        return sample(rows, seed)
    order = random.Random(seed)
    drawn: list[Example] = []
    for position, path in enumerate(paths):
        usable = [example for example in open_pool(path).examples() if example.scorable]
        share = (rows + position) // len(paths)
        drawn += order.sample(usable, share)
    return drawn, "the pilot's six sources"


@dataclass
class _Bench:
    examples: list[Example]
    evaluation: list[Example]
    seed: int
    untuned: float = float("nan")

    def contestants(self) -> dict[str, Callable[[], float]]:
        """Load what is needed and name the runs; each returns its loss in nats per token."""
        tuners = {method: _tuner(method) for method in RATES}
        plain = copy(tuners["top"])
        plain.frozen = None
        self.untuned = self._measured(tuners["lora"], tuners["lora"].base)
        return {
            "before": partial(self._before, tuners["lora"]),
            "lora": partial(self._loss, tuners["lora"]),
            "top, nothing kept": partial(self._loss, plain),
            "top, first run": partial(self._first, tuners["top"]),
            "top, later run": partial(self._loss, tuners["top"]),
            "full": partial(self._loss, tuners["full"]),
        }

    def _loss(self, tuner: Any) -> float:
        with tuner.tuned(self.examples, seed=self.seed) as model:
            return self._measured(tuner, model)

    def _measured(self, tuner: Any, model: Any) -> float:
        from instructmining.evaluation.inference_loss import inference_loss
        from instructmining.models.chat import ChatTokenizer

        chat = ChatTokenizer(tuner.files.folder)
        return inference_loss(model, chat, self.evaluation, tuner.frozen).token_mean

    def _before(self, tuner: Any) -> float:
        with padded():
            return self._loss(tuner)

    def _first(self, tuner: Any) -> float:
        from instructmining.models.frozen import FrozenStates

        first_layer = tuner.frozen.first_layer
        tuner.frozen = FrozenStates(tuner.base, first_layer, tuner.chat.prefix)
        return self._loss(tuner)


@contextmanager
def padded() -> Iterator[None]:
    """Train and measure as before sequences were packed."""
    from instructmining.experiments.tuning import finetune

    evaluation = "instructmining.evaluation.inference_loss.packed"
    with (
        patch(evaluation, lambda model, *_, **__: model),
        patch.object(finetune, "packed", lambda model, *_, **__: model),
        patch.object(finetune, "training_budget", lambda model: 768),
    ):
        yield


def _tuner(method: str) -> Any:
    from instructmining.experiments.tuning.finetune import Finetuner
    from instructmining.experiments.tuning.training import TrainingSetting
    from instructmining.models.sources import DEFAULT_LM, resolve

    setting = TrainingSetting(method=method, learning_rate=RATES[method], max_tokens=256)
    return Finetuner(resolve(DEFAULT_LM), setting)


def _told(name: str, contestant: Callable[[], float]) -> Callable[[], float]:
    def call() -> float:
        began = time.perf_counter()
        loss = contestant()
        say(f"{name}: {time.perf_counter() - began:.0f} s on the clock, loss {loss:.6f}")
        return loss

    return call


def _row(
    what: str, ours: str, theirs: str, against: str, found: dict[str, Timed], note: str
) -> Row:
    one, other = found[ours], found[theirs]
    same = ours.split(",", maxsplit=1)[0] == theirs.split(",", maxsplit=1)[0] or (ours, theirs) == (
        "lora",
        "before",
    )
    text = f"loss {one.result:.6f}, {other.result:.6f}"
    holds = all(abs(a - b) <= TOLERANCE for a, b in zip(one.results, other.results, strict=True))
    return Row(
        what=f"{ours}: {what}",
        unit="runs/h",
        ours=one.rates(3_600),
        theirs=other.rates(3_600),
        against=against,
        agreement=Agreement(text, holds or not same),
        note=note,
    )


def main() -> int:
    """Run this benchmark alone; return 1 if losses that should agree do not."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.finetuning", description=__doc__)
    parser.add_argument("--small", action="store_true", help="16 examples, 6 evaluation rows")
    parser.add_argument("--repeats", type=int, default=1, help="rounds")
    parser.add_argument("--seed", type=int, default=0, help="of the draw and of the runs")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "bench-output" / "finetuning")
    given = parser.parse_args()
    rows = run(Options(SMALL if given.small else None, given.repeats, given.seed))
    described = machine(given.seed)
    write(rows, described, given.output)
    show(rows, described, Console(highlight=False, width=None if sys.stdout.isatty() else 160))
    return 0 if all(row.agrees for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
