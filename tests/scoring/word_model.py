"""A model folder that counts words and nothing else."""

from __future__ import annotations

from pathlib import Path


def save_word_model(folder: Path) -> Path:
    """Save a tokenizer of one token per word beside weights nobody reads; return the folder."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    folder.mkdir()
    tokenizer = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "model.safetensors").write_bytes(b"no weights")
    return folder
