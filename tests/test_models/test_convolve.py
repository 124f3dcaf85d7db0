"""Convolutions whose gradients are matrix products equal plain ones, up to rounding."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from detkit.models.backbones.resnet import BasicBlock
from detkit.models.layers import convolve as module
from detkit.models.layers import winograd_conv
from detkit.models.layers.conv_module import ConvModule
from detkit.models.layers.convolve import convolve


@pytest.fixture(autouse=True)
def slow_processor(monkeypatch) -> None:
    """The processor is one of those whose gradients are slow."""
    monkeypatch.setattr(module, 'has_slow_gradients', lambda: True)


@pytest.fixture
def own(monkeypatch) -> list[str]:
    """Names of the functions that compute gradients."""
    found = []
    for where, name in ((module, '_weight_gradient'), (winograd_conv, '_weight_grad')):
        plain = getattr(where, name)
        monkeypatch.setattr(where, name, lambda *args, plain=plain, name=name: found.append(name) or plain(*args))
    return found


def gradients(layer: nn.Module, x: Tensor, call=convolve) -> list[Tensor]:
    x = x.detach().requires_grad_()
    y = call(layer, x)
    torch.manual_seed(1)
    return [y, *torch.autograd.grad(y, [x, *layer.parameters()], torch.randn(y.shape).to(y))]


@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ('channels', 'stride', 'size', 'bias', 'function'),
    [
        ((64, 80), 1, (33, 20), True, '_weight_gradient'),
        ((64, 64), 1, (1, 70), False, '_weight_gradient'),
        ((32, 40), 2, (31, 18), True, '_weight_gradient'),
        ((130, 64), 2, (9, 9), False, '_weight_gradient'),
        ((128, 130), 1, (33, 34), True, '_weight_grad'),
    ],
    ids=['columns', 'a row', 'strided', 'odd', 'winograd'],
)
def test_gradients_are_those_of_the_layer(memory_format, channels, stride, size, bias, function, own):
    torch.manual_seed(0)
    conv = nn.Conv2d(*channels, 3, stride, 1, bias=bias).to(memory_format=memory_format)
    x = torch.randn(2, channels[0], *size).to(memory_format=memory_format)
    found = gradients(conv, x)
    assert own == [function]
    wanted = gradients(copy.deepcopy(conv).double(), x.double(), nn.Module.__call__)
    for one, other in zip(found, wanted, strict=True):
        assert one.shape == other.shape and one.dtype == torch.float32
        assert (one - other).abs().max() < 1e-5 * other.abs().max()


@pytest.mark.parametrize('rows', [1, 3, 1000])
def test_a_part_of_the_rows_at_a_time(rows, own, monkeypatch):
    monkeypatch.setattr(module, '_CHUNK', 9 * 64 * 10 * rows)
    conv, x = nn.Conv2d(64, 64, 3, padding=1), torch.randn(2, 64, 8, 10)
    for one, other in zip(gradients(conv, x), gradients(conv, x, nn.Module.__call__), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-3)
    assert len(own) == 1


def test_gradients_of_some_and_of_gradients(own):
    conv, x = nn.Conv2d(64, 64, 3, padding=1), torch.randn(1, 64, 6, 6)
    (grad,) = torch.autograd.grad(convolve(conv, x).sum(), conv.weight)  # none of the input
    assert grad.shape == conv.weight.shape and len(own) == 1
    x.requires_grad_()
    (grad,) = torch.autograd.grad(convolve(conv, x).square().sum(), conv.weight, create_graph=True)
    assert len(own) == 1
    (found,) = torch.autograd.grad(grad.sum(), x)
    (grad,) = torch.autograd.grad(conv(x).square().sum(), conv.weight, create_graph=True)
    torch.testing.assert_close(found, torch.autograd.grad(grad.sum(), x)[0])


@pytest.mark.parametrize(
    'options',
    [
        dict(kernel_size=1),
        dict(kernel_size=5, padding=2),
        dict(kernel_size=3),
        dict(kernel_size=3, padding=(1, 0)),
        dict(kernel_size=3, padding='same'),
        dict(kernel_size=3, padding=2, dilation=2),
        dict(kernel_size=3, padding=1, groups=2),
        dict(kernel_size=3, padding=1, padding_mode='reflect'),
        dict(kernel_size=3, padding=1, stride=(1, 2)),
        dict(kernel_size=3, padding=1, stride=3),
    ],
    ids=str,
)
def test_other_convolutions_stay(options, own):
    conv, x = nn.Conv2d(64, 64, **options), torch.randn(1, 64, 12, 12)
    for one, other in zip(gradients(conv, x), gradients(conv, x, nn.Module.__call__), strict=True):
        assert torch.equal(one, other)
    assert not own


def test_where_someone_looks_it_is_the_layer(own, monkeypatch):
    conv, x = nn.Conv2d(64, 64, 3, padding=1), torch.randn(1, 64, 8, 8)
    plain = gradients(conv, x, nn.Module.__call__)

    def is_plain() -> bool:
        return all(torch.equal(one, other) for one, other in zip(gradients(conv, x), plain, strict=True)) and not own

    seen = []
    handle = conv.register_forward_hook(lambda module, args, output: seen.append(output))
    assert is_plain() and len(seen) == 1
    handle.remove()
    with FlopCounterMode(display=False) as counter:
        convolve(conv, x).sum().backward()
    assert counter.get_total_flops() == 2 * 2 * 64 * 64 * 9 * 64 and not own  # of the output and of the weights
    monkeypatch.setattr(module, 'has_slow_gradients', lambda: False)
    assert is_plain()


def test_frozen_weights_and_other_types_are_the_layer_s(own):
    conv, x = nn.Conv2d(64, 64, 3, padding=1), torch.randn(1, 64, 8, 8)
    with torch.autocast('cpu', torch.bfloat16):
        assert convolve(conv, x).dtype == torch.bfloat16
    gradients(conv.double(), x.double())
    convolve(conv.float().requires_grad_(False), x.requires_grad_()).sum().backward()
    with torch.no_grad():
        assert torch.equal(convolve(conv, x), conv(x))
    assert convolve(nn.Identity(), x) is x
    assert not own


@pytest.mark.parametrize(
    'make',
    [lambda: ConvModule(64, 64, 3), lambda: BasicBlock(64, 64, 1, 1, None, nn.BatchNorm2d)],
    ids=['module', 'block'],
)
def test_blocks_take_it(make, own):
    torch.manual_seed(0)
    block, x = make(), torch.randn(2, 64, 9, 9)
    found = gradients(block, x, nn.Module.__call__)
    assert len(own) == sum(isinstance(layer, nn.Conv2d) for layer in block.modules())
    wanted = gradients(copy.deepcopy(block).double(), x.double(), nn.Module.__call__)
    for one, other in zip(found, wanted, strict=True):
        assert (one - other).abs().max() < 1e-4 * other.abs().max()
    assert len(own) == sum(isinstance(layer, nn.Conv2d) for layer in block.modules())
