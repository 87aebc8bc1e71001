"""Runs the command line with small batches, and waits to be killed at a chosen moment.

``python killed.py MOMENT N BUDGET ARGUMENTS…``: says ``now`` on standard error and hangs

- ``model``: before the model has run batch N,
- ``half``: when half of shard N is written,
- ``stored``: when batch N is on disk.
"""

from __future__ import annotations

import sys
import time
from typing import Any, NoReturn

import torch

from instructmining.cli.main import main
from instructmining.files import replacing
from instructmining.folders import DiskFolder
from instructmining.models import causal, encoder
from instructmining.scoring import store


def hang() -> NoReturn:
    sys.stderr.write("now\n")
    sys.stderr.flush()
    time.sleep(120)
    raise TimeoutError("nobody came to kill this")


def small_batches(budget: int) -> None:
    causal.token_budget = lambda device: budget
    encoder.token_budget = lambda device: budget
    torch.set_num_threads(1)


def hang_in(moment: str, n: int) -> None:
    left = n

    def due() -> bool:
        nonlocal left
        left -= 1
        return left == 0

    run, write, append = causal.CausalPass.run, DiskFolder.write, store.Shelf.append

    def hanging_run(self: Any, items: Any) -> Any:
        return hang() if due() else run(self, items)

    def hanging_write(self: Any, name: str, content: bytes) -> None:
        if name.endswith(".parquet") and due():
            with replacing(self.path / name) as temporary:
                temporary.write_bytes(content[: len(content) // 2])
                hang()
        write(self, name, content)

    def hanging_append(self: Any, *arguments: Any) -> None:
        append(self, *arguments)
        if due():
            hang()

    if moment == "model":
        causal.CausalPass.run = hanging_run
    elif moment == "half":
        DiskFolder.write = hanging_write
    else:
        store.Shelf.append = hanging_append


if __name__ == "__main__":
    moment, n, budget, *sys.argv[1:] = sys.argv[1:]
    small_batches(int(budget))
    hang_in(moment, int(n))
    main()
