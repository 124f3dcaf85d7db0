"""``Linear`` equals ``nn.Linear``, whichever kernel computes it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detkit.models.layers.linear import Linear, prefers_onednn


@pytest.fixture
def convolutions(monkeypatch) -> list[torch.Size]:
    """The shapes of the maps that are convolved."""
    found, conv2d = [], F.conv2d
    monkeypatch.setattr(F, 'conv2d', lambda x, *args: found.append(x.shape) or conv2d(x, *args))
    return found


def outputs(layer: nn.Module, x: Tensor) -> list[Tensor]:
    """Return the output and all gradients."""
    x = x.detach().requires_grad_()
    y = layer(x)
    torch.manual_seed(1)
    return [y, *torch.autograd.grad(y, [x, *layer.parameters()], torch.randn(y.shape).to(y))]


def both(bias: bool = True, dtype: torch.dtype = torch.float32) -> tuple[Linear, nn.Linear]:
    torch.manual_seed(0)
    layer, plain = Linear(7, 128, bias), nn.Linear(7, 128, bias)
    plain.load_state_dict(layer.state_dict())
    return layer.to(dtype), plain.to(dtype)


@pytest.mark.skipif(not prefers_onednn(), reason='this processor has no fast convolution')
@pytest.mark.parametrize('bias', [True, False], ids=['bias', 'plain'])
@pytest.mark.parametrize('shape', [(300, 7), (3, 100, 7), (2, 3, 50, 7)], ids=['rows', 'batch', 'heads'])
def test_many_vectors_are_convolved_with_the_same_results(convolutions, shape, bias):
    layer, plain = both(bias)
    x = torch.randn(shape)
    for own, other in zip(outputs(layer, x), outputs(plain, x), strict=True):
        assert own.shape == other.shape and own.dtype == other.dtype
        torch.testing.assert_close(own, other, rtol=1e-5, atol=1e-5)
    assert convolutions == [(1, 7, 1, 300)]


@pytest.mark.skipif(not prefers_onednn(), reason='this processor has no fast convolution')
def test_views_of_other_tensors_are_convolved(convolutions):
    layer, plain = both()
    x = torch.randn(7, 20, 30).permute(1, 2, 0)  # not contiguous
    torch.testing.assert_close(layer(x), plain(x), rtol=1e-5, atol=1e-5)
    assert len(convolutions) == 1


def test_all_else_is_left_to_the_plain_layer(convolutions):
    layer, plain = both()
    assert torch.equal(layer(torch.ones(200, 7)), plain(torch.ones(200, 7)))  # few rows
    narrow = Linear(7, 5)
    assert narrow(torch.ones(300, 7)).shape == (300, 5)  # few outputs
    assert layer(torch.ones(0, 7)).shape == (0, 128)
    with torch.autocast('cpu', torch.bfloat16):
        assert layer(torch.ones(300, 7)).dtype == torch.bfloat16
    double, _ = both(dtype=torch.float64)
    assert double(torch.ones(300, 7, dtype=torch.float64)).dtype == torch.float64
    traced = torch.jit.trace(layer, torch.ones(300, 7), check_trace=False)
    assert 'aten::linear' in str(traced.graph)
    assert not convolutions
