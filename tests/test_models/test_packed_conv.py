"""A packed convolution gives what its layers give, and follows their weights; hooks and traces get the layers."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn

from detkit.models.layers.conv_module import LEAKY_RELU, ConvModule
from detkit.models.layers.fuse import fuse_conv_bn
from detkit.models.layers.packed_conv import PackedConv

needs_onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason='PyTorch without oneDNN')
needs_bf16 = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available() or not torch.ops.mkldnn._is_mkldnn_bf16_supported(),
    reason='a processor without bfloat16',
)


def fused(*args: object, **kwargs: object) -> ConvModule:
    torch.manual_seed(0)
    module = ConvModule(*args, **kwargs)
    nn.init.uniform_(module.bn.weight, 0.5, 2)
    nn.init.uniform_(module.bn.running_mean, -1, 1)
    return fuse_conv_bn(module.eval())


def plain(module: ConvModule, x: Tensor) -> Tensor:
    return module.act(module.conv(x))


@needs_onednn
@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last], ids=['contiguous', 'channels_last'])
@pytest.mark.parametrize(
    'kwargs',
    [
        dict(kernel_size=3, stride=2),
        dict(kernel_size=1),
        dict(kernel_size=3, groups=4),
        dict(kernel_size=3, dilation=2),
        dict(kernel_size=6, stride=2, padding=2),
        dict(kernel_size=3, act=None),
        dict(kernel_size=3, act='ReLU'),
        dict(kernel_size=3, act='Hardswish'),
        dict(kernel_size=3, act=LEAKY_RELU),
    ],
    ids=['stride', 'point', 'groups', 'dilation', 'stem', 'none', 'ReLU', 'Hardswish', 'LeakyReLU'],
)
def test_equals_the_layers(kwargs, layout):
    module = fused(8, 16, **kwargs)
    for shape in ((1, 8, 20, 12), (3, 8, 9, 9)):  # one layout of the weights serves all sizes
        x = torch.randn(shape).contiguous(memory_format=layout)
        with torch.inference_mode():
            assert module.packed.fits(module.conv, module.act, x)
            torch.testing.assert_close(module(x), plain(module, x), rtol=1e-5, atol=1e-5)
    assert len(module.packed._packed) == 1


@needs_bf16
def test_in_bfloat16_it_is_nearer_to_float32_than_the_layers():
    module = fused(32, 16, 3)
    x = torch.randn(2, 32, 16, 16)
    with torch.no_grad():
        exact = plain(module, x)
        with torch.autocast('cpu', torch.bfloat16):
            own, layers = module(x), plain(module, x)
    assert own.dtype == layers.dtype == torch.bfloat16
    assert (own - exact).abs().mean() <= (layers - exact).abs().mean() < 0.02


@needs_onednn
def test_other_activations_and_those_who_look_get_the_layers(monkeypatch):
    x = torch.randn(1, 3, 8, 8)
    fits = PackedConv.fits
    module = fused(3, 4)
    with torch.no_grad():
        assert fits(module.conv, module.act, x)
        assert not fits(module.conv, nn.GELU(), x)
        assert not fits(module.conv, module.act, x.double())
        assert not fits(nn.Conv2d(3, 4, 3, padding='same'), module.act, x)
        assert not fits(nn.Conv2d(3, 4, 3, padding=1, padding_mode='reflect'), module.act, x)
        assert not fits(module.conv, module.act, x.to('meta'))
        monkeypatch.setattr(torch.backends.mkldnn, 'is_available', lambda: False)
        assert not fits(module.conv, module.act, x)
        monkeypatch.undo()
        seen = []
        handle = module.conv.register_forward_hook(lambda *args: seen.append(args))
        module(x)
        handle.remove()
        module(x)
        assert len(seen) == 1
    assert not fits(module.conv, module.act, x), 'gradients'
    module(x.requires_grad_()).sum().backward()
    assert x.grad.abs().sum() > 0


@needs_onednn
def test_traced_and_exported_models_hold_the_layers():
    module = fused(3, 4)
    x = torch.randn(1, 3, 8, 8)
    with torch.no_grad():
        graph = str(torch.jit.trace(module, x).inlined_graph)
        exported = str(torch.export.export(module, (x,)).graph)
    for text in (graph, exported):
        assert 'mkldnn' not in text and 'silu' in text


@needs_onednn
def test_follows_new_weights():
    module, other = fused(3, 4), fused(3, 4)
    x = torch.randn(1, 3, 8, 8)
    with torch.no_grad():
        module(x)
        module.conv.weight.mul_(2)
        torch.testing.assert_close(module(x), plain(module, x))
        module.conv.weight.data = torch.randn_like(module.conv.weight)
        torch.testing.assert_close(module(x), plain(module, x))
        other.conv.weight.zero_()
        module.load_state_dict(other.state_dict(), assign=True)
        torch.testing.assert_close(module(x), plain(module, x))
        module.conv = nn.Conv2d(3, 4, 1)
        torch.testing.assert_close(module(x), plain(module, x))


@needs_onednn
def test_weights_whose_changes_are_not_counted_are_used_by_the_layers():
    x = torch.randn(1, 3, 8, 8)
    with torch.inference_mode():
        module = fused(3, 4)
        assert not module.packed.fits(module.conv, module.act, x)
        module(x)
        module.conv.weight.mul_(2)
        torch.testing.assert_close(module(x), plain(module, x))


@needs_onednn
def test_copies_lay_out_their_own_weights():
    module = fused(3, 4)
    x = torch.randn(1, 3, 8, 8)
    with torch.no_grad():
        expected = module(x)
        for copied in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
            assert not copied.packed._packed
            copied.conv.weight.neg_()
            torch.testing.assert_close(copied(x), plain(copied, x))
            assert not torch.allclose(copied(x), expected)
        torch.testing.assert_close(module(x), expected)


def test_a_model_that_is_not_fused_has_none():
    assert all(module.packed is None for module in ConvModule(3, 4).eval().modules() if isinstance(module, ConvModule))
