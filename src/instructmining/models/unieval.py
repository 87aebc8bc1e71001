"""The evaluator pass: UniEval's yes-or-no questions about a response in its dialogue.

A T5 reads a question, the response and, for coherence, what came before it; the logits of
"Yes" and "No" as its first word are the answer. Reference: Zhong et al. 2022, "Towards a
Unified Multi-Dimensional Evaluator for Text Generation" (EMNLP), and its implementation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, get_args

import numpy as np
import torch

from instructmining.errors import InputError, ModelError, first_line
from instructmining.examples import Example
from instructmining.models.base import EvaluatorOutput, Item
from instructmining.models.batching import plan_batches
from instructmining.models.questions import (
    MAX_TOKENS,
    NEUTRALISED,
    QUESTIONS,
    History,
    QuestionTokenizer,
    dialogue_history,
)
from instructmining.models.runtime import (
    pick_device,
    pick_dtype,
    quiet_loading,
    run_or_halve,
    token_budget,
)
from instructmining.models.sources import ModelFiles, check_unchanged

# Batches of the plan hold short and long questions; they are sorted once more inside, and
# the more there are, the fewer are run half empty.
_FULL_BATCHES = 8


class UniEvalPass:
    """One evaluator asked about naturalness, coherence and understandability.

    Parameters
    ----------
    files : ModelFiles
        A UniEval model for dialogue, as `instructmining.models.sources.resolve` found it.
    history : {"readme", "plain"}
        How the turns before the response are joined, see `dialogue_history`.

    Raises
    ------
    InputError
        If `history` is neither.
    ModelError
        If the tokenizer cannot be loaded, or is none of a T5.
    """

    def __init__(self, files: ModelFiles, *, history: History = "readme") -> None:
        if history not in get_args(History):
            known = " or ".join(map(repr, get_args(History)))
            raise InputError(f"history {history!r} came, {known} was wanted; choose one of these")
        self.files = files
        self.history = history
        self.device = pick_device()
        self.dtype = pick_dtype(self.device)
        self.budget = _FULL_BATCHES * token_budget(self.device)
        self.questions = QuestionTokenizer(files.folder)

    @property
    def definition(self) -> Mapping[str, Any]:
        """What the answers depend on."""
        strings = "\n".join(QUESTIONS.values())
        return {
            "model": self.files.name,
            "weights": self.files.weights,
            "template": hashlib.sha256(strings.encode()).hexdigest()[:16],
            "history": self.history,
            "truncation": f"history-front/{MAX_TOKENS}",
            "control_text": NEUTRALISED,
        }

    @property
    def recorded(self) -> Mapping[str, Any]:
        """Number format and device: recorded, never compared."""
        return {"dtype": str(self.dtype).removeprefix("torch."), "device": self.device.type}

    @cached_property
    def model(self) -> Any:
        """The model, its head cut down to the two answers; loaded at first use."""
        return load_evaluator(self.files, self.device, self.dtype, self.questions.answers)

    def prepare(self, examples: Sequence[Example]) -> list[Item]:
        """Tokenise the three questions of each example.

        Flags are ``empty_response`` (nothing is asked), ``no_prompt`` (coherence, which is
        asked of a response given its history, is not asked), ``truncated_prompt``,
        ``truncated_response``, and ``control_text`` (see `QuestionTokenizer.neutralise`).
        """
        histories = [dialogue_history(example, self.history) for example in examples]
        return self.questions.items(examples, histories)

    def run(self, items: Sequence[Item]) -> EvaluatorOutput:
        """Answer one batch; on CUDA it is halved for as long as memory runs out."""
        if not items[0].payload:
            return EvaluatorOutput(np.full((len(items), len(QUESTIONS)), np.nan))
        output = run_or_halve(self._run, items, _join)
        check_unchanged(self.files)
        return output

    def _run(self, items: Sequence[Item]) -> EvaluatorOutput:
        asked = [ids for item in items for ids in item.payload]
        lengths = np.asarray([len(ids) for ids in asked])
        present = np.flatnonzero(lengths)
        logits = np.full(len(asked), np.nan)
        one_group = np.zeros(len(present), dtype=np.int8)
        for batch in plan_batches(lengths[present], one_group, token_budget(self.device)):
            chosen = present[batch]
            logits[chosen] = self._answer([asked[place] for place in chosen])
        return EvaluatorOutput(logits.reshape(len(items), len(QUESTIONS)))

    @torch.inference_mode()
    def _answer(self, batch: Sequence[np.ndarray]) -> np.ndarray:
        """Return the logit of "Yes" minus that of "No", float64, shape (len(batch),)."""
        config = self.model.config
        ids = torch.full((len(batch), max(map(len, batch))), int(config.pad_token_id or 0))
        mask = torch.zeros_like(ids)
        for row, question in enumerate(batch):
            ids[row, : len(question)] = torch.from_numpy(question.astype(np.int64))
            mask[row, : len(question)] = 1
        start = torch.full((len(batch), 1), int(config.decoder_start_token_id))
        answers = self.model(
            input_ids=ids.to(self.device),
            attention_mask=mask.to(self.device),
            decoder_input_ids=start.to(self.device),
            use_cache=False,
        ).logits[:, 0]
        difference: np.ndarray = (answers[:, 0] - answers[:, 1]).cpu().numpy()
        return difference


def load_evaluator(
    files: ModelFiles, device: torch.device, dtype: torch.dtype, answers: tuple[int, int]
) -> Any:
    """Load a T5 for one decoder step; its logits are those of the two `answers` alone.

    Raises
    ------
    ModelError
        If the folder does not hold a T5, or weights of it are missing.
    """
    from transformers import AutoModelForSeq2SeqLM

    quiet_loading()
    try:
        model, report = AutoModelForSeq2SeqLM.from_pretrained(
            files.folder, dtype=dtype, output_loading_info=True, trust_remote_code=False
        )
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{files.name}: cannot be loaded as a sequence-to-sequence model ({first_line(error)})"
        ) from error
    missing = sorted(report["missing_keys"])
    if model.config.model_type == "t5" and _lacks_head(model):
        missing = ["lm_head.weight"]
    if missing:
        names = ", ".join(missing[:3])
        raise ModelError(f"{files.name}: weights are missing ({names}); a whole model was wanted")
    if model.config.model_type != "t5" or model.config.decoder_start_token_id is None:
        raise ModelError(
            f"{files.name}: is a {model.config.model_type} model or lacks decoder_start_token_id; "
            "a T5 that says how decoding starts was wanted"
        )
    if max(answers) >= len(model.lm_head.weight):
        raise ModelError(
            f"{files.name}: its head has {len(model.lm_head.weight)} tokens, its tokenizer more; "
            "put the tokenizer of this model into its folder"
        )
    # The model's own forward pass scales the decoder's output where its configuration says so.
    model.lm_head = _AnswerHead(model.lm_head.weight[list(answers)])
    return model.to(device).eval()


def _lacks_head(model: Any) -> bool:
    """Tell whether the head is the embeddings though the configuration says it is not.

    transformers then ties the two and calls nothing missing. A model whose embeddings do
    serve as its head, as in the first T5, scales the decoder's output.
    """
    scaled: bool = getattr(model.config, "scale_decoder_outputs", True)
    return model.lm_head.weight is model.shared.weight and not scaled


class _AnswerHead(torch.nn.Module):
    """Rows of a language-model head, applied in float64.

    Near certainty the scores of responses differ in their last digits alone; rounded to
    bfloat16, logits of 20 would be 0.06 apart.
    """

    def __init__(self, rows: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", rows.detach().double())

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(hidden.double(), self.get_buffer("weight"))


def _join(parts: Sequence[EvaluatorOutput]) -> EvaluatorOutput:
    return EvaluatorOutput(np.concatenate([part.logit for part in parts]))
