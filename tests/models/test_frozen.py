from __future__ import annotations

import resource
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch

from instructmining.models.causal import load_causal_lm
from instructmining.models.frozen import FrozenStates
from instructmining.models.layers import decoder_of
from models.tiny import files_of, save_causal_lm

pytestmark = pytest.mark.usefixtures("one_thread")

PREFIX = np.array([7, 3, 9], dtype=np.int32)
PLAIN = np.array([5, 8, 2, 11], dtype=np.int32)
SHARING = np.array([7, 3, 9, 4, 4, 1], dtype=np.int32)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = save_causal_lm(tmp_path_factory.mktemp("tiny"), num_hidden_layers=3)
    return load_causal_lm(files_of(folder), torch.device("cpu"), torch.float32)


def entering(model: Any, ids: np.ndarray, layer: int) -> torch.Tensor:
    tokens = torch.from_numpy(ids.astype(np.int64))[None]
    return model(input_ids=tokens, output_hidden_states=True).hidden_states[layer][0].detach()


@pytest.mark.parametrize("layer", [1, 2])
def test_states_are_those_that_enter_the_layer(model, layer):
    frozen = FrozenStates(model, layer, PREFIX)
    for ids, skip in ((PLAIN, 0), (SHARING, 3), (PREFIX, 0)):
        expected = entering(model, ids, layer)[skip:]
        for _ in range(2):  # as computed, and as read back
            torch.testing.assert_close(frozen.of(ids, skip), expected, rtol=1e-5, atol=1e-5)


def test_a_sequence_is_run_once_and_read_back_to_the_bit(model):
    frozen = FrozenStates(model, 2, PREFIX)
    first = {ids.tobytes(): frozen.of(ids, 0) for ids in (PLAIN, SHARING)}
    assert frozen.n_computed == 2
    assert frozen.n_bytes == (len(PLAIN) + len(SHARING)) * 32 * 4
    for ids in (SHARING, PLAIN):
        assert torch.equal(frozen.of(ids, 0), first[ids.tobytes()])
    assert frozen.n_computed == 2


def test_states_depend_on_nothing_asked_before(model):
    one, other = FrozenStates(model, 2, PREFIX), FrozenStates(model, 2, PREFIX)
    one.of(PLAIN, 0)
    assert torch.equal(one.of(SHARING, 3), other.of(SHARING, 3))


def test_what_finds_no_room_is_computed_anew(model):
    frozen = FrozenStates(model, 2, PREFIX, max_bytes=len(PLAIN) * 32 * 4)
    kept, again = frozen.of(PLAIN, 0), frozen.of(SHARING, 0)
    assert torch.equal(frozen.of(SHARING, 0), again)
    assert torch.equal(frozen.of(PLAIN, 0), kept)
    assert frozen.n_computed == 3


def test_another_prefix_is_refused(model):
    frozen = FrozenStates(model, 2, PREFIX)
    with pytest.raises(ValueError, match="do not begin with the prefix"):
        frozen.of(PLAIN, 3)


@contextmanager
def files_of_at_most(n_bytes: int) -> Iterator[None]:
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, usual[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)


@pytest.mark.parametrize("room", [0, 100], ids=["nothing more", "half of it"])
def test_a_full_disk_costs_time_and_nothing_else(model, room):
    frozen = FrozenStates(model, 2, PREFIX)
    kept = frozen.of(PLAIN, 0)
    with files_of_at_most(frozen.n_bytes + room):
        fresh = frozen.of(SHARING, 0)
        torch.testing.assert_close(fresh, entering(model, SHARING, 2), rtol=1e-5, atol=1e-5)
        assert torch.equal(frozen.of(SHARING, 0), fresh)
        assert torch.equal(frozen.of(PLAIN, 0), kept)
    assert frozen.n_computed == 3


def test_no_folder_for_temporary_files_costs_time_and_nothing_else(model, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    frozen = FrozenStates(model, 2, PREFIX)
    assert torch.equal(frozen.of(PLAIN, 0), frozen.of(PLAIN, 0))
    assert (frozen.n_computed, frozen.n_bytes) == (2, 0)


def test_states_can_be_trained_on(model):
    frozen = FrozenStates(model, 2, PREFIX)
    with torch.inference_mode():
        frozen.of(SHARING, 3)
    fresh = frozen.of(PLAIN, 0)
    layer = decoder_of(model).layers[2].mlp.requires_grad_(True)
    for states in (fresh, frozen.of(SHARING, 3)):
        layer(states).sum().backward()
    assert layer.up_proj.weight.grad.abs().max() > 0
    layer.requires_grad_(False).zero_grad()
