"""The token pass: counts of one tokenizer, no model run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from instructmining.errors import ModelError
from instructmining.examples import Example
from instructmining.models.base import Item, TokenOutput
from instructmining.models.sources import ModelFiles


class TokenPass:
    """Tokens of prompt and response under the tokenizer of a model.

    Contents alone are counted: no template, no control tokens, nothing truncated.

    Parameters
    ----------
    files : ModelFiles
        The model whose ``tokenizer.json`` counts.
    """

    #: Characters of one batch; the tokenizer spreads a batch over the cores.
    budget = 2_000_000

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

    def prepare(self, examples: Sequence[Example]) -> list[Item]:
        """Return one item per example; the cost is counted in characters."""
        return [
            Item(example, len(example.prompt) + len(example.response), "", None)
            for example in examples
        ]

    def run(self, items: Sequence[Item]) -> TokenOutput:
        """Count the tokens of one batch."""
        texts = [text for item in items for text in (item.example.prompt, item.example.response)]
        # Lone surrogates are legal in JSON and impossible in UTF-8.
        clean = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        encodings = self._tokenizer.encode_batch_fast(clean, add_special_tokens=False)
        counts = np.asarray([len(encoding.ids) for encoding in encodings], dtype=np.int64)
        return TokenOutput(n_prompt=counts[0::2], n_response=counts[1::2])
