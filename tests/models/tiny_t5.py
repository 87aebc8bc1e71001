"""A T5 of a few thousand random weights, and the tokenizer of one, made on the spot."""

from __future__ import annotations

import json
import string
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import normalizers
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration, T5Tokenizer

from models.tiny import SEED

_WORDS = (
    "question response dialogue history fact Is this a an in the given natural coherent "
    "understandable Yes No answer what capital colour of to it you letters sailor and word"
)
# `<` is missing in T5's vocabulary too.
_LETTERS = [letter for letter in string.printable if not letter.isspace() and letter not in "<{}~"]
_PIECES = [
    *((control, 0.0) for control in ("<pad>", "</s>", "<unk>")),
    ("▁", -2.0),
    *((letter, -6.0) for letter in _LETTERS),
    *((f"▁{word}", -3.0) for word in _WORDS.split()),
]
#: Rows of the head: more than there are tokens, as published.
_ROWS = 160


def save_t5_tokenizer(folder: Path, *, normalised: bool = False) -> Path:
    """Save a tokenizer that treats control strings and white space as T5's does.

    `normalised` ones read compatibility characters as T5 does, and carry no class of T5.
    """
    tokenizer = T5Tokenizer(vocab=_PIECES, extra_ids=4)
    if normalised:
        backend = tokenizer.backend_tokenizer
        backend.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC()])
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=backend, eos_token="</s>", unk_token="<unk>", pad_token="<pad>"
        )
    tokenizer.save_pretrained(folder)
    return folder


def save_t5(folder: Path, *, gated: bool = False, rows: int = _ROWS) -> Path:
    """Save a two-layer T5 and its tokenizer; return the folder.

    One head is tied to the embeddings and the decoder's output scaled, as in T5; of `gated`
    ones the head stands alone and nothing is scaled, as in T5 v1.1.
    """
    torch.manual_seed(SEED)
    config = T5Config(
        vocab_size=rows,
        d_model=32,
        d_kv=8,
        d_ff=48,
        num_layers=2,
        num_heads=4,
        relative_attention_num_buckets=8,
        feed_forward_proj="gated-gelu" if gated else "relu",
        decoder_start_token_id=0,
    )
    T5ForConditionalGeneration(config).save_pretrained(folder)
    if gated:
        _untie(folder)
    return save_t5_tokenizer(folder, normalised=gated)


def _untie(folder: Path) -> None:
    """Give the checkpoint a head of its own, written as the published ones are."""
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"] = torch.randn(_ROWS, 32) / 32**0.5
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    settings = json.loads((folder / "config.json").read_text())
    settings.pop("scale_decoder_outputs", None)
    settings["tie_word_embeddings"] = False
    (folder / "config.json").write_text(json.dumps(settings))
