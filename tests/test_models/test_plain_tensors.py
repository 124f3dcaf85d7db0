"""Layers with gradients of their own step aside for ``torch.func`` and for differentiation in forward mode."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call, grad, jvp, vmap

from detkit.models.backbones import ResNet
from detkit.models.layers import feedforward as feedforward_layers
from detkit.models.layers import winograd_conv
from detkit.models.layers.attention import MultiHeadAttention
from detkit.models.layers.conv_module import ConvModule
from detkit.models.layers.feedforward import feedforward
from detkit.models.layers.linear import Linear
from detkit.models.layers.plain_tensors import has_plain_gradients, is_plain
from detkit.models.layers.recomputed import recomputed
from detkit.models.layers.sparse_grad_conv import SparseGradConv2d
from detkit.models.layers.upsampling import upsample_nearest
from detkit.models.layers.winograd_conv import WinogradConv2d


class Attending(nn.Module):
    """Attention whose projections are bfloat16, as in autocast."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(4, 2).bfloat16()

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2).bfloat16()
        return self.attention(tokens, tokens, tokens).float()


class Fed(nn.Module):
    """Two linear layers for each cell."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = Linear(4, 9), Linear(9, 4)

    def forward(self, x: Tensor) -> Tensor:
        return feedforward(self.first, F.gelu, self.last, x.flatten(2).transpose(1, 2))


class Called(nn.Module):
    """A convolution, and a function behind it."""

    def __init__(self, function) -> None:
        super().__init__()
        self.conv, self.function = nn.Conv2d(4, 4, 1), function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.conv(x))


PARTS = {
    'convolution, normalisation and activation': lambda: ConvModule(4, 5, 3),
    "Winograd's convolution": lambda: WinogradConv2d(4, 5),
    'sparse gradient': lambda: SparseGradConv2d(4, 5, 3),
    'attention': Attending,
    'upsampling': lambda: Called(lambda x: upsample_nearest(x, (12, 10))),
    'feed-forward': Fed,
    'recomputed': lambda: Called(lambda x: recomputed(torch.tanh, x)),
}


def part_and_input(name: str, monkeypatch) -> tuple[nn.Module, Tensor]:
    monkeypatch.setattr(feedforward_layers, '_MIN_ROWS', 1)
    monkeypatch.setattr(winograd_conv, '_MIN_CELLS', 1)
    monkeypatch.setattr(winograd_conv, '_MIN_CHANNELS', 1)
    torch.manual_seed(0)
    return PARTS[name](), torch.randn(2, 4, 6, 5)


def assert_close(name: str, found: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    """Values differ by rounding alone, of bfloat16 in attention: by a share of the greatest."""
    share = 0.02 if name == 'attention' else 1e-4
    greatest = max(float(each.abs().max()) for each in expected)
    for own, other in zip(found, expected, strict=True):
        assert (own - other).abs().max() <= share * greatest


def loss_of(part: nn.Module, params: dict[str, Tensor], x: Tensor) -> Tensor:
    buffers = {name: buffer.clone() for name, buffer in part.named_buffers()}  # statistics are written
    return functional_call(part, (params, buffers), (x,)).square().sum()


@pytest.mark.parametrize('name', PARTS)
def test_gradients_of_functions_are_those_of_a_backward_pass(name, monkeypatch):
    part, x = part_and_input(name, monkeypatch)
    params = dict(part.named_parameters())
    expected = torch.autograd.grad(loss_of(part, params, x), list(params.values()))
    detached = {key: value.detach() for key, value in params.items()}
    found = grad(lambda params: loss_of(part, params, x))(detached)
    assert_close(name, list(found.values()), expected)


@pytest.mark.parametrize('name', [name for name in PARTS if name != 'attention'])  # PyTorch's has none
def test_derivatives_in_forward_mode_are_those_of_a_backward_pass(name, monkeypatch):
    part, x = part_and_input(name, monkeypatch)
    params, direction = dict(part.named_parameters()), torch.randn_like(x)
    learnt = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(loss_of(part, params, learnt), learnt)
    expected = (expected * direction).sum()
    assert torch.allclose(jvp(lambda x: loss_of(part, params, x), (x,), (direction,))[1], expected, rtol=1e-4)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(learnt, direction)
        assert torch.allclose(forward_ad.unpack_dual(loss_of(part, params, dual)).tangent, expected, rtol=1e-4)


@pytest.mark.parametrize('name', PARTS)
def test_predictions_can_be_vectorised(name, monkeypatch):
    part, x = part_and_input(name, monkeypatch)
    part.eval()
    with torch.no_grad():
        assert_close(name, [vmap(lambda x: part(x[None])[0])(x)], [part(x)])


def test_a_stem_can_be_differentiated_by_functions():
    torch.manual_seed(0)
    stem, x = ResNet(18, norm='bn'), torch.randn(2, 3, 64, 64)
    params = {name: value.detach() for name, value in stem.named_parameters()}

    def loss(params: dict[str, Tensor]) -> Tensor:
        buffers = {name: buffer.clone() for name, buffer in stem.named_buffers()}
        return functional_call(stem, (params, buffers), (x,))[0].sum()

    assert torch.isfinite(grad(loss)(params)['conv1.weight']).all()


def test_what_looks_at_operations_is_noticed():
    class Recorded(Tensor):
        """A tensor that may record what is done with it."""

    seen = []
    x = torch.zeros(2)
    assert is_plain(x) and has_plain_gradients() and not is_plain(x.as_subclass(Recorded))
    torch.jit.trace(lambda x: seen.append(is_plain(x)) or x + 1, x, check_trace=False)
    vmap(lambda x: seen.append(is_plain(x)) or x)(x)
    with forward_ad.dual_level():
        seen.append(is_plain(x))
    assert not any(seen) and is_plain(x)
