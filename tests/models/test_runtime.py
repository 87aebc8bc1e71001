"""Device, number format, and batches halved when memory runs out."""

from __future__ import annotations

import weakref

import numpy as np
import pytest
import torch

from instructmining.errors import ModelError
from instructmining.models.base import Item
from instructmining.models.runtime import (
    CPU_TOKEN_BUDGET,
    GPU_TOKEN_BUDGET,
    pick_device,
    pick_dtype,
    run_or_halve,
    token_budget,
)

ITEMS = [Item(row, 1, "") for row in range(5)]


def test_device_is_cuda_where_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert pick_device().type == "cuda"

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device().type == "cpu"


@pytest.mark.parametrize(
    ("local", "index"), [(None, None), ("0", None), ("1", 1), ("3", 1), ("x", None)]
)
def test_a_launcher_gives_every_process_a_device_of_its_own(monkeypatch, local, index):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if local is not None:
        monkeypatch.setenv("LOCAL_RANK", local)
    assert pick_device() == (torch.device("cuda", index) if index else torch.device("cuda"))


@pytest.mark.parametrize(
    ("capabilities", "wanted"),
    [
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
        ({"avx512_bf16": False, "avx512_fp16": True}, torch.float32),
        ({}, torch.float32),
    ],
)
def test_a_processor_gets_bfloat16_only_where_it_has_it(monkeypatch, capabilities, wanted):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)

    assert pick_dtype(torch.device("cpu")) == wanted


def test_a_torch_that_cannot_tell_gets_float32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)

    assert pick_dtype(torch.device("cpu")) == torch.float32


@pytest.mark.parametrize("supported", [True, False])
def test_a_gpu_gets_bfloat16_where_it_has_it_and_never_float16(monkeypatch, supported):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: supported)

    wanted = torch.bfloat16 if supported else torch.float32
    assert pick_dtype(torch.device("cuda")) == wanted


def test_the_processor_is_asked_by_names_torch_uses():
    if not hasattr(torch.cpu, "get_capabilities"):
        pytest.skip("this torch does not tell")
    capabilities = torch.cpu.get_capabilities()
    if capabilities.get("architecture") != "x86_64":
        pytest.skip("names of x86 processors")

    assert {"avx512_bf16", "amx_bf16"} <= set(capabilities)


def test_budgets():
    assert token_budget(torch.device("cpu")) == CPU_TOKEN_BUDGET
    assert token_budget(torch.device("cuda")) == GPU_TOKEN_BUDGET


def rows(items):
    return [item.row for item in items]


def join(parts):
    return [row for part in parts for row in part]


@pytest.mark.parametrize("fits", [1, 2, 4, 5])
def test_halves_come_back_in_order(fits):
    def run(items):
        if len(items) > fits:
            raise torch.cuda.OutOfMemoryError
        return rows(items)

    assert run_or_halve(run, ITEMS, join) == [0, 1, 2, 3, 4]


def test_an_item_too_large_on_its_own_is_one_clear_line():
    def run(_):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(ModelError, match=r"one example of 1 tokens \(row 0\)") as caught:
        run_or_halve(run, ITEMS, join)
    assert "\n" not in str(caught.value)


def allocate(error):
    """Ask for more than any machine has, as a batch too large would."""
    return {
        RuntimeError: lambda: torch.empty(1 << 60),
        MemoryError: lambda: np.empty(1 << 58),
    }[error]()


@pytest.mark.parametrize("error", [RuntimeError, MemoryError])
def test_a_batch_too_large_for_this_machine_is_halved(error):
    def run(items):
        if len(items) > 2:
            allocate(error)
        return rows(items)

    assert run_or_halve(run, ITEMS, join) == [0, 1, 2, 3, 4]
    with pytest.raises(ModelError, match="does not fit into memory"):
        run_or_halve(lambda _: allocate(error), ITEMS, join)


def test_other_errors_are_not_retried():
    calls = []

    def run(items):
        calls.append(len(items))
        raise RuntimeError("shape mismatch")

    with pytest.raises(RuntimeError, match="shape mismatch"):
        run_or_halve(run, ITEMS, join)
    assert calls == [5]


def test_the_failed_batch_is_freed_before_its_halves_run():
    held = []

    def run(items):
        assert all(reference() is None for reference in held)
        activations = torch.zeros(len(items))
        held.append(weakref.ref(activations))
        if len(items) > 1:
            raise torch.cuda.OutOfMemoryError
        return rows(items)

    assert run_or_halve(run, ITEMS, join) == [0, 1, 2, 3, 4]
    assert len(held) == 9
