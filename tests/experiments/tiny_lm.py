"""A random Llama of a few thousand weights with a byte-level tokenizer, and texts for it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from instructmining.examples import Example, Turn

#: ChatML; like the small model's template it adds a system turn where none is given.
CHATML = (
    "{% if messages[0]['role'] != 'system' %}"
    "<|im_start|>system\nYou are helpful.<|im_end|>\n{% endif %}"
    "{% for message in messages %}"
    "{% if message['role'] == 'tool' %}{{ raise_exception('no tools') }}{% endif %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def save_tiny_lm(folder: Path, seed: int = 0) -> Path:
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    # No merges: a token is a byte, and ids of a text are those of its parts.
    symbols = SPECIALS + sorted(pre_tokenizers.ByteLevel.alphabet())
    bpe = Tokenizer(models.BPE({symbol: i for i, symbol in enumerate(symbols)}, []))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        unk_token="<|endoftext|>",
    )
    tokenizer.chat_template = CHATML
    tokenizer.save_pretrained(folder)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(symbols),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1_024,
        tie_word_embeddings=True,
        initializer_range=0.2,  # sharp enough that losses differ from token to token
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def sentence(rng: np.random.Generator, n_words: int, letters: str = "abcdefghij") -> str:
    """Made-up words, so that no two texts share a run of them by chance."""
    words = ["".join(rng.choice(list(letters), size=rng.integers(3, 7))) for _ in range(n_words)]
    return " ".join(words)


def examples_of(n: int, seed: int = 0) -> list[Example]:
    """Examples of many lengths: with the default system turn, with their own, of two turns."""
    rng = np.random.default_rng(seed)
    found = []
    for row in range(n):
        turns: tuple[Turn, ...] = (Turn("user", sentence(rng, 2 + row % 5)),)
        if row % 4 == 1:
            turns = (Turn("system", sentence(rng, 3)), *turns)
        if row % 4 == 2:
            turns = (*turns, Turn("assistant", "Naïve café?"), Turn("user", sentence(rng, 2)))
        found.append(Example(row, turns, sentence(rng, 1 + (row * 5) % 7)))
    return found


def write_pool(path: Path, n: int, *, letters: str, seed: int, n_words: int = 8) -> str:
    """An Alpaca file of made-up words, and its path."""
    rng = np.random.default_rng(seed)
    rows = [
        {
            "instruction": sentence(rng, 5, letters),
            "input": "",
            "output": sentence(rng, int(n_words + rng.integers(0, 4)), letters),
        }
        for _ in range(n)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)
