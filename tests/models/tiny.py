"""Models of a few thousand random weights that behave like the real ones, made on the spot."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import torch
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import (
    BertConfig,
    BertModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from instructmining.examples import Example, Turn
from instructmining.models.sources import ModelFiles, resolve

SEED = 20_230_712
#: ChatML with a system turn put first where the messages have none.
CHATML = (
    "{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou answer briefly.<|im_end|>\n"
    "{% endif %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
#: The same, but it refuses conversations of more than two messages.
REFUSE_LONG = "{% if messages | length > 2 %}{{ raise_exception('too long') }}{% endif %}" + CHATML
_CORPUS = [
    "Write a short story about a lighthouse keeper who collects the letters of sailors.",
    "You answer briefly. user assistant system: what is the capital of the country?",
    "The answer is that water boils when its vapour pressure equals the pressure around it.",
    "def add(first, second):\n    return first + second\n\nprint(add(2, 3))",
]
#: Width of the encoder's input, special tokens included.
ENCODER_LIMIT = 24


def save_chat_tokenizer(
    folder: Path, *, template: str | None = CHATML, specials: Iterable[str] = ()
) -> Path:
    """Save a byte-level BPE tokenizer with ChatML control tokens; return the folder.

    `specials` are control tokens that only ``tokenizer.json`` knows of, as in Llama 3.
    """
    control = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *specials]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=control,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        unk_token="<|endoftext|>",
        chat_template=template,
    )
    wrapped.save_pretrained(folder)
    return folder


def save_spaced_tokenizer(folder: Path, *, scheme: str, template: str = CHATML) -> Path:
    """Save a tokenizer that writes spaces as a letter, as SentencePiece does.

    `scheme` says before which texts it puts one: "first", "always" or "never".
    """
    control = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer = Tokenizer(models.BPE(unk_token="<|endoftext|>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme=scheme)
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=control, show_progress=False)
    tokenizer.train_from_iterator([*_CORPUS, "0123456789?:.#\n"], trainer)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        unk_token="<|endoftext|>",
        chat_template=template,
    ).save_pretrained(folder)
    return folder


def save_causal_lm(folder: Path, **changes: object) -> Path:
    """Save a two-layer Llama with a tied head and its tokenizer; return the folder."""
    save_chat_tokenizer(folder)
    settings = {
        "vocab_size": 400,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4_096,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "tie_word_embeddings": True,
        # Far from the usual 0.02, so that predictions differ and context matters.
        "initializer_range": 0.4,
    }
    torch.manual_seed(SEED)
    model = LlamaForCausalLM(LlamaConfig(**{**settings, **changes}))
    model.save_pretrained(folder)
    return folder


def save_wordpiece_tokenizer(folder: Path, letters: Iterable[str], **names: object) -> int:
    """Save BERT's kind of tokenizer, whose words are `letters`; return its vocabulary's size."""
    letters = list(letters)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters]
    vocabulary += [f"##{letter}" for letter in letters if letter.isalnum()]
    tokenizer = Tokenizer(
        models.WordPiece({word: i for i, word in enumerate(vocabulary)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        **names,
    ).save_pretrained(folder)
    return len(vocabulary)


def save_encoder(folder: Path) -> Path:
    """Save a two-layer BERT in the layout of sentence-transformers; return the folder."""
    letters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    size = save_wordpiece_tokenizer(folder, letters)
    torch.manual_seed(SEED)
    config = BertConfig(
        vocab_size=size,
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=32,
        max_position_embeddings=64,
        initializer_range=0.4,
    )
    BertModel(config).save_pretrained(folder)
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling")]
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "sentence_bert_config.json").write_text(
        json.dumps({"max_seq_length": ENCODER_LIMIT, "do_lower_case": False})
    )
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(
        json.dumps({"word_embedding_dimension": 24, "pooling_mode_mean_tokens": True})
    )
    return folder


def files_of(folder: Path) -> ModelFiles:
    """Return the model in `folder` as passes take it."""
    return resolve(str(folder))


def example(prompt: str, response: str, *, system: str | None = None, row: int = 0) -> Example:
    """Return an example of one user turn, with a system turn before it if wanted."""
    turns = () if system is None else (Turn("system", system),)
    return Example(row, (*turns, Turn("user", prompt)), response)


#: Ordinary, terse, long, non-Latin, system turn, several turns, no prompt.
EXAMPLES = [
    example("Name a colour.", "Blue."),
    example("What is the capital of the country?", "The answer is that it has none, " * 4),
    example("Write a story.", "Once upon a time a lighthouse keeper read letters. " * 12),
    example("水は何度で沸騰しますか?", "水は摂氏百度で沸騰します。"),
    example("Who are you?", "A sailor.", system="You are a sailor."),
    Example(
        5,
        (Turn("user", "2 + 3?"), Turn("assistant", "5"), Turn("user", "And doubled?")),
        "Ten: 10.",
    ),
    Example(6, (), "A response to nothing at all."),
    example("Name another colour.", "x"),
]
