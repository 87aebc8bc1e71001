"""From an example to the token ids of UniEval's questions about its response.

The strings are those of https://github.com/maszhongming/UniEval; a response or a history
cannot add structure to them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from instructmining.errors import ModelError, first_line
from instructmining.examples import Example
from instructmining.models.base import Item, encodable, unscorable

#: The questions as the model was trained on them, in the order of `EvaluatorOutput.logit`.
QUESTIONS: Mapping[str, str] = {
    "naturalness": (
        "question: Is this a natural response in the dialogue? </s> response: {response}"
    ),
    "coherence": (
        "question: Is this a coherent response given the dialogue history? </s> "
        "response: {response} </s> dialogue history: {history}"
    ),
    "understandability": (
        "question: Is this an understandable response in the dialogue? </s> response: {response}"
    ),
}
#: How the turns before the response become the dialogue history.
History = Literal["readme", "plain"]
#: Tokens of one question at most, as in the reference implementation.
MAX_TOKENS = 1_024
#: Raised whenever `QuestionTokenizer.neutralise` changes another text, or changes it otherwise.
NEUTRALISED = "spaced/1"

# The names of fields before their colons; tokenizers of this kind write a space as ▁.
_LABEL = re.compile(r"(?<!\w)(?:question|response|dialogue[\s▁]+history|fact)(?=:)")


class QuestionTokenizer:
    """Tokenizer of one evaluator: from responses and histories to the ids of its questions.

    Parameters
    ----------
    folder : Path
        Local folder of the model, holding its tokenizer files.

    Raises
    ------
    ModelError
        If no fast tokenizer can be loaded, it does not read ``</s>`` as the end of a
        sequence, or it does not tell "Yes" from "No".
    """

    def __init__(self, folder: Path) -> None:
        from transformers import AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        except (OSError, ValueError, ImportError) as error:
            raise ModelError(
                f"{folder}: no tokenizer could be loaded ({first_line(error)}); "
                "a folder with tokenizer.json was wanted; for a spiece.model alone install "
                "sentencepiece and protobuf"
            ) from error
        if not tokenizer.is_fast:
            raise ModelError(f"{folder}: a fast tokenizer (tokenizer.json) was wanted")
        self._folder = folder
        self._backend = tokenizer.backend_tokenizer
        # The file may carry both, as it was last used in training.
        self._backend.no_truncation()
        self._backend.no_padding()
        self._end: int | None = tokenizer.eos_token_id
        self._frames = self._read_frames()
        self.answers = self._find_answers(tokenizer.unk_token_id)
        added = tokenizer.added_tokens_decoder.values()
        special = {*tokenizer.all_special_tokens, *(t.content for t in added if t.special)}
        # Only the first character is matched, so that overlapping tokens are all found.
        heads = (
            f"{re.escape(token[0])}(?={re.escape(token[1:])})"
            for token in sorted(special)
            if len(token) > 1
        )
        self._special = re.compile("|".join(heads))

    def neutralise(self, text: str) -> str:
        """Return `text` with a space put into whatever could be read as structure.

        Behind the first character of the tokenizer's control strings (``</s>`` becomes
        ``< /s>``), and before the colon of the labels ``question:``, ``response:``,
        ``dialogue history:`` and ``fact:``. Where they show only in the characters the
        tokenizer makes of `text`, as in wide forms of theirs, it is these that are returned.
        Any other text stays as it is.
        """
        spaced = self._spaced(text)
        normaliser = self._backend.normalizer
        if normaliser is None:
            return spaced
        # Unigram tokenizers find their control strings in normalised text as well.
        normal = normaliser.normalize_str(spaced)
        again = self._spaced(normal)
        return spaced if again == normal else again

    def _spaced(self, text: str) -> str:
        return _LABEL.sub(r"\g<0> ", self._special.sub(r"\g<0> ", text))

    def items(self, examples: Sequence[Example], histories: Sequence[str]) -> list[Item]:
        """Return one item per example; its payload is the ids of each question in turn.

        A question that is not asked has no ids. Over-long ones are cut to `MAX_TOKENS`:
        first the front of the history, of which a token stays, then the response's end.

        Parameters
        ----------
        examples : sequence of Example
            Whose responses are asked about.
        histories : sequence of str
            What came before each, as `dialogue_history` joins it.
        """
        given = [
            (encodable(example.response), encodable(history))
            for example, history in zip(examples, histories, strict=True)
        ]
        clean = [
            (self.neutralise(response), self.neutralise(history)) for response, history in given
        ]
        texts = [ask(*pair) for pair in clean]
        encoded = self._backend.encode_batch_fast([text for three in texts for text in three])
        ids = [encoding.ids for encoding in encoded]
        items = []
        for place, example in enumerate(examples):
            natural, coherent, understandable = ids[3 * place : 3 * place + 3]
            n_response = len(natural) - len(self._frames[0])
            if n_response <= 0:
                items.append(unscorable(example.row, "empty_response"))
                continue
            flags: tuple[str, ...] = ()
            if len(coherent) - n_response <= len(self._frames[1]):
                coherent, flags = [], ("no_prompt",)
            elif len(coherent) > MAX_TOKENS:
                coherent, flags = self._cut(coherent, texts[place][1], clean[place][1])
            if len(understandable) > MAX_TOKENS:
                flags = (*flags, "truncated_response")
            if clean[place] != given[place]:
                flags = (*flags, "control_text")
            payload = tuple(map(_closed, (natural, coherent, understandable)))
            cost = sum(map(len, payload))
            items.append(Item(example.row, cost, "", payload, tuple(dict.fromkeys(flags))))
        return items

    def _cut(self, ids: list[int], text: str, history: str) -> tuple[list[int], tuple[str, ...]]:
        """Shorten the coherence question `text`, which ends in `history`, to `MAX_TOKENS`."""
        over = len(ids) - MAX_TOKENS
        begin = len(text) - len(history)
        offsets = self._backend.encode(text).offsets
        start = next(place for place, (_, end) in enumerate(offsets) if end > begin)
        # Before the end token one token of the history stays.
        from_history = min(over, len(ids) - 2 - start)
        from_response = over - from_history
        end = ids.index(ids[-1], ids.index(ids[-1]) + 1)
        kept = ids[: end - from_response] + ids[end:start] + ids[start + from_history :]
        taken = {"truncated_prompt": from_history, "truncated_response": from_response}
        return kept, tuple(flag for flag, n in taken.items() if n)

    def _read_frames(self) -> list[list[int]]:
        """Return the ids of the questions about nothing, once they have the right structure."""
        texts = ask("", "")
        frames = [self._backend.encode(text).ids for text in texts]
        for text, ids in zip(texts, frames, strict=True):
            wanted = text.count("</s>") + 1
            if self._end is None or ids.count(self._end) != wanted or ids[-1] != self._end:
                raise ModelError(
                    f"{self._folder}: its tokenizer does not read </s> as the one token that "
                    "ends a sequence, or does not end sequences; the tokenizer of a T5 was wanted"
                )
        return frames

    def _find_answers(self, unknown: int | None) -> tuple[int, int]:
        yes, no = (int(self._backend.encode(word).ids[0]) for word in ("Yes", "No"))
        if yes == no or unknown in (yes, no):
            raise ModelError(
                f'{self._folder}: its tokenizer has no first tokens of their own for "Yes" '
                'and "No"; the tokenizer of a UniEval model was wanted'
            )
        return yes, no


def dialogue_history(example: Example, convention: History) -> str:
    r"""Return all turns before the response, a system turn among them, as one text.

    Parameters
    ----------
    example : Example
        Whose turns.
    convention : {"readme", "plain"}
        ``"readme"``: joined by ``" \n "`` and followed by ``" \n\n"``, as in UniEval's
        README; ``"plain"``: joined by newlines. T5's own tokenizer takes any run of white
        space as one space and drops it at the end: to it the two are the same.
    """
    if convention == "plain":
        return example.prompt
    return " \n ".join(turn.content for turn in example.turns) + " \n\n"


def ask(response: str, history: str) -> tuple[str, ...]:
    """Return the questions about a response, in the order of `QUESTIONS`."""
    return tuple(text.format(response=response, history=history) for text in QUESTIONS.values())


def _closed(ids: list[int]) -> np.ndarray:
    """Return `ids` as int32, cut before their last, which closes them, if there are too many."""
    kept = [*ids[: MAX_TOKENS - 1], ids[-1]] if len(ids) > MAX_TOKENS else ids
    return np.asarray(kept, dtype=np.int32)
