"""Attention with gradients written out gives those of the plain one."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from instructmining.models import grouped
from instructmining.models.grouped import grouped_attention
from instructmining.models.pack import Pack

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE, SCALE = 8, 0.3


def plain(query, key, value, pack):
    """One sequence after the other, in float32, the prefix run with each."""
    shared = query.shape[1] // key.shape[1]
    key, value = (x.repeat_interleave(shared, dim=1) for x in (key, value))
    p = pack.n_prefix
    found = [None] if p else []
    for start, stop, sharing in pack.parts:
        before = range(p) if sharing else range(0)
        places = torch.tensor([*before, *range(start, stop)])
        parts = (x.index_select(2, places) for x in (query, key, value))
        answer = scaled_dot_product_attention(*parts, is_causal=True, scale=SCALE)
        if sharing:
            found[0] = answer[:, :, :p]
        found.append(answer[:, :, len(before) :])
    return torch.cat(found, dim=2)


def run(by, tensors, pack):
    leaves = [x.clone().requires_grad_() for x in tensors]
    answer = by(*leaves, pack)
    # A gradient that is different everywhere.
    up = torch.linspace(-1, 2, answer.numel()).reshape(answer.shape)
    (answer.float() * up).sum().backward()
    return [answer.detach().float(), *(leaf.grad.float() for leaf in leaves)]


def ours(query, key, value, pack):
    return grouped_attention(query, key, value, pack, SCALE)


@pytest.fixture
def cut_up(monkeypatch):
    """Form probabilities again in the backward pass, a few scores at a time."""
    monkeypatch.setattr(grouped, "_KEPT", 5)
    monkeypatch.setattr(grouped, "_SCORES", 300)


LAYOUTS = {
    "a prefix that some share": ([9, 4, 6, 3, 30], [True, True, False, False, True], 3),
    "no prefix": ([5, 60, 5, 1], [False] * 4, 0),
    "one sequence": ([7], [True], 2),
}


@pytest.mark.parametrize("how", ["whole", "cut_up"])
@pytest.mark.parametrize("heads", [(6, 2), (4, 4), (3, 1)])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_answers_and_gradients_are_those_of_the_plain_attention(layout, heads, how, request):
    if how == "cut_up":
        request.getfixturevalue("cut_up")
    pack = Pack.of(*LAYOUTS[layout])
    n = pack.parts[-1][1]
    torch.manual_seed(0)
    tensors = [torch.randn(1, h, n, SIZE) for h in (heads[0], heads[1], heads[1])]
    tensors[1] += 4.0  # far from 0, as real keys are: what all have in common costs no digits
    for found, wanted in zip(run(ours, tensors, pack), run(plain, tensors, pack), strict=True):
        assert found.shape == wanted.shape
        assert (found - wanted).norm() < 0.02 * wanted.norm()


def test_cut_up_or_whole_is_the_same_to_the_last_bit(monkeypatch):
    pack = Pack.of(*LAYOUTS["a prefix that some share"])
    torch.manual_seed(1)
    tensors = [torch.randn(1, h, pack.parts[-1][1], SIZE) for h in (6, 2, 2)]
    whole = run(ours, tensors, pack)
    monkeypatch.setattr(grouped, "_KEPT", 5)
    monkeypatch.setattr(grouped, "_SCORES", 300)
    for found, wanted in zip(run(ours, tensors, pack), whole, strict=True):
        assert torch.equal(found, wanted)


def test_number_formats_are_kept():
    pack = Pack.of(*LAYOUTS["no prefix"])
    leaves = [
        torch.randn(1, h, pack.parts[-1][1], SIZE, dtype=dtype).requires_grad_()
        for h, dtype in ((4, torch.float32), (2, torch.float32), (2, torch.bfloat16))
    ]
    answer = grouped_attention(*leaves, pack, SCALE)
    assert answer.dtype == torch.bfloat16
    answer.sum().backward()
    assert [leaf.grad.dtype for leaf in leaves] == [leaf.dtype for leaf in leaves]
