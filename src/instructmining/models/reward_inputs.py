"""What reward models are shown: three ways from an example to token ids.

Control strings inside contents (``<|endoftext|>`` typed by a user) stay text in all three.
Examples over the limit lose the front of the prompt first, and the end of the response
only where the response is too long on its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np

from instructmining.errors import ModelError
from instructmining.examples import Example, Turn
from instructmining.models.base import Item, encodable, unscorable
from instructmining.models.chat import MAX_TOKENS, ChatTokenizer

#: What ``config.json`` of OpenAssistant's Pythia reward models calls their architecture.
OASST_MODEL_TYPE = "gpt_neox_reward_model"
#: Tokens of a sentence pair at most: what pair models are trained on.
PAIR_TOKENS = 512

#: Ids in order: head, prompt, opening of the response's turn, response, closing.
Parts: TypeAlias = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]

_PROMPTER, _ASSISTANT, _END = "<|prompter|>", "<|assistant|>", "<|endoftext|>"
_NONE = np.empty(0, dtype=np.int32)


class RewardInput(Protocol):
    """One way of showing examples to a reward model."""

    @property
    def definition(self) -> Mapping[str, Any]:
        """What the ids depend on besides the tokenizer."""

    def prepare(self, examples: Sequence[Example]) -> list[Item]:
        """Return one item per example, in order: ids, and token types where they are used."""


class OasstInput:
    """``<|prompter|>question<|endoftext|><|assistant|>answer<|endoftext|>``, turn after turn.

    The format has no system turn of its own that these models were trained with (their
    tokenizer knows ``<|system|>``, for other uses): its text stands before that of the next
    user turn, on a line of its own. Any other role is read as the user's, as is a prompt
    that is not there: an empty one.

    Parameters
    ----------
    chat : ChatTokenizer
        Tokenizer of the model; a chat template is not used.

    Raises
    ------
    ModelError
        If the tokenizer lacks one of the control tokens.
    """

    def __init__(self, chat: ChatTokenizer) -> None:
        self._chat = chat
        vocabulary = chat.tokenizer.get_vocab()
        lacking = [token for token in (_PROMPTER, _ASSISTANT, _END) if token not in vocabulary]
        if lacking:
            raise ModelError(
                f"{chat.tokenizer.name_or_path}: the tokenizer has no {' and no '.join(lacking)}; "
                "use the tokenizer files the reward model was published with"
            )
        self._ids = {token: vocabulary[token] for token in (_PROMPTER, _ASSISTANT, _END)}

    @property
    def definition(self) -> Mapping[str, Any]:
        """Format, place of system turns, truncation."""
        return {
            "input": "oasst",
            "system": "prompter-line",
            "truncation": f"prompt-front/{self._chat.max_tokens}",
        }

    def prepare(self, examples: Sequence[Example]) -> list[Item]:
        """Return one item per example; an answer without tokens is flagged."""
        turns = [_system_in_user(example.turns) or [Turn("user", "")] for example in examples]
        contents = iter(self._chat.plain([turn.content for some in turns for turn in some]))
        responses = self._chat.plain([example.response for example in examples])
        items = []
        for example, some, response in zip(examples, turns, responses, strict=True):
            prompt = np.concatenate([self._turn(turn.role, next(contents)) for turn in some])
            if len(response) == 0:
                items.append(unscorable(example.row, "empty_response"))
                continue
            parts = (_NONE, prompt, self._marks(_ASSISTANT), response, self._marks(_END))
            ids, flags = _cut(parts, self._chat.max_tokens)
            items.append(Item(example.row, len(ids), "", (ids,), flags))
        return items

    def _turn(self, role: str, content: np.ndarray) -> np.ndarray:
        speaker = _ASSISTANT if role == "assistant" else _PROMPTER
        return np.concatenate([self._marks(speaker), content, self._marks(_END)])

    def _marks(self, token: str) -> np.ndarray:
        return np.asarray([self._ids[token]], dtype=np.int32)


class PairInput:
    """Question and answer as the tokenizer's own pair: ``[CLS] question [SEP] answer [SEP]``.

    The question is the contents of all turns before the response, joined by spaces.

    Parameters
    ----------
    chat : ChatTokenizer
        Tokenizer of the model.
    token_types : bool
        Whether the model is given token types, which tell question and answer apart.

    Raises
    ------
    ModelError
        If the tokenizer separates nothing, so that pairs are not what the model reads.
    """

    def __init__(self, chat: ChatTokenizer, *, token_types: bool) -> None:
        self._tokenizer = chat.tokenizer
        self._max_tokens = chat.max_tokens
        self._token_types = token_types
        self._letters = _letters_of_control_strings(chat)
        if self._tokenizer.sep_token_id is None:
            raise ModelError(
                f"{self._tokenizer.name_or_path}: the tokenizer has neither a chat template nor a "
                "separator token, so what the model reads is not known; put the template it was "
                "trained with into chat_template.jinja"
            )

    @property
    def definition(self) -> Mapping[str, Any]:
        """Format, what joins turns, truncation."""
        return {
            "input": "pair",
            "history": "space",
            "truncation": f"prompt-front/{self._max_tokens}",
        }

    def prepare(self, examples: Sequence[Example]) -> list[Item]:
        """Return one item per example; an answer without tokens is flagged."""
        if not examples:
            return []
        encoded = self._tokenizer(
            [encodable(" ".join(turn.content for turn in example.turns)) for example in examples],
            [encodable(example.response) for example in examples],
            add_special_tokens=True,
            split_special_tokens=True,
            return_token_type_ids=True,
            truncation=False,
            verbose=False,
        )
        items = []
        for index, example in enumerate(examples):
            # 0 and 1 where a token is of the question and of the answer, else None.
            sides = [-1 if side is None else side for side in encoded.sequence_ids(index)]
            columns = encoded["input_ids"][index], encoded["token_type_ids"][index], sides
            ids, types, side = self._spelled_out(*(np.asarray(c, dtype=np.int32) for c in columns))
            if not (side == 1).any():
                items.append(unscorable(example.row, "empty_response"))
                continue
            question, answer, fixed = (np.flatnonzero(side == part) for part in (0, 1, -1))
            places, flags = _cut((_NONE, question, fixed, answer, _NONE), self._max_tokens)
            kept = np.sort(places)
            payload = (ids[kept], types[kept]) if self._token_types else (ids[kept],)
            items.append(Item(example.row, len(kept), "", payload, flags))
        return items

    def _spelled_out(
        self, ids: np.ndarray, types: np.ndarray, sides: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Put letters where a content holds a control id; return the arrays as long as the ids."""
        found = (sides >= 0) & np.isin(ids, list(self._letters))
        if not found.any():
            return ids, types, sides
        words = [
            self._letters[token] if inside else ids[place : place + 1]
            for place, (token, inside) in enumerate(zip(ids.tolist(), found, strict=True))
        ]
        lengths = [len(word) for word in words]
        return np.concatenate(words), np.repeat(types, lengths), np.repeat(sides, lengths)


def _letters_of_control_strings(chat: ChatTokenizer) -> dict[int, np.ndarray]:
    """Ids that spell control strings which are words of the vocabulary too.

    Vocabularies made by SentencePiece hold ``[SEP]`` among their words, so that asking a
    tokenizer to read control strings as text gives the control id all the same.
    """
    tokenizer = chat.tokenizer
    control = {i: t.content for i, t in tokenizer.added_tokens_decoder.items() if t.special}
    control.pop(tokenizer.unk_token_id, None)
    asis = chat.plain(list(control.values()))
    spelled = chat.plain([f"{text[0]} {text[1:]}" for text in control.values()])
    return {
        token: letters
        for token, ids, letters in zip(control, asis, spelled, strict=True)
        if token in ids
    }


class ChatInput(ChatTokenizer):
    """The whole conversation through the model's chat template, nothing left to generate.

    Parameters
    ----------
    folder : Path
        Local folder of the model, holding its tokenizer files.
    max_tokens : int
        Longer examples are cut. The template's constant beginning, the opening of the
        response's turn and what closes it stay.
    """

    def _render(self, messages: list[tuple[str, str]], generation: bool) -> str:
        # What is scored has been said: no template is asked for the opening of a further turn.
        return super()._render(messages, False)

    @property
    def definition(self) -> Mapping[str, Any]:
        """Format, hash of the template, truncation."""
        return {
            "input": "chat",
            "template": self.template_hash,
            "truncation": f"prompt-front/{self.max_tokens}",
        }

    def prepare(self, examples: Sequence[Example]) -> list[Item]:
        """Return one item per example; an empty answer or refused turns are flagged."""
        texts = [self._conversation(example) for example in examples]
        whole = iter(self._encode_runs([text for text in texts if text is not None]))
        responses = self.plain([example.response for example in examples])
        items = []
        for example, text, response in zip(examples, texts, responses, strict=True):
            ids = None if text is None else next(whole)
            if text is None or ids is None or len(response) == 0:
                flag = "template_refused" if text is None else "empty_response"
                items.append(unscorable(example.row, flag))
                continue
            flags: tuple[str, ...] = ()
            if len(ids) > self.max_tokens:
                ids, flags = _cut(self._parts(text, response), self.max_tokens)
            items.append(Item(example.row, len(ids), "", (ids,), flags))
        return items

    def _conversation(self, example: Example) -> list[str | tuple[str]] | None:
        """Template text and contents; None where the template refuses or drops the answer."""
        # Templates want a turn to answer: a row without a prompt answers an empty one.
        asked = example.turns or (Turn("user", ""),)
        text = self._prompt_text((*asked, Turn("assistant", example.response)))
        contents = [piece for piece in text or () if isinstance(piece, tuple)]
        return text if contents and contents[-1] == (example.response,) else None

    def _parts(self, text: list[str | tuple[str]], response: np.ndarray) -> Parts:
        """Ids of head, prompt, opening, response and closing, each tokenised on its own."""
        contents = [place for place, piece in enumerate(text) if isinstance(piece, tuple)]
        answer = contents[-1]
        asked = contents[-2] if len(contents) > 1 else -1
        pieces = text[: asked + 1], text[asked + 1 : answer], text[answer + 1 :]
        prompt, opening, closing = self._encode_runs(pieces)
        head = self.prefix
        if not np.array_equal(prompt[: len(head)], head):
            head = _NONE
        return head, prompt[len(head) :], opening, response, closing


def reward_input(folder: Path, config: Any, max_tokens: int | None = None) -> RewardInput:
    """Return the format a model was trained with, as its files tell.

    Parameters
    ----------
    folder : Path
        Local folder of the model, holding its tokenizer files.
    config : PreTrainedConfig
        Settings of the model.
    max_tokens : int, optional
        Tokens of one example at most. Default: 2,048, or 512 of a pair, or what the model
        has positions for if that is less.

    Raises
    ------
    ModelError
        If the folder holds no tokenizer, or the format cannot be told.
    """
    chat = ChatInput(folder)
    tokenizer = chat.tokenizer
    is_oasst = config.model_type == OASST_MODEL_TYPE
    is_pair = not is_oasst and not tokenizer.chat_template
    positions = getattr(config.get_text_config(), "max_position_embeddings", None) or MAX_TOKENS
    most = min(PAIR_TOKENS if is_pair else MAX_TOKENS, positions, tokenizer.model_max_length)
    chat.max_tokens = max_tokens or most
    if is_oasst:
        return OasstInput(chat)
    if is_pair:
        of_tokenizer = "token_type_ids" in tokenizer.model_input_names
        of_model = getattr(config, "type_vocab_size", 0) > 1
        return PairInput(chat, token_types=of_tokenizer and of_model)
    return chat


def _system_in_user(turns: Sequence[Turn]) -> list[Turn]:
    """Put system turns before the text of the next turn; each becomes a line of the user's."""
    merged: list[Turn] = []
    lines: list[str] = []
    for turn in turns:
        if turn.role == "system":
            lines.append(turn.content)
        elif turn.role == "user":
            merged.append(Turn("user", "\n".join([*lines, turn.content])))
            lines = []
        else:
            merged += [Turn("user", "\n".join(lines))] if lines else []
            merged.append(turn)
            lines = []
    return [*merged, Turn("user", "\n".join(lines))] if lines else merged


def _cut(parts: Parts, max_tokens: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """Put parts together, cut to `max_tokens`; return them and what to say of the rest."""
    head, prompt, opening, response, closing = parts
    room = max_tokens - len(head) - len(opening) - len(closing)
    if room < 1:
        raise ModelError(
            f"max_tokens {max_tokens} came, the control tokens around one example alone take "
            f"{max_tokens - room}; give at least {max_tokens - room + 1}"
        )
    flags: tuple[str, ...] = ()
    if len(response) > room:
        response = response[:room]
        flags = ("truncated_response",)
    room -= len(response)
    if len(prompt) > room:
        prompt = prompt[len(prompt) - room :]
        flags = ("truncated_prompt", *flags)
    return np.concatenate([head, prompt, opening, response, closing]), flags
