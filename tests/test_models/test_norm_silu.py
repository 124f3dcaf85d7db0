"""Batch normalisation joined with SiLU equals the two layers to the last bit, and keeps less for the backward pass."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from detkit.models.layers.conv_module import ConvModule
from detkit.models.layers.norm_silu import can_join, norm_silu


def layers(channels: int = 6) -> tuple[nn.BatchNorm2d, nn.SiLU]:
    torch.manual_seed(0)
    bn = nn.BatchNorm2d(channels, eps=1e-3, momentum=0.03)
    nn.init.uniform_(bn.weight, -2, 2)
    nn.init.uniform_(bn.bias, -1, 1)
    return bn, nn.SiLU()


def step(bn: nn.BatchNorm2d, act: nn.SiLU, x: Tensor, joined: bool) -> list[Tensor]:
    """Return the output, all gradients and the statistics after it."""
    x = x.detach().requires_grad_()
    y = norm_silu(bn, x) if joined else act(bn(x))
    torch.manual_seed(1)
    wanted = [each for each in (x, bn.weight, bn.bias) if each.requires_grad]
    grads = torch.autograd.grad(y, wanted, torch.randn(y.shape).to(y).contiguous(memory_format=layout_of(y)))
    return [y, *grads, bn.running_mean, bn.running_var, bn.num_batches_tracked]


def layout_of(y: Tensor) -> torch.memory_format:
    return torch.channels_last if y.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format


@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last], ids=['contiguous', 'channels_last'])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16], ids=['float32', 'bfloat16'])
@pytest.mark.parametrize('shape', [(2, 6, 5, 7), (1, 6, 16, 16), (4, 6, 1, 1)], ids=['odd', 'one_image', 'pixel'])
def test_equals_the_two_layers_to_the_last_bit(shape, dtype, layout):
    torch.manual_seed(2)
    x = (3 * torch.randn(shape) + 1).to(dtype).contiguous(memory_format=layout)
    bn, act = layers()
    other = copy.deepcopy(bn)
    for _ in range(2):  # the second step begins with the first one's statistics
        for own, plain in zip(step(bn, act, x, True), step(other, act, x, False), strict=True):
            assert own.dtype == plain.dtype and torch.equal(own, plain)


@pytest.mark.parametrize('channels', [8, 48])
@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last], ids=['contiguous', 'channels_last'])
def test_gradients_of_a_part_of_a_concatenation_are_those_of_the_two_layers(channels, layout):
    torch.manual_seed(3)
    x = torch.randn(2, channels, 5, 7).contiguous(memory_format=layout)
    weight = torch.randn(2, 2 * channels, 5, 7).contiguous(memory_format=layout)
    found = []
    for joined in (True, False):
        bn, act = nn.BatchNorm2d(channels), nn.SiLU()
        own = x.clone().requires_grad_()
        y = norm_silu(bn, own) if joined else act(bn(own))
        (torch.cat((own, y), 1) * weight).sum().backward()
        found.append((own.grad, bn.weight.grad, bn.bias.grad))
    for grad, plain in zip(*found, strict=True):
        torch.testing.assert_close(grad, plain)


def test_frozen_parameters_take_no_gradient():
    x = torch.randn(2, 6, 4, 4)
    bn, act = layers()
    bn.weight.requires_grad_(False)
    other = copy.deepcopy(bn)
    for own, plain in zip(step(bn, act, x, True), step(other, act, x, False), strict=True):
        assert torch.equal(own, plain)


@pytest.mark.parametrize('frozen', [False, True], ids=['learnt', 'frozen'])
def test_gradients_can_be_differentiated_again(frozen):
    x = torch.randn(2, 6, 4, 4)
    bn, act = layers()
    bn.bias.requires_grad_(not frozen)
    other = copy.deepcopy(bn)
    penalties = []
    for norm, joined in ((bn, True), (other, False)):
        own = x.clone().requires_grad_()
        y = norm_silu(norm, own) if joined else act(norm(own))
        (grad,) = torch.autograd.grad(y.square().sum(), own, create_graph=True)
        penalties.append(torch.autograd.grad(grad.square().sum(), [own, norm.weight]))
    for own, plain in zip(*penalties, strict=True):
        assert own.abs().sum() > 0
        torch.testing.assert_close(own, plain)


def test_a_convolution_takes_it_and_keeps_less():
    def kept(module: ConvModule, x: Tensor) -> int:
        sizes = {}
        with torch.autograd.graph.saved_tensors_hooks(
            lambda saved: sizes.update({saved.data_ptr(): saved.untyped_storage().nbytes()}) or saved,
            lambda saved: saved,
        ):
            module(x).sum()
        return sum(sizes.values())

    module = ConvModule(3, 16)
    x = torch.randn(2, 3, 32, 32)
    joined = kept(module, x)
    module.act.register_forward_hook(lambda module, args, output: None)
    plain = kept(module, x)
    feature_map = 2 * 16 * 32 * 32 * 4
    assert plain - joined == pytest.approx(feature_map, rel=0.01)


def test_a_model_learns_the_same_with_it_and_without():
    torch.manual_seed(0)
    own = nn.Sequential(ConvModule(3, 8, 3, 2), ConvModule(8, 8), ConvModule(8, 4, 3))
    plain = copy.deepcopy(own)
    for module in plain.modules():
        if isinstance(module, nn.SiLU):
            module.register_forward_hook(lambda module, args, output: None)
    x = torch.randn(2, 3, 16, 16)
    losses = []
    for model in (own, plain):
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        losses.append([])
        for _ in range(3):
            optimizer.zero_grad()
            with torch.autocast('cpu', torch.bfloat16):
                loss = model(x).float().square().mean()
            loss.backward()
            optimizer.step()
            losses[-1].append(loss.item())
    assert losses[0] == losses[1] and losses[0][-1] < losses[0][0]


@pytest.mark.parametrize(
    'change',
    [
        lambda bn, act: bn.eval(),
        lambda bn, act: bn.register_forward_hook(lambda *args: None),
        lambda bn, act: act.register_forward_pre_hook(lambda *args: None),
        lambda bn, act: setattr(bn, 'forward', lambda x: 2 * x),
        lambda bn, act: setattr(act, 'forward', lambda x: 2 * x),
        lambda bn, act: setattr(bn, 'momentum', None),
        lambda bn, act: setattr(bn, 'track_running_stats', False),
        lambda bn, act: setattr(bn, '__class__', type('OwnNorm', (nn.BatchNorm2d,), {})),
        lambda bn, act: setattr(act, '__class__', type('OwnActivation', (nn.SiLU,), {})),
    ],
    ids=[
        'eval',
        'hook',
        'pre_hook',
        'own_forward_of_norm',
        'own_forward',
        'momentum',
        'no_statistics',
        'own_norm',
        'own_activation',
    ],
)
def test_other_layers_are_called_themselves(change):
    bn, act = layers()
    x = torch.randn(2, 6, 4, 4)
    assert can_join(bn, act, x)
    change(bn, act)
    assert not can_join(bn, act, x)


def test_a_single_value_for_a_channel_is_refused_as_by_the_layer():
    module = ConvModule(3, 4)
    with pytest.raises(ValueError, match='more than 1 value per channel'):
        module(torch.randn(1, 3, 1, 1))


def test_it_is_plain_without_gradients_and_when_compiled():
    bn, act = layers()
    x = torch.randn(2, 6, 4, 4)
    with torch.no_grad():
        assert not can_join(bn, act, x)
    module = ConvModule(3, 4)
    x = torch.randn(2, 3, 8, 8)
    expected = copy.deepcopy(module)(x)
    compiled = torch.compile(module, backend='aot_eager')(x)
    torch.testing.assert_close(compiled, expected)
