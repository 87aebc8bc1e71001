"""Reward models of a few thousand random weights, in the layouts the published ones have."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers.trainers import BpeTrainer
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    DebertaV2Tokenizer,
    GPTNeoXConfig,
    GPTNeoXModel,
    LlamaConfig,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from instructmining.examples import Example, Turn
from instructmining.models import reward
from instructmining.models.reward import RewardPass
from models.tiny import (
    CHATML,
    SEED,
    example,
    files_of,
    save_chat_tokenizer,
    save_wordpiece_tokenizer,
)

#: What OpenAssistant's tokenizers of 2023 have; text is never one of these.
OASST_CONTROL = [
    *("<|endoftext|>", "<|padding|>", "<|prompter|>", "<|assistant|>"),
    *("<|system|>", "<|prefix_begin|>", "<|prefix_end|>"),
]
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,:?!'()|<>/"


def save_oasst_reward(folder: Path, *, pooling: str = "last") -> Path:
    """Save a GPT-NeoX reward model as OpenAssistant published theirs; return the folder.

    The settings of rotary embeddings have the names of 2023, and the buffers that
    transformers stored then lie among the weights.
    """
    _save_byte_level(folder, OASST_CONTROL, eos_token="<|endoftext|>", pad_token="<|padding|>")
    torch.manual_seed(SEED)
    width = 32
    model = GPTNeoXModel(neox_config())
    weights = {f"gpt_neox.{name}": value for name, value in model.state_dict().items()}
    weights["out_proj.weight"] = torch.randn(1, width)
    weights["out_proj.bias"] = torch.randn(1)
    for layer in range(2):
        name = f"gpt_neox.layers.{layer}.attention"
        weights[f"{name}.bias"] = torch.ones(1, 1, 16, 16, dtype=torch.bool).tril()
        weights[f"{name}.masked_bias"] = torch.tensor(-1e9)
        weights[f"{name}.rotary_emb.inv_freq"] = torch.ones(2)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    settings = {
        "architectures": ["GPTNeoXRewardModel"],
        "model_type": "gpt_neox_reward_model",
        "pooling": pooling,
        "vocab_size": 400,
        "hidden_size": width,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 2_048,
        "hidden_act": "gelu",
        "rotary_pct": 0.5,
        "rotary_emb_base": 500,
        "use_parallel_residual": True,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "torch_dtype": "float16",
        "transformers_version": "4.28.1",
    }
    (folder / "config.json").write_text(json.dumps(settings))
    return folder


def neox_config() -> GPTNeoXConfig:
    """Return what the settings of `save_oasst_reward` say, in the names of today."""
    return GPTNeoXConfig(
        vocab_size=400,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        rope_parameters={
            "rope_type": "default",
            "rope_theta": 500,
            "partial_rotary_factor": 0.5,
        },
        # Far from the usual 0.02, so that scores differ and context matters.
        initializer_range=0.4,
    )


def save_deberta_reward(folder: Path) -> Path:
    """Save a DeBERTa-v3 reward model with its Unigram tokenizer; return the folder."""
    pieces = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "▁", *_LETTERS, "▁the", "er", "light", "水", "は"]
    vocabulary = [(piece, -float(rank)) for rank, piece in enumerate(pieces)]
    DebertaV2Tokenizer(vocab=vocabulary, unk_id=pieces.index("[UNK]")).save_pretrained(folder)
    torch.manual_seed(SEED)
    config = DebertaV2Config(
        vocab_size=len(pieces) + 1,  # the tokenizer adds [MASK]
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=32,
        max_position_embeddings=512,
        relative_attention=True,
        position_buckets=16,
        pos_att_type=["p2c", "c2p"],
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        position_biased_input=False,
        type_vocab_size=0,
        initializer_range=0.4,
        num_labels=1,
    )
    DebertaV2ForSequenceClassification(config).save_pretrained(folder)
    return folder


def save_bert_reward(folder: Path, *, num_labels: int = 1) -> Path:
    """Save a BERT reward model, which tells two texts apart by token types; return the folder."""
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    size = save_wordpiece_tokenizer(folder, _LETTERS, model_input_names=inputs)
    torch.manual_seed(SEED)
    config = BertConfig(
        vocab_size=size,
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=32,
        max_position_embeddings=64,
        initializer_range=0.4,
        num_labels=num_labels,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder


def save_roberta_reward(folder: Path) -> Path:
    """Save a RoBERTa reward model, which counts positions by its padding id; return the folder."""
    control = ["<s>", "<pad>", "</s>", "<unk>"]
    _save_byte_level(
        folder,
        control,
        post=processors.RobertaProcessing(("</s>", 2), ("<s>", 0)),
        bos_token="<s>",
        eos_token="</s>",
        sep_token="</s>",
        cls_token="<s>",
        pad_token="<pad>",
        model_max_length=512,
    )
    torch.manual_seed(SEED)
    config = RobertaConfig(
        vocab_size=400,
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=32,
        max_position_embeddings=514,
        type_vocab_size=1,
        pad_token_id=1,
        initializer_range=0.4,
        num_labels=1,
    )
    RobertaForSequenceClassification(config).save_pretrained(folder)
    return folder


def save_llama_reward(
    folder: Path, *, template: str | None = CHATML, pad_token_id: int | None = 2
) -> Path:
    """Save a Llama reward model whose padding id also ends turns (2); return the folder."""
    save_chat_tokenizer(folder, template=template)
    torch.manual_seed(SEED)
    config = LlamaConfig(
        vocab_size=400,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4_096,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=pad_token_id,
        initializer_range=0.4,
        num_labels=1,
    )
    LlamaForSequenceClassification(config).save_pretrained(folder)
    return folder


#: One of each architecture.
SAVE = {
    "oasst": save_oasst_reward,
    "deberta": save_deberta_reward,
    "bert": save_bert_reward,
    "roberta": save_roberta_reward,
    "llama": save_llama_reward,
}
#: What every model here can read whole.
SHORT = [
    example("Name a colour.", "Blue."),
    example("水は?", "水は火。"),
    example("", "x"),
    example("Who?", "I, a sailor.", system="Be it."),
    Example(4, (Turn("user", "2?"), Turn("assistant", "5"), Turn("user", "So?")), "Ten: 10."),
    Example(5, (), "A reply to nothing."),
]


def drop_weight(folder: Path, name: str) -> None:
    """Take one weight out of a saved model."""
    path = folder / "model.safetensors"
    weights = load_file(path)
    del weights[name]
    save_file(weights, path, {"format": "pt"})


def set_config(folder: Path, **changes: object) -> None:
    """Write other settings into a saved model's ``config.json``."""
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def _save_byte_level(
    folder: Path,
    control: list[str],
    *,
    post: processors.PostProcessor | None = None,
    **names: object,
) -> None:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if post is not None:
        tokenizer.post_processor = post
    trainer = BpeTrainer(
        vocab_size=400,
        special_tokens=control,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["the lighthouse keeper reads the letters of sailors"], trainer)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)


def in_float32(folder, **options):
    """Return the pass of a saved model, in float32 on the processor."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reward, "pick_device", lambda: torch.device("cpu"))
        patch.setattr(reward, "pick_dtype", lambda _: torch.float32)
        return RewardPass(files_of(folder), **options)


def chat_ids(tokenizer, one):
    """Ids that transformers gives a whole conversation."""
    turns = [*(one.turns or (Turn("user", ""),)), Turn("assistant", one.response)]
    return tokenizer.apply_chat_template(
        [{"role": turn.role, "content": turn.content} for turn in turns],
        tokenize=True,
        return_dict=False,
    )
