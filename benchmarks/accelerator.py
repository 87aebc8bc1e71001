"""What an accelerator gives: fine-tuning and scoring, and what each means of speed brings.

Only where there is one, with bfloat16. Fine-tuning: the same mixtures tuned one after the
other on padded batches, one after the other on packed rows, and side by side. Scoring: losses
of the same rows on padded batches and on packed rows, by SmolLM2 and by a model of Llama's
shape with a billion random weights, which takes the time a trained one takes. Useful tokens
are counted: padding never, what is read again never.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.ceiling import best_product
from benchmarks.pool import sample
from benchmarks.timing import Agreement, Options, Row, in_turn, say
from instructmining.examples import Example
from instructmining.formats import open_pool
from instructmining.models.sources import DEFAULT_LM, ModelFiles, resolve

ROWS = 1_024
#: Runs that are tuned, and how many at one time.
RUNS, TOGETHER = 16, (4, 8, 16)
EVALUATION = Path(__file__).resolve().parents[1] / "examples" / "demo_eval.jsonl"
#: Relative difference of losses that agree: runs that differ by rounding alone, in bfloat16.
TOLERANCE = 5e-3
#: Of a model with a billion weights: width, layers, heads, heads of keys, width between.
BILLION = (2_048, 16, 32, 8, 8_192)


def run(options: Options) -> list[Row]:
    """Measure everything for the packaged model, and scoring for a larger one."""
    import torch

    if not torch.cuda.is_available():
        say("accelerator: none here, nothing to measure")
        return []
    rows = options.rows or ROWS
    files = resolve(DEFAULT_LM)
    found = tuning(files, rows, options) + scoring(files, rows, options, "SmolLM2-135M")
    with tempfile.TemporaryDirectory() as folder:
        large = random_model(files, Path(folder) / "billion")
        return found + scoring(large, rows, options, "random Llama, 1B")


def tuning(files: ModelFiles, rows: int, options: Options) -> list[Row]:
    """Time `RUNS` runs of ``rows / RUNS`` examples each, alone and side by side."""
    from instructmining.evaluation.inference_loss import inference_loss
    from instructmining.experiments.tuning.finetune import Finetuner
    from instructmining.experiments.tuning.training import Job, TrainingSetting

    examples, pool = sample(rows, options.seed)
    jobs = [Job(examples[number::RUNS], number) for number in range(RUNS)]
    evaluation = list(open_pool(EVALUATION).examples())
    setting = TrainingSetting(batch_size=16, max_tokens=256)
    tuner = Finetuner(files, setting, max(TOGETHER))
    measured = partial(inference_loss, chat=tuner.chat, examples=evaluation)
    tokens = _n_tokens(tuner.chat, examples)

    def one_by_one() -> list[float]:
        losses = []
        for job in jobs:
            with tuner.tuned(job.examples, seed=job.seed) as model:
                losses.append(measured(model).token_mean)
        return losses

    def side_by_side(n: int) -> list[float]:
        losses: dict[int, float] = {}
        for first in range(0, len(jobs), n):
            with closing(tuner.tuned_together(jobs[first : first + n])) as tuned:
                losses |= {first + one.place: measured(one.model).token_mean for one in tuned}
        return [losses[place] for place in range(len(jobs))]

    def on_padded() -> list[float]:
        with padded():
            return one_by_one()

    ways: dict[str, Callable[[], list[float]]] = {"packed": one_by_one}
    ways |= {f"{n} side by side": partial(side_by_side, n) for n in TOGETHER}
    fused = fusing(partial(side_by_side, TOGETHER[-1]))
    ways |= {f"{TOGETHER[-1]} side by side, norms compiled": fused, "padded": on_padded}
    what = f"{RUNS} LoRA runs of {len(jobs[0].examples)} rows of {pool}, measured on 48"
    return _against_last(ways, tokens, what, options, _losses_agree)


def scoring(files: ModelFiles, rows: int, options: Options, name: str) -> list[Row]:
    """Time the losses of responses, and say what share of the ceiling that is."""
    from instructmining.evaluation.inference_loss import inference_loss
    from instructmining.models.causal import load_causal_lm
    from instructmining.models.remembered import RememberingTokenizer
    from instructmining.models.runtime import pick_device, pick_dtype

    device = pick_device()
    model = load_causal_lm(files, device, pick_dtype(device))
    chat = RememberingTokenizer(files.folder)
    examples, pool = sample(rows, options.seed)
    tokens = _n_tokens(chat, examples)

    def on_rows(model: Any = model) -> list[float]:
        return [float(v) for v in inference_loss(model, chat, examples).nll_sums]

    def on_padded() -> list[float]:
        with padded():
            return on_rows()

    ways = {"packed": on_rows, "packed, norms compiled": fusing(on_rows), "padded": on_padded}
    what = f"losses of {len(examples)} rows of {pool}, {name}"
    found = _against_last(ways, tokens, what, options, _losses_agree)
    weights = sum(p.numel() for p in model.get_decoder().layers.parameters())
    ceiling = best_product("bfloat16", 1)
    shares = tuple(rate * 2 * weights / 1e9 for rate in found[0].ours)
    least = Row(f"{what}: layers' products", "GFLOP/s", shares, (ceiling,) * len(shares))
    return [*found, least]


@contextmanager
def padded() -> Iterator[None]:
    """Train and measure on padded batches."""
    places = ("evaluation.inference_loss.packed", "experiments.tuning.finetune.packed")
    with ExitStack() as stack:
        for place in places:
            stack.enter_context(patch(f"instructmining.{place}", lambda model, *_, **__: model))
        yield


def fusing(call: Callable[[], list[float]]) -> Callable[[], list[float]]:
    """Let what stands between matrix products be compiled into one kernel each."""
    import torch
    from transformers.models.llama import modeling_llama as llama

    norm = torch.compile(llama.LlamaRMSNorm.forward, dynamic=True)
    turn = torch.compile(llama.apply_rotary_pos_emb, dynamic=True)

    def fused() -> list[float]:
        with (
            patch.object(llama.LlamaRMSNorm, "forward", norm),
            patch.object(llama, "apply_rotary_pos_emb", turn),
        ):
            return call()

    return fused


def random_model(files: ModelFiles, folder: Path, shape: Sequence[int] = BILLION) -> ModelFiles:
    """Save a Llama of `shape` with random weights and the tokenizer of `files`."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    width, layers, heads, keys, between = shape
    config = AutoConfig.from_pretrained(files.folder)
    config.update(
        {
            "hidden_size": width,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": keys,
            "intermediate_size": between,
            "head_dim": width // heads,
        }
    )
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
    for path in files.folder.glob("*token*"):
        shutil.copy(path, folder)
    for path in files.folder.glob("*.jinja"):
        shutil.copy(path, folder)
    return resolve(str(folder))


def _n_tokens(chat: Any, examples: Sequence[Example]) -> int:
    tokens = [one for one in chat.tokenise(examples) if one is not None]
    return sum(len(one.prompt) + len(one.response) for one in tokens)


def _against_last(
    ways: dict[str, Callable[[], list[float]]],
    tokens: int,
    what: str,
    options: Options,
    agree: Callable[[list[float], list[float]], Agreement],
) -> list[Row]:
    """Time every way in turn, after one call each, and hold all but the last against it."""
    for name, way in ways.items():
        say(f"{what}: {name}")
        way()
    timed = dict(zip(ways, in_turn(list(ways.values()), options.repeats), strict=True))
    *names, last = ways
    return [
        Row(
            what=f"{what}: {name}",
            unit="tokens/s",
            ours=timed[name].rates(tokens),
            theirs=timed[last].rates(tokens),
            against=last,
            agreement=agree(timed[name].result, timed[last].result),
        )
        for name in names
    ]


def _losses_agree(ours: list[float], theirs: list[float]) -> Agreement:
    off = max(abs(a / b - 1) for a, b in zip(ours, theirs, strict=True))
    return Agreement(f"within {off:.1e}", off < TOLERANCE)
