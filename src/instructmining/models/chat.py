"""From turns to token ids: the one tokenisation path of scoring, training and evaluation.

Contents are tokenised so that control strings inside them (``<|im_end|>`` typed by a
user) stay text; only the template's own control tokens become control ids.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import TemplateError

from instructmining.errors import ModelError, first_line
from instructmining.examples import Example, Turn
from instructmining.models.base import encodable

#: Used, and recorded, for a model that brings no chat template of its own.
PLAIN_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}### Response:\n{{ message['content'] }}{{ eos_token }}"
    "{% elif message['role'] == 'system' %}{{ message['content'] }}\n\n"
    "{% else %}### Instruction:\n{{ message['content'] }}\n\n{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}### Response:\n{% endif %}"
)
#: Tokens of one example at most, template included.
MAX_TOKENS = 2_048

# Tokens left for prompt and response after the template's constant beginning.
_LEAST_ROOM = 8

# Private-use characters mark where a content stands in a rendered template.
_MARK = "\ue0f0{}\ue0f1"
_MARKED = re.compile("\ue0f0(\\d+)\ue0f1")


@dataclass(frozen=True, slots=True)
class TokenisedExample:
    """An example as token ids.

    Parameters
    ----------
    prompt : ndarray of int32
        Template and turns up to the point where the model begins to answer.
    response : ndarray of int32
        The response alone.
    end : int
        Id of the token that ends an assistant turn.
    has_prefix : bool
        Whether `prompt` begins with the tokenizer's constant prefix.
    flags : tuple of str
        ``truncated_prompt`` or ``truncated_response`` where tokens were cut.
    """

    prompt: np.ndarray
    response: np.ndarray
    end: int
    has_prefix: bool
    flags: tuple[str, ...] = ()


class ChatTokenizer:
    """Tokenizer and chat template of one model.

    Parameters
    ----------
    folder : Path
        Local folder of the model, holding its tokenizer files.
    max_tokens : int
        Longer examples are cut: first the front of the prompt, then the response's end.

    Raises
    ------
    ModelError
        If the folder holds no usable fast tokenizer.
    """

    def __init__(self, folder: Path, *, max_tokens: int = MAX_TOKENS) -> None:
        from transformers import AutoTokenizer

        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        except (OSError, ValueError) as error:
            raise ModelError(
                f"{folder}: no tokenizer could be loaded ({first_line(error)}); "
                "a folder with tokenizer.json was wanted"
            ) from error
        if not self.tokenizer.is_fast:
            raise ModelError(f"{folder}: a fast tokenizer (tokenizer.json) was wanted")
        self.max_tokens = max_tokens
        self.template: str = self.tokenizer.chat_template or PLAIN_TEMPLATE
        self._layouts: dict[tuple[str, ...], list[str | int] | None] = {}
        # Many tokenizers name only some of their control tokens (`all_special_tokens`).
        added = self.tokenizer.added_tokens_decoder.values()
        named = {*self.tokenizer.all_special_tokens, *(t.content for t in added if t.special)}
        specials = sorted(named, key=lambda token: (-len(token), token))
        # A tokenizer may have no control tokens at all; NUL never occurs in a template.
        self._special = re.compile("(" + "|".join(map(re.escape, specials or ["\0"])) + ")")
        if max_tokens < len(self.prefix) + _LEAST_ROOM:
            raise ModelError(
                f"max_tokens {max_tokens} came, the template's constant beginning alone takes "
                f"{len(self.prefix)}; give at least {len(self.prefix) + _LEAST_ROOM}"
            )

    @property
    def template_hash(self) -> str:
        """First 16 hexadecimal digits of the template's SHA-256."""
        return hashlib.sha256(self.template.encode()).hexdigest()[:16]

    @property
    def bos(self) -> int:
        """Id fed before an unconditional response: begin-of-sequence, else end-of-sequence."""
        bos = self.tokenizer.bos_token_id
        return self._eos if bos is None else int(bos)

    @cached_property
    def prefix(self) -> np.ndarray:
        """Ids with which every prompt without a system turn begins.

        Template header, default system turn and the opening of the first user turn, up
        to its last control token; the same for every example, so a model runs it once.
        """
        layout = self._layout(("user",))
        if not layout or not isinstance(layout[0], str):
            return np.empty(0, dtype=np.int32)
        pieces = self._special.split(layout[0])
        # What follows the last control token merges with the content and is not constant.
        header = "".join(pieces[:-1])
        return self._encode_runs([header])[0] if header else np.empty(0, dtype=np.int32)

    @cached_property
    def end(self) -> int:
        """Id of the token that ends an assistant turn."""
        try:
            rendered = self._render(
                [("user", _MARK.format(0)), ("assistant", _MARK.format(1))], False
            )
        except TemplateError:
            return self._eos
        found = self._special.search(rendered.rpartition(_MARK.format(1))[2])
        return int(self.tokenizer.convert_tokens_to_ids(found.group(1))) if found else self._eos

    @property
    def _eos(self) -> int:
        if self.tokenizer.eos_token_id is None:
            raise ModelError(
                f"{self.tokenizer.name_or_path}: the tokenizer has no end-of-sequence token; "
                "one is wanted, set eos_token in tokenizer_config.json"
            )
        return int(self.tokenizer.eos_token_id)

    @cached_property
    def _continuing(self) -> Any:
        """The tokenizer of text that others precede, where it differs from that of a beginning.

        Some tokenizers put a space before what begins a conversation, and there alone.
        """
        from tokenizers import Tokenizer

        state = json.loads(self.tokenizer.backend_tokenizer.to_str())
        step = state["pre_tokenizer"] or {}
        first = [s for s in (step, *step.get("pretokenizers", ())) if _prepends_once(s)]
        if not first:
            return None
        for step in first:
            step["prepend_scheme"] = "never"
        tokenizer = Tokenizer.from_str(json.dumps(state))
        tokenizer.encode_special_tokens = True
        return tokenizer

    def plain(self, texts: Sequence[str], *, beginning: bool = False) -> list[np.ndarray]:
        """Return the ids of each text, control strings kept as text.

        Parameters
        ----------
        texts : sequence of str
            Each is tokenised on its own.
        beginning : bool
            Whether the texts begin a conversation; by default something stands before them.
        """
        if not texts:
            return []
        clean = [encodable(text) for text in texts]
        if not beginning and self._continuing is not None:
            found = self._continuing.encode_batch(clean, add_special_tokens=False)
            return [np.asarray(one.ids, dtype=np.int32) for one in found]
        encoded = self.tokenizer(
            clean, add_special_tokens=False, split_special_tokens=True, verbose=False
        )
        return [np.asarray(ids, dtype=np.int32) for ids in encoded["input_ids"]]

    def tokenise(self, examples: Sequence[Example]) -> list[TokenisedExample | None]:
        """Return ids for each example; None where the template refuses its turns."""
        # Templates want a turn to answer: a row without a prompt answers an empty one.
        texts = [self._prompt_text(example.turns or (Turn("user", ""),)) for example in examples]
        prompts = iter(self._encode_runs([text for text in texts if text is not None]))
        responses = self.plain([example.response for example in examples])
        return [
            None if text is None else self._cut(next(prompts), response)
            for text, response in zip(texts, responses, strict=True)
        ]

    def _prompt_text(self, turns: tuple[Turn, ...]) -> list[str | tuple[str]] | None:
        layout = self._layout(tuple(turn.role for turn in turns))
        if layout is None:
            merged = _merge_system(turns)
            return None if merged is turns else self._prompt_text(merged)
        return [piece if isinstance(piece, str) else (turns[piece].content,) for piece in layout]

    def _layout(self, roles: tuple[str, ...]) -> list[str | int] | None:
        """Template text and content positions for a sequence of roles, rendered once."""
        if roles not in self._layouts:
            marked = [(role, _MARK.format(index)) for index, role in enumerate(roles)]
            try:
                pieces = _MARKED.split(self._render(marked, True))
            except TemplateError:
                self._layouts[roles] = None
            else:
                layout = [int(p) if i % 2 else p for i, p in enumerate(pieces)]
                self._layouts[roles] = [piece for piece in layout if piece != ""]
        return self._layouts[roles]

    def _render(self, messages: list[tuple[str, str]], generation: bool) -> str:
        rendered = self.tokenizer.apply_chat_template(
            [{"role": role, "content": content} for role, content in messages],
            chat_template=self.template,
            tokenize=False,
            add_generation_prompt=generation,
        )
        return str(rendered)

    def _encode_runs(self, texts: Sequence[Any]) -> list[np.ndarray]:
        """Ids of template text with contents: control tokens only where the template has them.

        Text between two control tokens is tokenised in one run, template and content
        together, so that ordinary records get the ids `apply_chat_template` gives.
        """
        # Runs that begin a conversation, and all others.
        runs: tuple[list[str], list[str]] = ([], [])
        plans: list[list[int | None]] = []  # a control id, or None for the next run
        for text in texts:
            plan: list[int | None] = []
            open_run = ""
            for piece in [text] if isinstance(text, str) else text:
                if isinstance(piece, tuple):
                    open_run += piece[0]
                    continue
                for index, part in enumerate(self._special.split(piece)):
                    if index % 2 == 0:
                        open_run += part
                        continue
                    if open_run:
                        runs[bool(plan)].append(open_run)
                        plan.append(None)
                        open_run = ""
                    plan.append(int(self.tokenizer.convert_tokens_to_ids(part)))
            if open_run:
                runs[bool(plan)].append(open_run)
                plan.append(None)
            plans.append(plan)
        ids = iter(self.plain(runs[0], beginning=True)), iter(self.plain(runs[1]))
        return [
            np.concatenate(
                [
                    next(ids[place > 0]) if step is None else np.asarray([step], dtype=np.int32)
                    for place, step in enumerate(plan)
                ]
                or [np.empty(0, dtype=np.int32)]
            )
            for plan in plans
        ]

    def _cut(self, prompt: np.ndarray, response: np.ndarray) -> TokenisedExample:
        prefix = self.prefix
        # Behind the prefix stand at least one token of the prompt, one of the response, the end.
        fits = 0 < len(prefix) < len(prompt) and len(prefix) + 3 <= self.max_tokens
        has_prefix = fits and np.array_equal(prompt[: len(prefix)], prefix)
        kept_head = len(prefix) if has_prefix else 0
        flags: tuple[str, ...] = ()
        # One place is kept for the end token and one for a last prompt token.
        room = self.max_tokens - kept_head - 2
        if len(response) > room:
            response = response[:room]
            flags += ("truncated_response",)
        room = self.max_tokens - kept_head - len(response) - 1
        body = prompt[kept_head:]
        if len(body) > room:
            body = body[len(body) - room :]
            flags = ("truncated_prompt", *flags)
        if len(prompt) == 0:
            body = np.asarray([self.bos], dtype=np.int32)
        cut = np.concatenate([prompt[:kept_head], body])
        return TokenisedExample(cut, response, self.end, bool(has_prefix), flags)


def _prepends_once(step: dict[str, Any]) -> bool:
    return step.get("type") == "Metaspace" and step.get("prepend_scheme") == "first"


def _merge_system(turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
    """Put a leading system turn into the user turn after it, for templates without one."""
    if len(turns) >= 2 and turns[0].role == "system" and turns[1].role == "user":
        return (Turn("user", f"{turns[0].content}\n\n{turns[1].content}"), *turns[2:])
    return turns
