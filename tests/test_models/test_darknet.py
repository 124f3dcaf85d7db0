"""``Darknet`` and ``YOLOv3Neck``: shapes, attributes, sizes, and what their structure promises."""

import pytest
import torch
from darknet_models import build_family
from torch import nn

from detkit.converters.common import Conversion
from detkit.engine.finetune import freeze_modules
from detkit.models.backbones import Darknet
from detkit.models.backbones.darknet import SameMaxPool
from detkit.models.layers import ConvModule
from detkit.models.necks import SPP, YOLOv3Neck
from detkit.utils.errors import CheckpointError, ConfigError

# All that a .weights file holds: parameters and running statistics.
STREAMS = {'yolov3': 62_001_757, 'yolov3_spp': 63_052_381, 'yolov3_tiny': 8_858_734}


def count(model: nn.Module) -> int:
    return sum(tensor.numel() for name, tensor in model.state_dict().items() if not name.endswith('batches_tracked'))


@pytest.mark.parametrize('family', STREAMS)
def test_sizes_are_the_reference_s(family):
    model = build_family(family)
    assert count(model) == STREAMS[family]
    if family != 'yolov3_tiny':
        assert count(model.backbone) == 40_620_640  # darknet53.conv.74
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-6, 0.03)}
    acts = [module.act for module in model.modules() if isinstance(module, ConvModule)]
    assert all(isinstance(act, nn.LeakyReLU) and act.negative_slope == 0.1 for act in acts)


@pytest.mark.parametrize('depth, out_indices', [(53, None), (53, (0, 2)), (53, (5,)), ('tiny', None), ('tiny', (3, 4))])
def test_backbone_returns_what_its_attributes_say(depth, out_indices):
    backbone = Darknet(depth, widen_factor=0.125, out_indices=out_indices).eval()
    feats = backbone(torch.rand(2, 3, 64, 96))
    assert [f.shape for f in feats] == [
        (2, c, 64 // s, 96 // s) for c, s in zip(backbone.out_channels, backbone.out_strides, strict=True)
    ]
    assert backbone.out_indices == (out_indices or ((3, 4, 5) if depth == 53 else (4, 5)))
    assert len(backbone.stages) == backbone.out_indices[-1]


def test_residual_blocks_are_those_of_the_paper():
    backbone = Darknet(53, widen_factor=0.125)
    assert [len(stage) - 1 for stage in backbone.stages] == [1, 2, 8, 8, 4]
    block = backbone.stages[0][1]
    assert block.shortcut and block.conv1.conv.out_channels * 2 == block.conv2.conv.out_channels


def test_pooling_that_keeps_the_size():
    x = torch.tensor([[1.0, 5.0, 2.0], [4.0, -3.0, -6.0], [-1.0, -2.0, -7.0]]).view(1, 1, 3, 3)
    expected = torch.tensor([[5.0, 5.0, 2.0], [4.0, -2.0, -6.0], [-1.0, -2.0, -7.0]]).view(1, 1, 3, 3)
    assert torch.equal(SameMaxPool()(x), expected)


def test_maps_of_odd_images_fit_each_other():
    """Halved sizes are rounded up in both networks."""
    for depth in (53, 'tiny'):
        feats = Darknet(depth, widen_factor=0.125, out_indices=(1, 2, 3))(torch.rand(2, 3, 45, 50))
        assert [f.shape[-2:] for f in feats] == [(23, 25), (12, 13), (6, 7)]


def test_freezing_by_number_counts_stem_and_stages():
    model = build_family('yolov3', widen_factor=0.125, device='cpu')
    freeze_modules(model, 2)
    frozen = [name for name, param in model.backbone.named_parameters() if not param.requires_grad]
    assert frozen == [name for name, _ in model.backbone.named_parameters() if name.startswith(('stem.', 'stages.0.'))]


def test_starts_from_weights_of_a_file(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / 'backbone.pth'
    state = Darknet('tiny', widen_factor=0.125).state_dict()
    Conversion({f'backbone.{name}': value for name, value in state.items()}, None, '', {}).save(path)
    backbone = Darknet('tiny', widen_factor=0.125, weights=str(path))
    assert not torch.equal(backbone.stem.conv.weight, state['stem.conv.weight'])  # not before weights are initialised
    backbone.init_weights()
    assert all(torch.equal(value, state[name]) for name, value in backbone.state_dict().items())
    with pytest.raises(CheckpointError, match='Darknet'):
        Darknet('tiny', widen_factor=0.25, weights=str(path)).init_weights()
    with pytest.raises(CheckpointError, match='missing.pth'):
        Darknet('tiny', weights='missing.pth').init_weights()


@pytest.mark.parametrize(
    'arguments, message',
    [
        (dict(depth=19), "depth is 19; it must be one of 53, 'tiny'"),
        (dict(out_indices=()), 'out_indices'),
        (dict(out_indices=(4, 3)), 'out_indices'),
        (dict(depth='tiny', out_indices=(6,)), 'out_indices'),
        (dict(act='LeakyRelu'), "Did you mean 'LeakyReLU'"),
    ],
)
def test_backbone_rejects(arguments, message):
    with pytest.raises(ConfigError, match=message):
        Darknet(**arguments)


@pytest.mark.parametrize('channels', [(16,), (8, 16), (8, 16, 32, 64)])
def test_neck_keeps_sizes_and_channels(channels):
    neck = YOLOv3Neck(channels, in_strides=[8 * 2**i for i in range(len(channels))])
    feats = tuple(torch.rand(2, c, 32 >> i, 24 >> i) for i, c in enumerate(channels))
    assert [f.shape for f in neck(feats)] == [f.shape for f in feats]
    assert neck.out_channels == channels


def test_neck_to_other_channels_and_without_sets():
    neck = YOLOv3Neck((8, 32), out_channels=(12, 16), num_convs=(0, 1))
    assert [len(convs) for convs in neck.sets] == [0, 1]
    feats = (torch.rand(2, 8, 13, 11), torch.rand(2, 32, 7, 6))  # sizes that do not halve evenly
    assert [f.shape[1:] for f in neck(feats)] == [(12, 13, 11), (16, 7, 6)]


def test_pyramid_pooling_takes_the_place_of_the_middle_convolution():
    plain, pooled = (YOLOv3Neck((8, 16, 32), spp=spp) for spp in (None, dict(type='SPP', kernel_sizes=(3, 5))))
    assert isinstance(pooled.sets[-1][2], SPP) and pooled.sets[-1][2].kernel_sizes == (3, 5)
    assert isinstance(pooled.sets[-1][2].out_conv.act, nn.LeakyReLU)  # its activation is the neck's
    names = plain.state_dict().keys() - pooled.state_dict().keys()
    assert names and all(name.startswith('sets.2.2.') for name in names)


def test_neck_carries_information_upwards_only():
    torch.manual_seed(0)
    neck = YOLOv3Neck((8, 8, 8)).eval()
    feats = tuple(torch.rand(1, 8, 16 >> i, 16 >> i, requires_grad=True) for i in range(3))
    for level, out in enumerate(neck(feats)):
        grads = torch.autograd.grad(out.sum(), feats, retain_graph=True, allow_unused=True)
        assert [g is not None and bool(g.any()) for g in grads] == [i >= level for i in range(3)]


@pytest.mark.parametrize(
    'arguments, message',
    [
        (dict(in_strides=(8, 32)), r'\(8, 32\)'),
        (dict(out_channels=(8,)), '2 maps come in, but there are 1 out_channels'),
        (dict(num_convs=(5, 5, 5)), '3 num_convs'),
        (dict(num_convs=4), 'odd'),
        (dict(num_convs=3, spp=dict(type='SPP')), 'num_convs=5 has one'),
    ],
)
def test_neck_rejects(arguments, message):
    with pytest.raises(ConfigError, match=message):
        YOLOv3Neck((8, 16), **arguments)
