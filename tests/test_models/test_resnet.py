"""ResNet: torchvision's networks as a backbone, their weights, what is frozen."""

from pathlib import Path

import pytest
import torch
import torchvision
from mmengine.config import Config
from torch import nn
from torchvision.models import ResNet18_Weights, resnet18, resnet34, resnet50, resnet101
from torchvision.ops import FrozenBatchNorm2d as TorchvisionFrozenBatchNorm2d

from detkit.engine.finetune import freeze_modules
from detkit.models.backbones import ResNet
from detkit.models.backbones.pretrained import _FILES, _SHA256, fetch_weights, find_weights
from detkit.models.layers import FrozenBatchNorm2d, fuse_conv_bn
from detkit.registry import DETECTORS
from detkit.utils import download
from detkit.utils.download import DownloadError
from detkit.utils.errors import CheckpointError, ConfigError
from detkit.utils.without_memory import without_memory

BUILDERS = {18: resnet18, 34: resnet34, 50: resnet50, 101: resnet101}


def randomise_statistics(model: nn.Module) -> None:
    for module in model.modules():
        if hasattr(module, 'running_mean'):
            nn.init.uniform_(module.weight, 0.5, 1.0)
            nn.init.normal_(module.bias, std=0.1)
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2)


def stages_of(reference: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """What a backbone with all ``out_indices`` must return."""
    outputs = [reference.relu(reference.bn1(reference.conv1(x)))]
    x = reference.maxpool(outputs[0])
    for name in ('layer1', 'layer2', 'layer3', 'layer4'):
        x = getattr(reference, name)(x)
        outputs.append(x)
    return outputs


@pytest.fixture(scope='module')
def reference() -> nn.Module:
    torch.manual_seed(0)
    model = resnet18()
    randomise_statistics(model)
    return model.eval()


@pytest.fixture(scope='module')
def file(reference, tmp_path_factory):
    path = tmp_path_factory.mktemp('weights') / 'r18.pth'
    torch.save(reference.state_dict(), path)
    return path


@pytest.mark.parametrize('depth', BUILDERS)
def test_names_and_shapes_are_torchvisions(depth):
    with without_memory():
        expected = {
            name: value.shape for name, value in BUILDERS[depth]().state_dict().items() if not name.startswith('fc.')
        }
        found = {name: value.shape for name, value in ResNet(depth).state_dict().items()}
    assert found == expected


@pytest.mark.default_cases(1)
@pytest.mark.parametrize('depth', BUILDERS)
def test_a_seed_gives_torchvisions_initial_weights(depth):
    torch.manual_seed(3)
    expected = BUILDERS[depth](num_classes=1).state_dict()
    torch.manual_seed(3)
    found = ResNet(depth, norm='bn').state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in found.items())


def test_trainable_parameters_of_detr():
    """Stem and first stage are what the two published counts of DETR R50 differ by."""
    with without_memory():
        backbone = ResNet(50, out_indices=(4,), norm='frozen', frozen_stages=1)
        count = sum(param.numel() for param in backbone.parameters() if param.requires_grad)
        everything = sum(param.numel() for param in backbone.parameters())
    assert everything - count == 41_524_768 - 41_302_368
    assert count == 23_232_512


@pytest.mark.parametrize('norm', ['bn', 'frozen', 'sync'])
def test_outputs_are_torchvisions(reference, file, norm):
    backbone = ResNet(18, out_indices=(0, 1, 2, 3, 4), norm=norm, weights=str(file))
    backbone.init_weights()
    x = torch.rand(2, 3, 65, 96)
    with torch.no_grad():
        feats, expected = backbone.eval()(x), stages_of(reference, x)
    for feat, value, channels, stride in zip(feats, expected, backbone.out_channels, backbone.out_strides, strict=True):
        torch.testing.assert_close(feat, value, rtol=1e-4, atol=1e-5)
        assert feat.shape == (2, channels, -(-65 // stride), -(-96 // stride))


@pytest.mark.parametrize('out_indices', [(0,), (1, 3), (2, 3, 4)])
def test_returns_what_its_attributes_say(out_indices):
    backbone = ResNet(18, out_indices=out_indices).eval()
    feats = backbone(torch.rand(1, 3, 64, 32))
    assert [f.shape for f in feats] == [
        (1, c, 64 // s, 32 // s) for c, s in zip(backbone.out_channels, backbone.out_strides, strict=True)
    ]
    assert hasattr(backbone, 'layer1') == (out_indices[-1] > 0) and hasattr(backbone, 'layer4') == (4 in out_indices)


@pytest.mark.parametrize('depth, count', [(18, 11_199_968), (34, 21_308_128), (50, 23_527_264), (101, 42_519_392)])
def test_variant_d_has_the_parameters_of_rt_detrs_backbones(depth, count):
    with without_memory():
        assert sum(param.numel() for param in ResNet(depth, variant='d').parameters()) == count


def test_variant_d_pools_its_shortcuts_and_names_its_modules_as_timm():
    backbone = ResNet(50, variant='d', dilate_last=True)
    names = backbone.state_dict()
    shapes = {name: tuple(names[name].shape) for name in ('conv1.0.weight', 'conv1.3.weight', 'conv1.6.weight')}
    assert list(shapes.values()) == [(32, 3, 3, 3), (32, 32, 3, 3), (64, 32, 3, 3)]
    assert {'conv1.1.bias', 'conv1.4.bias', 'bn1.bias', 'layer1.0.downsample.1.weight'} < set(names)
    pools = [type(backbone.get_submodule(f'layer{i}.0.downsample.0')).__name__ for i in range(1, 5)]
    assert pools == ['Identity', 'AvgPool2d', 'AvgPool2d', 'Identity']  # the last stage is dilated instead
    assert [f.shape[-1] for f in backbone.eval()(torch.rand(1, 3, 65, 65))] == [9, 5, 5]


def test_dilated_last_stage_keeps_the_size_and_the_weights():
    torch.manual_seed(0)
    plain, dilated = ResNet(50, (3, 4)), ResNet(50, (3, 4), dilate_last=True)
    dilated.load_state_dict(plain.state_dict())
    x = torch.rand(1, 3, 64, 64)
    feats = dilated.eval()(x)
    assert dilated.out_strides == (16, 16) and dilated.out_channels == (1024, 2048)
    assert [f.shape[-2:] for f in feats] == [(4, 4), (4, 4)]
    assert torch.equal(feats[0], plain.eval()(x)[0])
    assert [block.conv2.dilation for block in dilated.layer4] == [(1, 1), (2, 2), (2, 2)]


def test_frozen_norm_is_torchvisions_and_keeps_the_format():
    torch.manual_seed(0)
    ours, theirs = FrozenBatchNorm2d(6).double(), TorchvisionFrozenBatchNorm2d(6).double()
    randomise_statistics(theirs)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 6, 5, 4, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x))
    assert ours.float()(x.bfloat16()).dtype is torch.bfloat16
    assert not list(ours.parameters())


def test_frozen_parts_neither_train_nor_count():
    torch.manual_seed(0)
    backbone = ResNet(18, norm='bn', frozen_stages=1).train()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    loss = sum(f.square().mean() for f in backbone(torch.rand(2, 3, 64, 64)))
    loss.backward()
    assert {name.split('.')[0] for name, param in backbone.named_parameters() if param.grad is not None} == {
        'layer2',
        'layer3',
        'layer4',
    }
    changed = {
        name.split('.')[0] for name, value in backbone.state_dict().items() if not torch.equal(value, before[name])
    }
    assert changed == {'layer2', 'layer3', 'layer4'}  # running statistics
    assert backbone.layer2[0].bn1.training and not backbone.layer1[0].bn1.training


@pytest.mark.parametrize('freeze, frozen', [(1, {'conv1', 'bn1'}), (2, {'conv1', 'bn1', 'layer1'})])
def test_the_training_loops_freeze_counts_its_stages(freeze, frozen):
    model = nn.Module()
    model.backbone = ResNet(18, norm='bn')
    freeze_modules(model, freeze)
    found = {name.split('.')[1] for name, param in model.named_parameters() if not param.requires_grad}
    assert found == frozen


@pytest.mark.parametrize('norm', ['bn', 'frozen'])
def test_fused_network_gives_the_same_outputs(norm):
    torch.manual_seed(0)
    backbone = ResNet(50, norm=norm).double()
    randomise_statistics(backbone)
    backbone.eval()
    x = torch.rand(1, 3, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        expected = backbone(x)
        fused = fuse_conv_bn(backbone)
        assert not any(hasattr(module, 'running_mean') for module in fused.modules())
        for a, b in zip(fused(x), expected, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-10 * b.abs().max().item())


@pytest.mark.parametrize(
    'arguments, text',
    [
        (dict(depth=51), 'depth is 51'),
        (dict(norm='gn'), "norm is 'gn'"),
        (dict(variant='vd'), "variant is 'vd'"),
        (dict(variant='d', weights='DEFAULT'), "torchvision has no weights of variant 'd'"),
        (dict(out_indices=(3, 2)), 'must ascend'),
        (dict(out_indices=()), 'must ascend'),
        (dict(out_indices=(1, 2), frozen_stages=3), 'frozen_stages is 3'),
        (dict(depth=18, dilate_last=True), 'needs depth 50'),
        (dict(weights='ResNet18_Weights.IMAGENET1K_V1'), 'neither a path'),
        (dict(weights='IMAGENET1K_V3'), "Did you mean 'IMAGENET1K_V"),
    ],
)
def test_wrong_arguments_are_named(arguments, text):
    with without_memory(), pytest.raises(ConfigError, match=text):
        ResNet(**arguments)


@pytest.mark.parametrize(
    'wrap',
    [
        lambda tensors: {'state_dict': {f'backbone.{name}': value for name, value in tensors.items()}},
        lambda tensors: {'model': {f'module.backbone.0.body.{name}': value for name, value in tensors.items()}},
        lambda tensors: {name: value for name, value in tensors.items() if 'num_batches' not in name},
    ],
    ids=['detkit', 'detr', 'first release'],
)
def test_weights_of_other_files(reference, tmp_path, wrap):
    torch.save(wrap(reference.state_dict()), tmp_path / 'w.pth')
    backbone = ResNet(18, weights=str(tmp_path / 'w.pth'))
    backbone.init_weights()
    expected = reference.state_dict()
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, expected[name]) or name.endswith('num_batches_tracked')


def test_weights_are_read_when_initialised_only(tmp_path):
    backbone = ResNet(18, weights=str(tmp_path / 'none.pth'))  # e.g. for a checkpoint, on another machine
    with pytest.raises(CheckpointError, match='none.pth do not exist'):
        backbone.init_weights()


def test_weights_that_do_not_fit(file, tmp_path):
    with pytest.raises(CheckpointError, match=r'lack .* tensors of ResNet .*another kind or depth'):
        ResNet(34, weights=str(file)).init_weights()
    with pytest.raises(CheckpointError, match='have another shape of'):
        ResNet(
            50,
            out_indices=(0,),
            weights=str(
                write(tmp_path, {**ResNet(50, out_indices=(0,)).state_dict(), 'conv1.weight': torch.zeros(64, 1, 7, 7)})
            ),
        ).init_weights()


@pytest.mark.parametrize('content', [b'', b'no checkpoint', [1, 2], {'epoch': 3}, Config()])
def test_files_without_weights(tmp_path, content):
    with pytest.raises(CheckpointError, match='cannot be read|hold no tensors'):
        ResNet(18, weights=str(write(tmp_path, content))).init_weights()


def write(folder, content):
    path = folder / 'w.pth'
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    return path


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    return tmp_path / 'hub' / 'checkpoints'


def test_weights_by_name_need_a_home_or_another_folder(monkeypatch):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: '~/.cache/torch/hub')  # as where HOME and the user are not known
    with pytest.raises(CheckpointError, match='Set TORCH_HOME to a folder'):
        fetch_weights(ResNet18_Weights.DEFAULT)


@pytest.mark.parametrize('name', ['IMAGENET1K_V1', 'DEFAULT', 'ResNet18_Weights.IMAGENET1K_V1'])
def test_weights_by_name_are_downloaded_once(hub, monkeypatch, reference, file, name):
    asked = []

    def fake(url, path, max_bytes, sha256):
        asked.append((url, sha256))
        path.write_bytes(file.read_bytes())

    monkeypatch.setattr(download, 'download', fake)
    monkeypatch.setattr(download, 'file_sha256', lambda path: asked[-1][1])  # as of the real file
    for _ in range(2):
        backbone = ResNet(18, weights=name)
        backbone.init_weights()
        assert torch.equal(backbone.conv1.weight, reference.conv1.weight)
    ((url, sha256),) = asked
    assert url == ResNet18_Weights.IMAGENET1K_V1.url and sha256.startswith('f37072fd') and len(sha256) == 64
    assert [path.name for path in hub.iterdir()] == ['resnet18-f37072fd.pth']


@pytest.mark.parametrize('depth', [18, 34, 50, 101, 152])
def test_checksums_are_those_of_torchvisions_names(depth):
    """Files whose whole checksum is not known are held to the digits in their names."""
    for weights in getattr(torchvision.models, f'ResNet{depth}_Weights'):
        digits = Path(weights.url).stem.rpartition('-')[2]
        assert len(digits) == 8 and (digits in _SHA256 or weights.url.endswith('resnet152-f82ba261.pth'))


@pytest.mark.parametrize('family', _FILES)
def test_weights_by_name_are_torchvisions(family):
    theirs = getattr(torchvision.models, family)
    assert set(_FILES[family]) | {'DEFAULT'} == set(theirs.__members__)
    for name, weights in theirs.__members__.items():
        assert find_weights(name, family) == (str(weights), weights.url)
        assert str(find_weights(f'{family}.{name}', family)) == str(weights)


def test_offline_the_remedy_is_named(hub, monkeypatch):
    def fake(url, path, max_bytes, sha256):
        path.write_bytes(b'half')
        raise DownloadError('nothing came for 9 s')

    monkeypatch.setattr(download, 'download', fake)
    with pytest.raises(CheckpointError) as caught:
        ResNet(18, weights='DEFAULT').init_weights()
    for part in (ResNet18_Weights.DEFAULT.url, str(hub / 'resnet18-f37072fd.pth'), 'nothing came', 'weights=None'):
        assert part in str(caught.value)
    assert not list(hub.iterdir())


def test_a_detector_is_wired_from_it(repo):
    model = DETECTORS.build(
        dict(
            type='SingleStageDetector',
            backbone=dict(type='ResNet', depth=18),
            neck=[dict(type='SPP'), dict(type='PAN', deepen_factor=0.33)],
            head=Config.fromfile(repo / 'configs/_base_/models/yolov8_det.py').model.head | dict(num_classes=2),
        )
    )
    assert [f.shape[-1] for f in model.eval()(torch.rand(1, 3, 64, 64))['cls_logits']] == [8, 4, 2]
