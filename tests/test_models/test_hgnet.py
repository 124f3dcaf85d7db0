"""HGNetV2: sizes, what is returned and frozen, weights by the names of D-FINE's authors."""

import pytest
import torch

from detkit.models.backbones import HGNetV2
from detkit.models.backbones.hgnet import ScaleBias
from detkit.models.layers import FrozenBatchNorm2d
from detkit.utils.errors import CheckpointError, ConfigError
from detkit.utils.without_memory import without_memory


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
def test_scale_and_bias_are_those_of_plain_operations(dtype, memory_format):
    torch.manual_seed(0)
    layer = ScaleBias().to(torch.promote_types(dtype, torch.float32))
    with torch.no_grad():
        layer.scale.fill_(1.37)
        layer.bias.fill_(-0.21)
    x = torch.randn(2, 20, 5, 7).to(dtype).contiguous(memory_format=memory_format).requires_grad_()
    grad = torch.randn(2, 20, 5, 7).to(dtype).contiguous(memory_format=memory_format)
    wanted = (x, layer.scale, layer.bias)
    plain = layer.scale.double() * x.double() + layer.bias.double()
    expected = [plain, *torch.autograd.grad(plain, wanted, grad.double())]
    found = layer(x)
    assert found.dtype == dtype and found.is_contiguous(memory_format=memory_format)
    bound = {torch.float64: 1e-12, torch.float32: 1e-6, torch.bfloat16: 2**-8}[dtype]
    for own, other in zip([found, *torch.autograd.grad(found, wanted, grad)], expected, strict=True):
        assert own.shape == other.shape and (own - other).abs().max() <= bound * other.abs().max()
    with torch.no_grad():
        again = layer(x)
    assert (
        torch.equal(again, found)
        if dtype == torch.bfloat16
        else (again - plain).abs().max() <= bound * plain.abs().max()
    )


def count(**arguments) -> int:
    with without_memory():
        return sum(param.numel() for param in HGNetV2(**arguments).parameters())


@pytest.mark.parametrize(
    'arguments, expected',
    [
        (dict(arch='B0', lab=True), 1_850_396),  # D-FINE N and S
        (dict(arch='B2', lab=True), 6_026_626),  # M
        (dict(arch='B4', norm='frozen'), 13_507_680),  # L
        (dict(arch='B5', norm='frozen'), 33_231_840),  # X
        (dict(arch='B4'), 13_507_680 + 45_696),  # DEIM-L trains the normalisation, DEIM-X too
        (dict(arch='B5'), 33_231_840 + 93_920),
    ],
)
def test_parameters_are_those_of_d_fines_sizes(arguments, expected):
    assert count(**arguments) == expected


@pytest.mark.parametrize('arch, expected', [('B0', 6.00), ('B1', 6.34), ('B2', 11.22), ('B3', 16.29), ('B4', 19.80)])
def test_with_a_classifier_parameters_are_the_published_ones(arch, expected):
    """The classifiers of PaddleClas have a convolution to 2048 channels and a linear layer to 1000 classes."""
    with without_memory():
        backbone = HGNetV2(arch, lab=arch < 'B3')
    total = sum(param.numel() for param in backbone.parameters())
    total += backbone.out_channels[-1] * 2048 + 2048 * 1000 + 1000
    assert total / 1e6 == pytest.approx(expected, abs=0.006)


@pytest.mark.parametrize('out_indices', [(0,), (0, 1), (1, 3), (2, 3, 4)])
def test_returns_what_its_attributes_say(out_indices):
    backbone = HGNetV2(out_indices=out_indices, in_channels=1).eval()
    feats = backbone(torch.rand(1, 1, 65, 96))
    assert [tuple(f.shape) for f in feats] == [
        (1, c, -(-65 // s), 96 // s) for c, s in zip(backbone.out_channels, backbone.out_strides, strict=True)
    ]
    assert len(backbone.stages) == out_indices[-1]


def test_frozen_parts_neither_train_nor_count():
    torch.manual_seed(0)
    backbone = HGNetV2(lab=True, frozen_stages=0).train()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    sum(f.square().mean() for f in backbone(torch.rand(2, 3, 64, 64))).backward()
    assert all((param.grad is None) == name.startswith('stem.') for name, param in backbone.named_parameters())
    changed = {name.split('.')[0] for name, value in backbone.state_dict().items() if not value.equal(before[name])}
    assert changed == {'stages'}  # running statistics


def test_frozen_normalisation_has_no_parameters():
    backbone = HGNetV2(norm='frozen')
    assert not any('.bn.' in name for name, _ in backbone.named_parameters())
    assert any(isinstance(module, FrozenBatchNorm2d) for module in backbone.modules())


@pytest.mark.parametrize('norm', ['bn', 'frozen'])
def test_weights_of_d_fines_backbone_or_detector_load(tmp_path, norm):
    torch.manual_seed(1)
    other = {
        name: torch.randn_like(value) if value.is_floating_point() else value
        for name, value in HGNetV2(lab=True).state_dict().items()
    }
    assert {'stem.stem2a.conv.weight', 'stages.0.blocks.0.layers.2.lab.scale', 'stages.3.downsample.bn.bias'} < set(
        other
    )
    assert (
        'stages.2.blocks.1.aggregation.1.conv.weight' in other and 'stages.2.blocks.0.layers.0.conv2.lab.bias' in other
    )
    contents = (
        other,
        {'model': {f'backbone.{name}': value for name, value in other.items()} | {'decoder.x': torch.ones(1)}},
    )
    for content in contents:
        torch.save(content, tmp_path / 'w.pth')
        backbone = HGNetV2(lab=True, norm=norm, weights=str(tmp_path / 'w.pth'))
        backbone.init_weights()
        for name, value in backbone.state_dict().items():
            assert torch.equal(value, other[name]), name
    with pytest.raises(CheckpointError, match='another shape of .* tensors of HGNetV2'):
        HGNetV2('B2', out_indices=(0,), lab=True, weights=str(tmp_path / 'w.pth')).init_weights()


@pytest.mark.parametrize(
    'arguments, text',
    [
        (dict(arch='B9'), "arch is 'B9'; it must be one of B0, B1"),
        (dict(norm='gn'), "HGNetV2: norm is 'gn'"),
        (dict(out_indices=(3, 2)), 'HGNetV2: out_indices'),
        (dict(out_indices=(1, 2), frozen_stages=3), 'HGNetV2: frozen_stages is 3'),
    ],
)
def test_wrong_arguments_are_named(arguments, text):
    with pytest.raises(ConfigError, match=text):
        HGNetV2(**arguments)
