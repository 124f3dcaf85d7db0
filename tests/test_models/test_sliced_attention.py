"""Attention in slices equals PyTorch's, and is no less precise in bfloat16, with its gradient."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from detkit.models.layers import sliced_attention as module
from detkit.models.layers.attention import MultiHeadAttention
from detkit.models.layers.sliced_attention import can_slice, sliced_attention


def heads(batch: int, num_heads: int, queries: int, keys: int, dims: int, value_dims: int) -> list[Tensor]:
    """Return queries, keys and values as projections leave them: ``(B, H, N, D)`` views of ``(B, N, H, D)``."""
    torch.manual_seed(0)
    sizes = [(queries, dims, 3.0), (keys, dims, 3.0), (keys, value_dims, 1.0)]
    parts = [scale * torch.randn(batch, count, num_heads, width) for count, width, scale in sizes]
    return [part.bfloat16().transpose(1, 2).requires_grad_() for part in parts]


def outputs(attend, parts: list[Tensor]) -> list[Tensor]:
    """Return the output and the gradients of queries, keys and values."""
    attended = attend(*parts)
    torch.manual_seed(1)
    grad = torch.randn(attended.shape).to(attended)
    return [attended, *torch.autograd.grad(attended, parts, grad)]


def error(found: Tensor, exact: Tensor) -> float:
    return float(((found.double() - exact).norm() / exact.norm()).detach())


@pytest.mark.parametrize(
    'sizes', [(2, 3, 7, 7, 8, 8), (3, 2, 5, 11, 4, 8), (1, 1, 1, 1, 2, 2)], ids=['self', 'cross', 'single']
)
@pytest.mark.parametrize('weights_at_a_time', [1, 100, 1 << 18], ids=['a_head', 'some_heads', 'all'])
def test_equals_the_exact_attention_as_closely_as_pytorch_does(monkeypatch, sizes, weights_at_a_time):
    monkeypatch.setattr(module, '_SLICE', weights_at_a_time)
    parts = heads(*sizes)
    assert can_slice(*parts)
    exact = outputs(F.scaled_dot_product_attention, [part.detach().double().requires_grad_() for part in parts])
    found = outputs(sliced_attention, parts)
    plain = outputs(F.scaled_dot_product_attention, parts)
    assert len(found) == 4
    for own, other, wanted in zip(found, plain, exact, strict=True):
        assert own.shape == wanted.shape and own.dtype == torch.bfloat16
        if wanted.norm() > 0:  # the gradient of a single key's logit is 0
            assert error(own, wanted) <= max(1.5 * error(other, wanted), 0.005)
        else:
            assert not own.any()


def test_is_the_same_without_gradients():
    parts = heads(2, 2, 6, 9, 4, 4)
    with torch.no_grad():
        assert torch.equal(sliced_attention(*parts), sliced_attention(*[part.detach() for part in parts]))
    assert torch.equal(sliced_attention(*parts), sliced_attention(*[part.detach() for part in parts]))


def test_keeps_no_weights_for_the_gradient():
    kept = []
    parts = heads(2, 2, 50, 60, 4, 4)
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x.numel()) or x, lambda x: x):
        sliced_attention(*parts)
    assert sum(kept) == sum(part.numel() for part in parts)


def test_stands_for_bfloat16_of_few_cells_alone(monkeypatch):
    parts = heads(1, 2, 6, 6, 4, 4)
    assert can_slice(*parts)
    assert not can_slice(*[part.float() for part in parts])
    monkeypatch.setattr(module, '_MOST_WEIGHTS', 35)
    assert not can_slice(*parts)


def test_attention_of_a_bf16_step_is_sliced(monkeypatch):
    calls = []
    monkeypatch.setattr(
        'detkit.models.layers.attention.sliced_attention', lambda *x: calls.append(1) or sliced_attention(*x)
    )
    torch.manual_seed(2)
    layer = MultiHeadAttention(8, 2)
    cells = torch.randn(2, 5, 8)

    def step(mask: Tensor | None = None) -> Tensor:
        """Return the output and all gradients in a row; that of the keys' bias is 0 but for rounding."""
        with torch.autocast('cpu', torch.bfloat16):
            attended = layer(cells, cells, cells, mask)
        grads = torch.autograd.grad(attended.float().square().sum(), list(layer.parameters()))
        return torch.cat([part.detach().float().flatten() for part in (attended, *grads)])

    sliced = step()
    assert calls == [1]
    plain = step(torch.ones(5, 5, dtype=torch.bool))  # masks are left to PyTorch
    assert calls == [1]
    assert error(sliced, plain.double()) <= 0.02
