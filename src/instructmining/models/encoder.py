"""The sentence encoder pass: one embedding of prompt and response per example."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch

from instructmining.errors import ModelError, first_line
from instructmining.examples import Example
from instructmining.models.base import EncoderOutput, Item, encodable
from instructmining.models.runtime import pick_device, quiet_loading, run_or_halve, token_budget
from instructmining.models.sources import ModelFiles, check_unchanged

#: Flag of a text longer than the encoder reads.
TRUNCATED = "truncated_embedding"
#: Tokens of a batch at least: texts are short, and each batch has its own overhead.
_LEAST = 8_192


class EncoderPass:
    """One sentence encoder run over "prompt, newline, response".

    Embeddings are computed in float32 whatever the device: distances between close
    neighbours are differences of nearly equal numbers.

    Parameters
    ----------
    files : ModelFiles
        A sentence-transformers model.
    """

    def __init__(self, files: ModelFiles) -> None:
        self.files = files
        self.device = pick_device()
        self.budget = max(_LEAST, 2 * token_budget(self.device))

    @cached_property
    def model(self) -> Any:
        """The encoder, loaded at first use."""
        from sentence_transformers import SentenceTransformer

        quiet_loading()
        try:
            return SentenceTransformer(
                str(self.files.folder), device=str(self.device), local_files_only=True
            ).float()
        except (OSError, ValueError) as error:
            raise ModelError(
                f"{self.files.name}: cannot be loaded as a sentence encoder ({first_line(error)})"
            ) from error

    @cached_property
    def _limit(self) -> int:
        """Tokens the encoder reads at most, known without loading it where a file says so."""
        path = self.files.folder / "sentence_bert_config.json"
        written = json.loads(path.read_bytes()) if path.is_file() else {}
        return int(written.get("max_seq_length") or self.model.max_seq_length)

    @property
    def definition(self) -> Mapping[str, Any]:
        """What an embedding depends on."""
        return {
            "model": self.files.name,
            "weights": self.files.weights,
            "text": "prompt\\nresponse",
            "truncation": f"end/{self._limit}",
        }

    @property
    def recorded(self) -> Mapping[str, Any]:
        """Number format and device: recorded, never compared."""
        return {"dtype": "float32", "device": self.device.type}

    def prepare(self, examples: Sequence[Example]) -> list[Item]:
        """Tokenise examples; texts the encoder cannot read to the end are flagged."""
        if not examples:
            return []
        limit = self._limit
        tokenizer = self.model.tokenizer
        encoded = tokenizer(
            [_text(example) for example in examples],
            add_special_tokens=True,
            split_special_tokens=True,
            truncation=False,
            verbose=False,
        )["input_ids"]
        items = []
        for example, ids in zip(examples, encoded, strict=True):
            flags = (TRUNCATED,) if len(ids) > limit else ()
            # The last id closes the sequence and stays.
            kept = [*ids[: limit - 1], ids[-1]] if len(ids) > limit else ids
            payload = (np.asarray(kept, dtype=np.int32),)
            items.append(Item(example.row, len(kept), "", payload, flags))
        return items

    def run(self, items: Sequence[Item]) -> EncoderOutput:
        """Embed one batch; on CUDA it is halved for as long as memory runs out."""
        output = run_or_halve(self._run, items, _join)
        check_unchanged(self.files)
        return output

    def _run(self, items: Sequence[Item]) -> EncoderOutput:
        width = max(item.cost for item in items)
        ids = torch.full((len(items), width), int(self.model.tokenizer.pad_token_id or 0))
        mask = torch.zeros_like(ids)
        for row, item in enumerate(items):
            ids[row, : item.cost] = torch.from_numpy(item.payload[0].astype(np.int64))
            mask[row, : item.cost] = 1
        features = {"input_ids": ids.to(self.device), "attention_mask": mask.to(self.device)}
        with torch.inference_mode():
            embedding = self.model(features)["sentence_embedding"].float()
            embedding = torch.nn.functional.normalize(embedding, dim=-1)
        return EncoderOutput(embedding.cpu().numpy())


def _join(parts: Sequence[EncoderOutput]) -> EncoderOutput:
    return EncoderOutput(np.concatenate([part.embedding for part in parts]))


def _text(example: Example) -> str:
    return encodable(f"{example.prompt}\n{example.response}")
