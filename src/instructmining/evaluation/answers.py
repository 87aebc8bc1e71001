"""Answers a model writes to prompts, and the journal they are kept in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from instructmining.errors import ExperimentError
from instructmining.examples import Example
from instructmining.journal import Journal

if TYPE_CHECKING:
    from instructmining.models.chat import ChatTokenizer

#: Tokens of one batch, those to be written included. What an accelerator writes at one time costs
#: it as much as a single answer.
_BATCH_TOKENS, _GPU_BATCH_TOKENS = 8_192, 32_768


@dataclass(frozen=True)
class Writing:
    """How answers are written; recorded beside them.

    Parameters
    ----------
    max_new_tokens : int
        Longer answers are cut.
    temperature : float
        0 takes the likeliest token each time; above it tokens are drawn.
    top_p : float
        Share of the probability tokens are drawn from.
    seed : int
        Of the draws.
    """

    max_new_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what writes nothing.

        Raises
        ------
        ExperimentError
            If a value is out of its range.
        """
        if self.max_new_tokens < 1 or self.temperature < 0 or not 0 < self.top_p <= 1:
            raise ExperimentError(
                f"{self.max_new_tokens} new tokens, temperature {self.temperature:g} and top_p "
                f"{self.top_p:g} came; give at least 1, at least 0, and a share above 0"
            )


@dataclass(frozen=True)
class Answer:
    """What a model wrote.

    Parameters
    ----------
    text : str
        Without control tokens and outer white space.
    n_tokens : int
        Tokens written, the end among them.
    ended : bool
        Whether the model ended it, or the limit did.
    """

    text: str
    n_tokens: int
    ended: bool


class AnswerLog(Journal):
    """Answers of every run, one line a run: texts, in the order of the prompts."""

    name = "file of answers"
    entry = key = "run"
    required = ("run", "mixture", "seed", "prompts", "writing", "answers")


def write_answers(
    model: Any, chat: ChatTokenizer, prompts: Sequence[Example], how: Writing | None = None
) -> list[Answer]:
    """Let a model answer prompts, many at a time.

    Parameters
    ----------
    model : PreTrainedModel or PeftModel
        Causal language model; put in evaluation mode here.
    chat : ChatTokenizer
        Its tokenizer and template.
    prompts : sequence of Example
        Their turns are answered; responses are not looked at.
    how : Writing, optional
        Length and draws.

    Raises
    ------
    ExperimentError
        If the template refuses the turns of a prompt.
    """
    import torch

    how = how or Writing()
    tokens = chat.tokenise([Example(one.row, one.turns, "") for one in prompts])
    refused = [one.row for one, ids in zip(prompts, tokens, strict=True) if ids is None]
    if refused:
        raise ExperimentError(
            f"prompt in row {refused[0]} cannot be asked: the model's chat template refuses its "
            "turns; leave it out or mend its roles"
        )
    ids = [one.prompt for one in tokens if one is not None]
    model.eval()
    torch.manual_seed(how.seed)
    found: dict[int, Answer] = {}
    with torch.inference_mode():
        room = _GPU_BATCH_TOKENS if model.device.type == "cuda" else _BATCH_TOKENS
        for batch in _batches([len(one) for one in ids], how.max_new_tokens, room):
            written = _generate(model, chat, [ids[i] for i in batch], how)
            found.update(zip(batch, written, strict=True))
    return [found[i] for i in range(len(prompts))]


def _batches(lengths: Sequence[int], n_new: int, room: int) -> list[list[int]]:
    """Prompts of similar length together, as many as fit."""
    batches: list[list[int]] = []
    for i in np.argsort(lengths, kind="stable")[::-1]:
        width = lengths[batches[-1][0]] if batches else 0
        if not batches or (len(batches[-1]) + 1) * (width + n_new) > room:
            batches.append([])
        batches[-1].append(int(i))
    return batches


def _generate(
    model: Any, chat: ChatTokenizer, prompts: Sequence[np.ndarray], how: Writing
) -> list[Answer]:
    import torch

    width = max(map(len, prompts))
    # Padded in front, so that every answer begins where its prompt ends.
    ids = torch.full((len(prompts), width), chat.end, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.from_numpy(prompt.astype(np.int64))
        mask[row, width - len(prompt) :] = 1
    drawing = {"temperature": how.temperature, "top_p": how.top_p} if how.temperature else {}
    written = model.generate(
        input_ids=ids.to(model.device),
        attention_mask=mask.to(model.device),
        max_new_tokens=how.max_new_tokens,
        do_sample=how.temperature > 0,
        eos_token_id=chat.end,
        pad_token_id=chat.end,
        **drawing,
    )
    return [_answer(row.tolist(), chat) for row in written[:, width:].cpu()]


def _answer(ids: list[int], chat: ChatTokenizer) -> Answer:
    ended = chat.end in ids
    body = ids[: ids.index(chat.end)] if ended else ids
    text = chat.tokenizer.decode(body, skip_special_tokens=True).strip()
    return Answer(text, len(body) + ended, ended)
