"""A command line to call, a tokenizer that counts bytes, and a pool to call it on."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from instructmining.cli.main import main

#: The last row repeats the second.
POOL = [
    {"instruction": "Name the winds.", "output": "north, east, south, west."},
    {"instruction": "Say yes.", "output": "Yes ."},
    {"instruction": "Say it twice.", "output": "twice twice"},
    {"instruction": "Say no.", "output": "No, I"},
    {"instruction": "Count.", "output": "one two three no"},
    {"instruction": "Say yes.", "output": "Yes ."},
]
#: Bytes of the responses.
LENGTHS = [25.0, 5.0, 11.0, 5.0, 16.0, 5.0]


@dataclass(frozen=True)
class Ended:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line a refused command says."""
        assert self.code == 2, self.err
        assert "Traceback" not in self.err
        lines = [
            line for line in self.err.splitlines() if line.startswith("instructmining: error:")
        ]
        assert len(lines) == 1, self.err
        assert self.err.endswith(lines[0] + "\n")
        return lines[0]


Run = Callable[..., Ended]


@pytest.fixture(scope="session")
def byte_tokenizer(tmp_path_factory) -> Path:
    """A model folder whose tokenizer gives one token per UTF-8 byte; its weights are no model."""
    folder = tmp_path_factory.mktemp("byte-tokenizer")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({mark: i for i, mark in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))
    save_file({"none": np.zeros(1, dtype=np.float32)}, folder / "model.safetensors")
    return folder


@pytest.fixture
def run(monkeypatch, capsys, tmp_path_factory) -> Run:
    """Call `main` as the shell would, with a cache of its own."""
    monkeypatch.setenv("INSTRUCTMINING_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("COLUMNS", "100")

    def call(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["instructmining", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ending:
            main()
        said = capsys.readouterr()
        code = ending.value.code
        return Ended(0 if code is None else int(code), said.out, said.err)

    return call


@pytest.fixture
def pool(tmp_path) -> Path:
    """The rows of `POOL` as JSON Lines."""
    path = tmp_path / "pool.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in POOL))
    return path
