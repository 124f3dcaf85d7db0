"""Layers and backbones: shapes, attributes, equalities that their structure promises."""

from collections import OrderedDict

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from detkit.models.backbones import CSPDarknet
from detkit.models.layers import (
    C3,
    BlockDeconv2d,
    Bottleneck,
    C2f,
    ConvModule,
    FrozenBatchNorm2d,
    LargeKernelConv,
    RepVGGBlock,
    SyncBatchNorm2d,
    build_activation,
    build_block,
    fuse_conv_bn,
    fused,
    scale_blocks,
    scale_channels,
    upsample_nearest,
)
from detkit.models.necks import PAN, SPP, LastBlock
from detkit.registry import LAYERS
from detkit.utils.errors import ConfigError


@LAYERS.register_module(force=True)
class OneConvBlock(nn.Module):
    """A stage block of somebody else's, to be injected."""

    def __init__(self, in_channels, out_channels, num_blocks):
        super().__init__()
        self.num_blocks = num_blocks
        self.conv = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x):
        return self.conv(x)


def randomise_statistics(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)


@pytest.mark.parametrize('kernel_size, stride, size', [(1, 1, 8), (3, 1, 8), (5, 1, 8), (3, 2, 4)])
def test_conv_module_keeps_or_halves_the_size(kernel_size, stride, size):
    assert ConvModule(3, 4, kernel_size, stride)(torch.rand(2, 3, 8, 8)).shape == (2, 4, size, size)


def test_conv_module_activations():
    x = torch.randn(2, 3, 4, 4)
    linear = ConvModule(3, 4, act=None)
    leaky = ConvModule(3, 4, act=nn.LeakyReLU(0.1))
    silu = ConvModule(3, 4)
    leaky.load_state_dict(linear.state_dict())
    silu.load_state_dict(linear.state_dict())
    y = linear(x)
    torch.testing.assert_close(leaky(x), nn.functional.leaky_relu(y, 0.1))
    torch.testing.assert_close(silu(x), y * torch.sigmoid(y))
    assert (silu.bn.eps, silu.bn.momentum, silu.conv.bias) == (1e-3, 0.03, None)


def test_activations_by_config():
    leaky = build_activation(dict(type='LeakyReLU', negative_slope=0.2))
    assert isinstance(leaky, nn.LeakyReLU) and leaky.negative_slope == 0.2
    assert isinstance(build_activation('Mish'), nn.Mish)
    assert isinstance(build_activation(None), nn.Identity)
    assert build_activation(leaky) is leaky
    with pytest.raises(ConfigError, match="no activation 'LeakyRelu'.* Did you mean 'LeakyReLU'"):
        build_activation('LeakyRelu')


def test_an_activation_reaches_every_convolution():
    models = [
        CSPDarknet(0.33, 0.25, act='ReLU'),
        CSPDarknet(0.33, 0.25, block=dict(type='C3', shortcut=True), act='ReLU'),
        SPP((8,), act='ReLU'),
        PAN((8, 8), act='ReLU'),
        PAN((8, 8), reduce=True, block=dict(type='C3'), act='ReLU'),
        LastBlock((8, 8), act='ReLU'),
    ]
    for model in models:
        acts = [module.act for module in model.modules() if isinstance(module, ConvModule)]
        assert acts and all(isinstance(act, nn.ReLU) for act in acts)


def test_a_block_gets_only_what_it_takes():
    assert build_block(dict(type='OneConvBlock'), 4, 6, 2, act='ReLU').num_blocks == 2
    block = build_block(dict(type='C2f', act='Mish', num_blocks=3), 4, 8, 2, act='ReLU')  # what the config says wins
    assert len(block.blocks) == 3 and isinstance(block.in_conv.act, nn.Mish)


def test_bottleneck_adds_its_input_only_where_it_can():
    block = Bottleneck(4, 4).eval()
    x = torch.rand(1, 4, 5, 5)
    torch.testing.assert_close(block(x), x + block.conv2(block.conv1(x)))
    assert not Bottleneck(4, 8).shortcut
    assert not Bottleneck(4, 4, shortcut=False).shortcut


def test_c2f_without_bottlenecks_is_two_pointwise_convolutions():
    block = C2f(6, 8, num_blocks=0).eval()
    x = torch.rand(1, 6, 5, 5)
    torch.testing.assert_close(block(x), block.out_conv(block.in_conv(x)))


def test_c2f_concatenates_every_bottleneck():
    block = C2f(6, 8, num_blocks=2, shortcut=True).eval()
    x = torch.rand(1, 6, 5, 5)
    y = block.in_conv(x)
    first = block.blocks[0](y[:, 4:])
    second = block.blocks[1](first)
    torch.testing.assert_close(block(x), block.out_conv(torch.cat((y, first, second), dim=1)))


def test_c3_concatenates_both_branches():
    block = C3(6, 8, num_blocks=2, shortcut=True).eval()
    x = torch.rand(1, 6, 5, 5)
    main = block.blocks[1](block.blocks[0](block.main_conv(x)))
    torch.testing.assert_close(block(x), block.out_conv(torch.cat((main, block.side_conv(x)), dim=1)))
    assert [conv.conv.kernel_size for conv in (block.blocks[0].conv1, block.blocks[0].conv2)] == [(1, 1), (3, 3)]


@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize('size', [1, 2, 3])
def test_block_deconvolution_is_a_transposed_convolution(size, layout):
    torch.manual_seed(0)
    fast = BlockDeconv2d(5, 4, size).double()
    plain = nn.ConvTranspose2d(5, 4, size, size).double()
    plain.load_state_dict(fast.state_dict())
    results = []
    for layer in (fast, plain):
        x = torch.linspace(-1, 1, 2 * 5 * 3 * 6, dtype=torch.float64).view(2, 5, 3, 6).contiguous(memory_format=layout)
        y = layer(x.requires_grad_())
        y.sin().sum().backward()
        results.append((y, x.grad, layer.weight.grad, layer.bias.grad))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize('size', [(6, 10), (7, 9), (3, 5)])
def test_upsampling_and_its_gradient(size):
    torch.manual_seed(0)
    results = []
    x, upward = torch.rand(2, 4, 3, 5, dtype=torch.float64), torch.rand(2, 4, *size, dtype=torch.float64)
    for upsample in (upsample_nearest, lambda x, size: nn.functional.interpolate(x, size=size, mode='nearest')):
        leaf = x.clone().contiguous(memory_format=torch.channels_last).requires_grad_()
        y = upsample(leaf, size)
        y.backward(upward)
        results.append((y, leaf.grad))
        assert y.is_contiguous(memory_format=torch.channels_last)
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)
    assert torch.equal(upsample_nearest(x, size), results[0][0])


def test_scaling_rules():
    assert [scale_channels(c, 0.75, 768) for c in (64, 256, 1024)] == [48, 192, 576]
    assert scale_channels(64, 0.33) == 24  # 21.12, up to a multiple of 8
    assert [scale_blocks(n, 0.33) for n in (1, 3, 6, 9)] == [1, 1, 2, 3]


@pytest.mark.parametrize('out_indices', [(0,), (1, 2), (2, 3, 4), (4,)])
def test_backbone_returns_what_its_attributes_say(out_indices):
    backbone = CSPDarknet(0.33, 0.25, out_indices=out_indices).eval()
    feats = backbone(torch.rand(2, 3, 64, 96))
    assert [f.shape for f in feats] == [
        (2, c, 64 // s, 96 // s) for c, s in zip(backbone.out_channels, backbone.out_strides, strict=True)
    ]
    assert len(backbone.stages) == out_indices[-1]


def test_backbone_of_another_family():
    """YOLOv5's stem and repeats with another block need arguments only."""
    block = dict(type='OneConvBlock')
    backbone = CSPDarknet(0.33, 0.5, stem_kernel_size=6, stage_blocks=(3, 6, 9, 3), block=block)
    assert [stage[1].num_blocks for stage in backbone.stages] == [1, 2, 3, 1]
    assert backbone.stem.conv.padding == (2, 2)
    assert [f.shape[-1] for f in backbone(torch.rand(1, 3, 64, 64))] == [8, 4, 2]


def test_stages_have_blocks_and_ways_to_halve_of_their_own():
    down = [None, None, dict(type='SCDown'), dict(type='SCDown', act=None)]
    blocks = [dict(type='C2f')] * 2 + [dict(type='C2fCIB')] * 2
    backbone = CSPDarknet(0.33, 0.125, block=blocks, downsample=down, act='ReLU')
    assert [type(stage[0]).__name__ for stage in backbone.stages] == ['ConvModule'] * 2 + ['SCDown'] * 2
    assert [type(stage[1]).__name__ for stage in backbone.stages] == ['C2f'] * 2 + ['C2fCIB'] * 2
    assert [type(stage[0][0].act).__name__ for stage in backbone.stages[2:]] == ['ReLU', 'Identity']
    assert [f.shape[1:] for f in backbone(torch.rand(2, 3, 63, 64))] == [(32, 8, 8), (64, 4, 4), (128, 2, 2)]
    with pytest.raises(ConfigError, match='CSPDarknet: 1 entries of downsample, but there are 4 positions'):
        CSPDarknet(downsample=[None])


@pytest.mark.parametrize('layer', [LargeKernelConv(6), RepVGGBlock(6)])
def test_convolutions_side_by_side_become_one_inside_of_a_block_alone(layer):
    torch.manual_seed(0)
    layer = layer.double()
    randomise_statistics(layer)
    layer.eval()
    own, x = dict(layer.named_modules()), torch.rand(2, 6, 9, 8, dtype=torch.float64)
    with torch.no_grad():
        expected = layer(x)
        with fused(layer):
            assert sum(isinstance(module, nn.Conv2d) for module in layer.modules()) == 1
            torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-12)
        assert dict(layer.named_modules()) == own
        torch.testing.assert_close(layer(x), expected, rtol=0, atol=0)
        layer.merge_branches()  # before normalisation is fused, which changes nothing
        torch.testing.assert_close(layer(x), expected, rtol=0, atol=0)


def test_a_stage_without_a_block():
    backbone = CSPDarknet(0.33, 0.25, stage_blocks=(3, 9, 9, 0))
    assert [len(stage) for stage in backbone.stages] == [2, 2, 2, 1]
    assert [f.shape[1] for f in backbone(torch.rand(2, 3, 64, 64))] == list(backbone.out_channels)


def test_backbone_takes_greyscale():
    feats = CSPDarknet(0.33, 0.25, in_channels=1)(torch.rand(2, 1, 64, 64))
    assert feats[0].shape == (2, 64, 8, 8)


@pytest.mark.parametrize('arguments', [dict(out_indices=()), dict(out_indices=(3, 2)), dict(out_indices=(2, 5))])
def test_backbone_rejects_indices(arguments):
    with pytest.raises(ValueError, match='out_indices'):
        CSPDarknet(**arguments)


def test_backbone_rejects_unequal_stages():
    with pytest.raises(ValueError, match='3 stage_channels but 4 stage_blocks'):
        CSPDarknet(stage_channels=(64, 128, 256))


def test_fused_model_gives_the_same_outputs():
    torch.manual_seed(0)
    backbone = CSPDarknet(0.33, 0.25).double()
    randomise_statistics(backbone)
    backbone.eval()
    x = torch.rand(1, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        expected = backbone(x)
        fused = fuse_conv_bn(backbone)(x)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in backbone.modules())
    for a, b in zip(fused, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10 * b.abs().max().item())
    assert fuse_conv_bn(backbone) is backbone  # a second time changes nothing


def test_fusing_needs_evaluation_mode():
    with pytest.raises(ValueError, match='eval'):
        fuse_conv_bn(ConvModule(3, 3))


def test_a_model_is_fused_inside_of_a_block_alone():
    torch.manual_seed(0)
    layer = ConvModule(3, 4, 3)
    randomise_statistics(layer)
    layer.eval()
    own, x = dict(layer.named_modules()), torch.rand(1, 3, 8, 8)
    weights = {name: value.clone() for name, value in layer.state_dict().items()}
    with torch.no_grad():
        expected = layer(x)
        with pytest.raises(KeyError), fused(layer):
            assert isinstance(layer.bn, nn.Identity) and layer.conv is not own['conv']
            torch.testing.assert_close(layer(x), expected)
            raise KeyError  # as a failed validation
        assert dict(layer.named_modules()) == own
        torch.testing.assert_close(layer(x), expected, rtol=0, atol=0)
    assert all(torch.equal(value, weights[name]) for name, value in layer.state_dict().items())


@pytest.mark.parametrize('layer', [nn.BatchNorm2d, nn.SyncBatchNorm, FrozenBatchNorm2d, SyncBatchNorm2d])
def test_each_normalisation_is_fused(layer):
    model = nn.Sequential(nn.Conv2d(3, 4, 1), layer(4)).eval()
    assert isinstance(fuse_conv_bn(model)[1], nn.Identity)


class ScaledConv(nn.Conv2d):
    def forward(self, x):
        return 2 * super().forward(x)


def hooked(conv: nn.Conv2d) -> nn.Conv2d:
    conv.register_forward_hook(lambda layer, inputs, output: 2 * output)
    return conv


def replaced(layer: nn.Module) -> nn.Module:
    layer.forward = lambda x: 2 * type(layer).forward(layer, x)
    return layer


@pytest.mark.parametrize(
    'layers',
    [
        dict(conv=replaced(nn.Conv2d(3, 4, 1)), bn=nn.BatchNorm2d(4)),
        dict(conv=nn.Conv2d(3, 4, 1), bn=replaced(nn.BatchNorm2d(4))),
        dict(conv=ScaledConv(3, 4, 1), bn=nn.BatchNorm2d(4)),
        dict(conv=hooked(nn.Conv2d(3, 4, 1)), bn=nn.BatchNorm2d(4)),
        dict(conv=weight_norm(nn.Conv2d(3, 4, 1)), bn=nn.BatchNorm2d(4)),
        dict(conv=nn.Conv2d(3, 4, 1), bn=nn.BatchNorm2d(4, track_running_stats=False)),
        dict(conv=nn.Conv2d(3, 4, 1), act=nn.ReLU(), bn=nn.BatchNorm2d(4)),
    ],
    ids=[
        'own forward',
        'own forward of norm',
        'own class',
        'hook',
        'computed weight',
        'no statistics',
        'activation between',
    ],
)
def test_pairs_that_compute_something_else_are_left_alone(layers):
    model = nn.Sequential(OrderedDict(layers)).eval()
    x = torch.rand(2, 3, 4, 4)
    with torch.no_grad():
        expected = model(x)
        fuse_conv_bn(model)
        assert model.bn is layers['bn']
        torch.testing.assert_close(model(x), expected, rtol=1e-6, atol=1e-6)
    assert isinstance(model.bn, nn.BatchNorm2d)


class NormFirst(nn.Module):
    """As the blocks of a residual network of the second kind."""

    def __init__(self) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, padding=1, bias=False)

    def forward(self, x):
        return x + self.conv1(self.bn1(x).relu())


class ActivationBetween(NormFirst):
    def forward(self, x):
        return self.bn1(self.conv1(x).relu())


class ConvUsedTwice(NormFirst):
    def forward(self, x):
        y = self.conv1(x)
        return y + self.bn1(y)


class WeightUsed(NormFirst):
    def forward(self, x):
        return self.bn1(self.conv1(x)) * self.conv1.weight.mean()


class Undecided(NormFirst):
    def forward(self, x):
        return self.bn1(self.conv1(x)) if x.sum() > 0 else x


class Shortcut(nn.Sequential):
    def forward(self, x):
        return x + self[1](self[0](x).relu())


class InTurn(NormFirst):
    def forward(self, feats, scale=1.0):
        x = feats[0]
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return [scale * y + x[..., : y.shape[-1]], feats[1]]


class OfItsOwner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleDict({'bn': nn.BatchNorm2d(4), 'conv': nn.Conv2d(4, 4, 1)})

    def forward(self, x):
        return self.layers['conv'](self.layers['bn'](x).relu())


@pytest.mark.parametrize(
    ('block', 'is_fused'),
    [
        (NormFirst, False),
        (ActivationBetween, False),
        (ConvUsedTwice, False),
        (WeightUsed, False),
        (Undecided, False),
        (lambda: Shortcut(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)), False),
        (OfItsOwner, False),
        (InTurn, True),
    ],
)
def test_blocks_of_one_s_own_are_fused_where_they_call_one_layer_after_the_other(block, is_fused):
    torch.manual_seed(0)
    model = nn.Sequential(block())
    randomise_statistics(model)
    model.eval()
    x = torch.rand(2, 4, 4, 4)
    x = [x, x] if is_fused else x
    with torch.no_grad():
        expected = model(x)
        fuse_conv_bn(model)
        torch.testing.assert_close(model(x), expected, rtol=1e-5, atol=1e-5)
    assert any(isinstance(layer, nn.BatchNorm2d) for layer in model.modules()) is not is_fused


def test_a_normalisation_that_keeps_the_statistics_of_batches_stays():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).eval()
    model[1].train()
    assert isinstance(fuse_conv_bn(model)[1], nn.BatchNorm2d)
