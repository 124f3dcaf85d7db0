"""Winograd's convolution has the outputs and gradients of a plain one, up to rounding."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from detkit.models.heads import RetinaHead
from detkit.models.layers import winograd_conv
from detkit.models.layers.sparse_grad_conv import SparseGradConv2d
from detkit.models.layers.winograd_conv import WinogradConv2d, is_faster
from detkit.models.necks import FPN


@pytest.fixture
def small_maps(monkeypatch):
    """Small maps of few channels are convolved by the algorithm too."""
    monkeypatch.setattr(winograd_conv, '_MIN_CELLS', 1)
    monkeypatch.setattr(winograd_conv, '_MIN_CHANNELS', 1)


def plain_of(conv: nn.Conv2d) -> nn.Conv2d:
    plain = nn.Conv2d(conv.in_channels, conv.out_channels, 3, padding=1, bias=conv.bias is not None)
    plain.load_state_dict(conv.state_dict())
    return plain.to(conv.weight.dtype)


def outputs_and_grads(layer: nn.Module, x: Tensor, grad: Tensor) -> list[Tensor]:
    x = x.clone().requires_grad_()
    y = layer(x)
    return [y.detach(), *torch.autograd.grad(y, [x, *layer.parameters()], grad)]


@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last], ids=['contiguous', 'channels_last'])
@pytest.mark.parametrize('bias', [True, False], ids=['bias', 'no_bias'])
@pytest.mark.parametrize('chunk', [1, 5, 1000])
@pytest.mark.parametrize('size', [(1, 1), (4, 4), (5, 8), (8, 13), (18, 3)], ids=str)
def test_outputs_and_gradients_are_those_of_a_convolution(size, chunk, bias, layout, monkeypatch):
    monkeypatch.setattr(winograd_conv, '_CHUNK', chunk)
    monkeypatch.setattr(winograd_conv, 'is_faster', lambda x, weight: True)  # in float64 too
    torch.manual_seed(0)
    conv = WinogradConv2d(3, 5, bias).double()
    x = torch.randn(2, 3, *size, dtype=torch.float64).contiguous(memory_format=layout)
    grad = torch.randn(2, 5, *size, dtype=torch.float64).contiguous(memory_format=layout)
    found = [outputs_and_grads(layer, x, grad) for layer in (conv, plain_of(conv))]
    assert len(found[0]) == 3 + bias
    for own, plain in zip(*found, strict=True):
        torch.testing.assert_close(own, plain, rtol=1e-12, atol=1e-12)


def test_errors_of_rounding_are_those_of_float32():
    torch.manual_seed(0)
    conv = WinogradConv2d(256, 256)
    x, grad = torch.randn(1, 256, 48, 48).relu_(), torch.randn(1, 256, 48, 48)
    assert is_faster(x, conv.weight)
    exact = outputs_and_grads(plain_of(conv).double(), x.double(), grad.double())
    for own, expected in zip(outputs_and_grads(conv, x, grad), exact, strict=True):
        assert (own - expected).abs().max() <= 4e-6 * expected.abs().max()


def test_a_prediction_and_an_activation_in_place(small_maps):
    torch.manual_seed(0)
    conv, x = WinogradConv2d(4, 4), torch.randn(1, 4, 8, 8)
    with torch.inference_mode():
        expected = plain_of(conv)(x).relu()
        torch.testing.assert_close(conv(x).relu_(), expected)
    y = conv(x).relu_()  # which writes over what a layer of autograd returned
    torch.testing.assert_close(y, expected)
    y.sum().backward()
    assert conv.weight.grad.abs().sum() > 0


def test_gradients_can_be_differentiated_again(small_maps):
    torch.manual_seed(0)
    conv, x, found = WinogradConv2d(3, 4), torch.randn(1, 3, 8, 8), []
    for layer in (conv, plain_of(conv)):
        own = x.clone().requires_grad_()
        (grad,) = torch.autograd.grad(layer(own).square().sum(), own, create_graph=True)
        found.append(torch.autograd.grad(grad.square().sum(), [own, layer.weight]))
    for own, other in zip(*found, strict=True):
        assert own.abs().sum() > 0
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-3)


def test_what_is_not_learnt_has_no_gradient(small_maps):
    conv, x = WinogradConv2d(3, 4), torch.randn(1, 3, 8, 8, requires_grad=True)
    conv.requires_grad_(False)
    conv(x).sum().backward()
    assert x.grad.abs().sum() > 0 and conv.weight.grad is None
    assert not conv(x.detach()).requires_grad


def test_it_stays_out_where_it_does_not_pay_or_is_looked_at():
    weight, x = torch.randn(128, 128, 3, 3), torch.randn(1, 128, 48, 48)
    assert is_faster(x, weight)
    assert not is_faster(x[..., :40, :40], weight)
    assert not is_faster(x, weight[:64])
    assert not is_faster(x, weight[..., :1, :1])
    assert not is_faster(x.double(), weight.double())
    assert not is_faster(x.to('meta'), weight)
    with torch.autocast('cpu', torch.bfloat16):
        assert not is_faster(x, weight)
    conv = WinogradConv2d(128, 128)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        conv(x)
    assert counter.get_total_flops() == 2 * 48 * 48 * 128 * 128 * 9
    names = {node.kind() for node in torch.jit.trace(conv, x, check_trace=False).inlined_graph.nodes()}
    assert 'aten::_convolution' in names and 'aten::bmm' not in names


def test_autocast_computes_a_plain_convolution(small_maps):
    torch.manual_seed(0)
    conv, x = WinogradConv2d(4, 4), torch.randn(1, 4, 8, 8)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(conv(x), plain_of(conv)(x))


@pytest.mark.parametrize('part', ['sparse', 'head', 'neck'])
def test_parts_with_it_compute_the_same(part, small_maps, monkeypatch):
    torch.manual_seed(0)
    x = [torch.randn(1, 8, side, side) for side in (24, 12)]
    module, inputs = {
        'sparse': lambda: (SparseGradConv2d(8, 8, 3), x[0]),
        'head': lambda: (RetinaHead(3, in_channels=(8, 8), strides=(8, 16), feat_channels=8), x),
        'neck': lambda: (FPN((8, 8), (8, 16), out_channels=8), x),
    }[part]()
    used, convolve = [], winograd_conv.winograd_conv

    def counted(*args: Tensor | None) -> Tensor:
        used.append(args)
        return convolve(*args)

    monkeypatch.setattr(winograd_conv, 'winograd_conv', counted)
    monkeypatch.setattr('detkit.models.layers.sparse_grad_conv.winograd_conv', counted)
    found = []
    for fast in (True, False):
        own = copy.deepcopy(module)
        monkeypatch.setattr(winograd_conv, '_MIN_CELLS', 1 if fast else 10**9)
        y = own(inputs)
        maps = [y] if isinstance(y, Tensor) else list(y) if isinstance(y, tuple) else sum(y.values(), [])
        sum(each[..., :2, :2].square().sum() for each in maps).backward()
        with torch.no_grad():
            predicted = own.eval()(inputs)
        assert type(predicted) is type(y)
        found.append([*maps, *(param.grad for param in own.parameters())])
        assert used if fast else not used
        used.clear()
    for own, plain in zip(*found, strict=True):
        assert (own - plain).abs().max() <= 2e-5 * max(plain.abs().max(), 1e-3)


def test_its_weights_are_those_of_a_plain_convolution():
    conv = WinogradConv2d(3, 4)
    assert isinstance(conv, nn.Conv2d) and [*conv.state_dict()] == ['weight', 'bias']
    x = torch.randn(1, 3, 6, 6)
    torch.testing.assert_close(conv(x), F.conv2d(x, conv.weight, conv.bias, padding=1), rtol=0, atol=0)
