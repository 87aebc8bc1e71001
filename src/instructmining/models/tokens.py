"""The token pass: counts of one tokenizer, no model run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from instructmining.errors import ModelError
from instructmining.examples import Example
from instructmining.models.base import TokenOutput, encodable
from instructmining.models.sources import ModelFiles

#: Characters tokenised at one time; the tokenizer spreads them over the cores.
_BATCH = 2_000_000


class TokenPass:
    """Tokens of prompt and response under the tokenizer of a model.

    Contents alone are counted: no template, no control tokens, nothing truncated.

    Parameters
    ----------
    files : ModelFiles
        The model whose ``tokenizer.json`` counts.
    """

    def __init__(self, files: ModelFiles) -> None:
        self.files = files

    @cached_property
    def _path(self) -> Path:
        path = self.files.folder / "tokenizer.json"
        if not path.is_file():
            raise ModelError(f"{self.files.name}: no tokenizer.json; a fast tokenizer was wanted")
        return path

    @cached_property
    def _hash(self) -> str:
        # The file of a packaged model is converted here, and its bytes depend on the
        # converter's version; what it was converted from does not.
        if self.files.kind == "package":
            return self.files.weights[:16]
        return hashlib.sha256(self._path.read_bytes()).hexdigest()[:16]

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        try:
            tokenizer = Tokenizer.from_file(str(self._path))
        except Exception as error:  # the library raises nothing narrower
            raise ModelError(
                f"{self._path}: cannot be read as a tokenizer ({error}); "
                "fetch the model again, or save it with save_pretrained"
            ) from error
        # The file may carry both, as it was last used in training.
        tokenizer.no_truncation()
        tokenizer.no_padding()
        # Control strings typed into a record are text there, and counted as text.
        tokenizer.encode_special_tokens = True
        return tokenizer

    @property
    def definition(self) -> Mapping[str, Any]:
        """What the counts depend on: the tokenizer, not the weights beside it."""
        return {"tokenizer": self.files.name, "tokenizer_hash": self._hash}

    @property
    def recorded(self) -> Mapping[str, Any]:
        """Nothing: counts are exact."""
        return {}

    def run(self, examples: Sequence[Example]) -> TokenOutput:
        """Count the tokens of prompts and responses."""
        tokenizer, counts = self._tokenizer, list[int]()
        for start, end in _slices([len(e.prompt) + len(e.response) for e in examples]):
            texts = [encodable(t) for e in examples[start:end] for t in (e.prompt, e.response)]
            encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
            counts += [len(encoding.ids) for encoding in encodings]
        pairs = np.asarray(counts, dtype=np.int64).reshape(-1, 2)
        return TokenOutput(n_prompt=pairs[:, 0], n_response=pairs[:, 1])


def _slices(sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield start and end of runs of at most `_BATCH` characters, or of one row."""
    start = held = 0
    for end, size in enumerate(sizes):
        if held + size > _BATCH and end > start:
            yield start, end
            start, held = end, 0
        held += size
    if start < len(sizes):
        yield start, len(sizes)
