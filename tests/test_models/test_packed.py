"""Packed layers equal those whose parameters they take."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from detkit.models.layers import fuse, packed
from detkit.models.layers.conv_module import ConvModule
from detkit.models.layers.csp_rep import RepVGGBlock
from detkit.models.layers.fuse import fuse_conv_bn, fused
from detkit.models.layers.linear import Linear
from detkit.models.layers.mlp import MLP
from detkit.models.layers.packed import (
    Packed,
    PackedConv2d,
    PackedLinear,
    activated,
    can_pack,
    computes_in,
    forget_changed,
)

pytestmark = pytest.mark.skipif(not can_pack(), reason='this processor or PyTorch does not pack weights')
in_bfloat16 = pytest.mark.skipif(not computes_in(torch.bfloat16), reason='oneDNN has no bfloat16 for this processor')
in_both_types = pytest.mark.parametrize(
    'half', [pytest.param(False, id='float32'), pytest.param(True, id='bfloat16', marks=in_bfloat16)]
)
TOLERANCE = {torch.float32: dict(rtol=1e-5, atol=1e-5), torch.bfloat16: dict(rtol=2e-2, atol=2e-2)}


def pair(bias: bool = True) -> tuple[PackedLinear, Linear]:
    torch.manual_seed(0)
    layer = Linear(40, 70, bias)
    return PackedLinear.of(layer), layer


def plain(layer: nn.Linear, x: torch.Tensor) -> torch.Tensor:
    return F.linear(x, layer.weight, layer.bias)


@in_both_types
@pytest.mark.parametrize('bias', [True, False], ids=['bias', 'plain'])
@pytest.mark.parametrize('shape', [(40,), (1, 40), (3, 7, 40), (2, 3, 500, 40)], ids=str)
def test_gives_the_layer_s_results(half, bias, shape):
    packed, layer = pair(bias)
    x = torch.randn(shape)
    with torch.inference_mode(), torch.autocast('cpu', torch.bfloat16, enabled=half):
        own, other = packed(x), plain(layer, x)
        again = packed(x.to(other.dtype))
    dtype = torch.bfloat16 if half else torch.float32
    assert list(packed._packed) == [dtype]
    assert own.dtype == other.dtype == dtype and own.shape == other.shape
    torch.testing.assert_close(own, other, **TOLERANCE[dtype])
    assert torch.equal(own, again)


@torch.no_grad()
def test_views_and_rows_with_gaps_are_multiplied():
    packed, layer = pair()
    for x in (torch.randn(40, 9).T, torch.randn(5, 80)[:, ::2], torch.randn(2, 40, 3, 4).permute(0, 2, 3, 1)):
        torch.testing.assert_close(packed(x), plain(layer, x), **TOLERANCE[torch.float32])
    assert packed._packed


@torch.no_grad()
def test_follows_weights_that_change():
    packed, layer = pair()
    x = torch.randn(3, 40)
    packed(x)
    layer.weight.mul_(2)
    torch.testing.assert_close(packed(x), plain(layer, x), **TOLERANCE[torch.float32])
    packed.load_state_dict({name: torch.randn_like(value) for name, value in layer.state_dict().items()})
    torch.testing.assert_close(packed(x), plain(layer, x), **TOLERANCE[torch.float32])
    packed.bias = nn.Parameter(torch.ones(70))
    torch.testing.assert_close(packed(x), F.linear(x, layer.weight, torch.ones(70)), **TOLERANCE[torch.float32])
    assert packed.double()(x.double()).dtype == torch.float64


@in_both_types
@torch.no_grad()
def test_follows_weights_that_are_written_without_being_counted(half):
    torch.manual_seed(0)
    layers = [nn.Conv2d(4, 8, 3), Linear(9, 80)]
    model = nn.Sequential(PackedConv2d.of(layers[0]), nn.Flatten(2), nn.ZeroPad1d((0, -40)), PackedLinear.of(layers[1]))
    plain = nn.Sequential(layers[0], *model[1:3], layers[1])
    x, tolerance = torch.randn(1, 4, 9, 9), TOLERANCE[torch.bfloat16 if half else torch.float32]
    packed = model[0 if half else 3]

    def check() -> None:
        forget_changed(model)
        with torch.autocast('cpu', torch.bfloat16, enabled=half):
            torch.testing.assert_close(model(x), plain(x), **tolerance)

    check()
    kept = next(iter(packed._packed.values()))
    check()
    assert next(iter(packed._packed.values())) is kept
    for layer in layers:
        layer.weight.data.mul_(2)
        check()
        layer.weight.detach().numpy()[3] = 1
        check()
        layer.weight.data.copy_(layer.weight.data.flip(0))
        check()
        layer.bias.data[0] += 1
        check()


@in_bfloat16
@torch.no_grad()
def test_follows_weights_that_lie_where_others_lay():
    torch.manual_seed(0)
    conv, x = nn.Conv2d(4, 8, 3), torch.randn(1, 4, 9, 9)
    packed = PackedConv2d.of(conv)
    with torch.autocast('cpu', torch.bfloat16):
        packed(x)
        conv.weight.data = conv.weight.data[:6]  # pruned: at the same address
        conv.bias.data = conv.bias.data[:6]
        torch.testing.assert_close(packed(x), conv(x), **TOLERANCE[torch.bfloat16])
    held = next(iter(packed._packed.values())).source
    assert held[0].data_ptr() == conv.weight.data_ptr()  # so that no others can come to lie there
    packed.half()
    assert not packed._packed


def test_is_the_plain_layer_with_gradients_and_where_others_look():
    packed, layer = pair()
    x = torch.randn(3, 40)
    own, other = (torch.autograd.grad(each(x).sum(), each.parameters()) for each in (packed, layer))
    assert all(torch.equal(a, b) for a, b in zip(own, other, strict=True))
    with torch.no_grad():
        with FlopCounterMode(display=False) as counter:
            packed(x)
        assert counter.get_total_flops() == 2 * 3 * 40 * 70
        assert 'aten::linear' in str(torch.jit.trace(packed, x, check_trace=False).graph)
        assert torch.export.export(packed, (x,)).module()(x).shape == (3, 70)
        assert torch.func.vmap(packed)(x).shape == (3, 70)
        assert packed(torch.ones(0, 40)).shape == (0, 70)
        assert packed.double()(x.double()).shape == (3, 70)
        assert not packed._packed
        with pytest.raises(RuntimeError, match='dtype'):
            packed(x)  # float32 for weights in float64, as ever


def test_weights_without_a_version_are_not_packed():
    with torch.inference_mode():
        packed, layer = pair()
        x = torch.randn(3, 40)
        assert torch.equal(packed(x), plain(layer, x))
    assert not packed._packed


@torch.no_grad()
def test_copies_and_files_leave_packed_weights_out():
    packed, _ = pair()
    x = torch.randn(3, 40)
    wanted = packed(x)
    file = io.BytesIO()
    torch.save(packed, file)
    file.seek(0)
    copies = [copy.deepcopy(packed), pickle.loads(pickle.dumps(packed)), torch.load(file, weights_only=False)]
    for each in copies:
        assert not each._packed
        assert torch.equal(each(x), wanted)
    assert list(packed.state_dict()) == ['weight', 'bias']


@in_both_types
@pytest.mark.parametrize(
    'act',
    [F.relu, nn.ReLU(), F.gelu, nn.GELU(), F.silu, nn.SiLU()],
    ids=['relu', 'ReLU', 'gelu', 'GELU', 'silu', 'SiLU'],
)
@torch.no_grad()
def test_activates_in_the_same_pass(monkeypatch, act, half):
    packed, layer = pair()
    x = 3 * torch.randn(50, 40)
    with torch.autocast('cpu', torch.bfloat16, enabled=half):
        wanted = act(plain(layer, x))
        monkeypatch.setattr(packed, 'product', watched := _Watched(packed.product))
        own = activated(packed, act, x)
    assert len(watched.acts) == 1 and watched.acts[0] != 'none'
    assert own.dtype == wanted.dtype
    torch.testing.assert_close(own, wanted, **TOLERANCE[own.dtype])


@torch.no_grad()
def test_a_type_without_products_on_this_processor_is_not_packed(monkeypatch):
    monkeypatch.setattr(packed, 'computes_in', lambda dtype: dtype == torch.float32)
    layers = [PackedConv2d.of(nn.Conv2d(4, 8, 3)), PackedLinear.of(Linear(9, 80))]
    with torch.autocast('cpu', torch.bfloat16):
        for layer, x in zip(layers, (torch.randn(1, 4, 9, 9), torch.randn(5, 9)), strict=True):
            assert activated(layer, F.silu, x).dtype == torch.bfloat16
            assert not layer._packed
    assert torch.equal(layers[1](x), layers[1](x)) and layers[1]._packed


class _Watched:
    def __init__(self, call) -> None:
        self.call, self.acts = call, []

    def __call__(self, x, act='none'):
        self.acts.append(act)
        return self.call(x, act)


@torch.no_grad()
def test_hooks_and_other_activations_see_the_layer_s_output(monkeypatch):
    packed, layer = pair()
    x = torch.randn(5, 40)
    monkeypatch.setattr(packed, 'product', watched := _Watched(packed.product))
    for act in (torch.tanh, nn.GELU('tanh'), nn.Tanh()):
        torch.testing.assert_close(activated(packed, act, x), act(plain(layer, x)), **TOLERANCE[torch.float32])
    seen, relu = [], nn.ReLU()
    handle = relu.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    activated(packed, relu, x)
    handle.remove()
    packed.register_forward_hook(lambda module, args, output: seen.append(output))
    activated(packed, relu, x)
    assert watched.acts == ['none'] * 5
    for each in seen:
        torch.testing.assert_close(each, plain(layer, x), **TOLERANCE[torch.float32])


CONVS = {
    'pointwise': dict(kernel_size=1),
    'strided': dict(kernel_size=3, stride=2, padding=1),
    'dilated': dict(kernel_size=3, padding=(2, 4), dilation=(2, 4)),
    'depthwise': dict(kernel_size=5, padding=2, groups=16),
    'grouped': dict(kernel_size=3, groups=4, bias=False),
    'oblong': dict(kernel_size=(1, 3), padding=(0, 1), bias=False),
}


@in_both_types
@pytest.mark.parametrize('name', CONVS)
def test_convolutions_give_the_same_maps_of_any_size(name, half):
    torch.manual_seed(0)
    conv = nn.Conv2d(16, 32, **CONVS[name])
    packed = PackedConv2d.of(conv)
    with torch.inference_mode(), torch.autocast('cpu', torch.bfloat16, enabled=half):
        for shape in ((1, 16, 20, 31), (3, 16, 9, 10), (2, 16, 64, 64)):
            for memory_format in (torch.contiguous_format, torch.channels_last):
                x = torch.randn(shape).to(memory_format=memory_format)
                own, other = packed(x), conv(x)
                assert own.dtype == other.dtype == (torch.bfloat16 if half else torch.float32)
                torch.testing.assert_close(own, other, **TOLERANCE[own.dtype])
                torch.testing.assert_close(activated(packed, F.silu, x), F.silu(other), **TOLERANCE[own.dtype])
        assert len(packed._packed) == half  # in float32 it is the plain layer
        single = torch.randn(16, 9, 9)
        torch.testing.assert_close(packed(single), conv(single), **TOLERANCE[own.dtype])


def test_convolutions_with_other_padding_stay():
    for options in (dict(padding='same'), dict(padding=1, padding_mode='reflect')):
        assert not PackedConv2d.can_replace(nn.Conv2d(8, 8, 3, **options))
    assert not PackedConv2d.can_replace(nn.ConvTranspose2d(8, 8, 3))


@in_bfloat16
@torch.no_grad()
def test_a_block_activates_in_the_convolution_s_pass_unless_someone_looks():
    torch.manual_seed(0)
    with torch.autocast('cpu', torch.bfloat16):
        block, x = ConvModule(3, 8, 3).eval(), torch.randn(2, 3, 20, 20)
        wanted = block(x)
        fuse_conv_bn(block)
        calls = []
        block.conv.product = lambda x, act='none': calls.append(act) or PackedConv2d.product(block.conv, x, act)
        torch.testing.assert_close(block(x), wanted, **TOLERANCE[torch.bfloat16])
        handle = block.bn.register_forward_hook(lambda module, args, output: calls.append('seen'))
        torch.testing.assert_close(block(x), wanted, **TOLERANCE[torch.bfloat16])
        handle.remove()
        block.act.register_forward_hook(lambda module, args, output: calls.append('seen'))
        torch.testing.assert_close(block(x), wanted, **TOLERANCE[torch.bfloat16])
        assert calls == ['swish', 'none', 'seen', 'none', 'seen']


@in_bfloat16
@torch.no_grad()
def test_merged_branches_activate_in_their_convolution_s_pass():
    torch.manual_seed(0)
    with torch.autocast('cpu', torch.bfloat16):
        block, x = RepVGGBlock(8).eval(), torch.randn(2, 8, 20, 20)
        wanted = block(x)
        fuse_conv_bn(block)
        conv, calls = block.branch3.conv, []
        conv.product = lambda x, act='none': calls.append(act) or PackedConv2d.product(conv, x, act)
        torch.testing.assert_close(block(x), wanted, **TOLERANCE[torch.bfloat16])
        block.branch3.register_forward_hook(lambda module, args, output: calls.append('seen'))
        torch.testing.assert_close(block(x), wanted, **TOLERANCE[torch.bfloat16])
        assert calls == ['swish', 'none', 'seen']


def test_large_convolutions_are_not_packed_linear_layers_are(monkeypatch):
    model = nn.Sequential(nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3), Linear(8, 80)).eval()
    model.append(model[0])  # counts once
    monkeypatch.setattr(fuse, '_MOST_CONV_WEIGHTS', 2 * 8 * 8 * 9 - 1)
    assert [isinstance(layer, Packed) for layer in fuse_conv_bn(model)] == [False, False, True, False]
    monkeypatch.setattr(fuse, '_MOST_CONV_WEIGHTS', 2 * 8 * 8 * 9)
    assert all(isinstance(layer, Packed) for layer in fuse_conv_bn(model))
    assert model[0] is model[3]


class Shared(nn.Module):
    """Layers of all kinds, one of them at two places."""

    def __init__(self) -> None:
        super().__init__()
        self.mlp = MLP(8, 80, 80, 3)
        self.last = self.mlp.layers[-1]
        self.narrow = Linear(80, 4)
        self.foreign = nn.Linear(80, 80)
        self.watched = Linear(80, 80)
        self.watched.register_forward_hook(lambda module, args, output: None)
        self.weighted = nn.utils.parametrizations.weight_norm(Linear(80, 80))


def test_fusing_packs_plain_layers_and_fused_puts_them_back():
    model = Shared().eval()
    own = dict(model.named_modules(remove_duplicate=False))
    names = list(model.state_dict())
    x = torch.randn(4, 8)
    with torch.no_grad():
        wanted = model.mlp(x)
        with fused(model):
            assert {name for name, layer in model.named_modules(remove_duplicate=False) if own[name] is not layer} == {
                *(f'mlp.layers.{index}' for index in range(3)),
                'last',
            }
            assert model.last is model.mlp.layers[-1]
            assert list(model.state_dict()) == names
            torch.testing.assert_close(model.mlp(x), wanted, **TOLERANCE[torch.float32])
            assert all(layer._packed for layer in model.mlp.layers)
        assert dict(model.named_modules(remove_duplicate=False)) == own
        torch.testing.assert_close(fuse_conv_bn(model).mlp(x), wanted, **TOLERANCE[torch.float32])


def test_nothing_is_packed_where_it_brings_nothing(monkeypatch):
    monkeypatch.setattr(packed, 'can_pack', lambda: False)
    model = Shared().eval()
    own = list(model.modules())
    assert list(fuse_conv_bn(model).modules()) == own
