"""The detector's glue, and the key table that names its parameters for ultralytics' weights."""

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten
from yolov8_models import SIZES, build_yolov8, yolov8_config

from detkit.converters.ultralytics_keys import YOLOV8_KEYS
from detkit.models.layers import fuse_conv_bn
from detkit.registry import DETECTORS, HEADS
from detkit.structures.data_sample import DetDataSample
from detkit.structures.gt_batch import GtBatch
from detkit.utils.errors import ConfigError


@HEADS.register_module(force=True)
class EchoHead(nn.Module):
    """Returns what it is given, so that the glue can be seen."""

    def __init__(self, in_channels, strides):
        super().__init__()
        self.in_channels, self.strides = in_channels, strides

    def forward(self, feats, padding_mask=None):
        return dict(feats=list(feats))

    def loss(self, preds, gt):
        return dict(loss_echo=sum(f.mean() for f in preds['feats']) * len(gt.labels))

    def predict(self, preds, metas):
        return [DetDataSample(metainfo=meta) for meta in metas]


def echo_detector(neck=None, **kwargs):
    backbone = dict(type='CSPDarknet', deepen_factor=0.33, widen_factor=0.125)
    return DETECTORS.build(
        dict(type='SingleStageDetector', backbone=backbone, neck=neck, head=dict(type='EchoHead'), **kwargs)
    )


def empty_gt(batch_size: int) -> GtBatch:
    return GtBatch(
        labels=torch.zeros(batch_size, 0, dtype=torch.int64),
        bboxes=torch.zeros(batch_size, 0, 4),
        valid=torch.zeros(batch_size, 0, dtype=torch.bool),
        flat_index=torch.zeros(0, dtype=torch.int64),
        img_shapes=torch.full((batch_size, 2), 64),
        masks=torch.zeros(batch_size, 16, 16, dtype=torch.uint8),
    )


@pytest.mark.parametrize('neck', [None, [], dict(type='SPP'), [dict(type='SPP'), dict(type='PAN')]])
def test_neck_may_be_absent_one_or_several(neck):
    model = echo_detector(neck)
    assert model.head.in_channels == (32, 64, 128)
    assert model.head.strides == (8, 16, 32)
    assert (model.neck is None) == (not neck)
    feats = model(torch.rand(2, 3, 64, 64))['feats']
    assert [f.shape for f in feats] == [(2, 32, 8, 8), (2, 64, 4, 4), (2, 128, 2, 2)]


BACKBONES = {
    'csp_darknet': dict(type='CSPDarknet', deepen_factor=0.33, widen_factor=0.125),
    'csp_darknet_two_maps': dict(type='CSPDarknet', deepen_factor=0.33, widen_factor=0.125, out_indices=(3, 4)),
    'csp_darknet_four_maps': dict(type='CSPDarknet', deepen_factor=0.33, widen_factor=0.125, out_indices=(1, 2, 3, 4)),
}
NECKS = {'none': None, 'spp': dict(type='SPP'), 'pan': dict(type='PAN'), 'both': [dict(type='SPP'), dict(type='PAN')]}


@pytest.mark.parametrize('head', ['YOLOv8Head', 'YOLOv8SegmentHead'])
@pytest.mark.parametrize('neck', NECKS)
@pytest.mark.parametrize('backbone', BACKBONES)
def test_anything_fits_anything(backbone, neck, head):
    model = DETECTORS.build(
        dict(
            type='SingleStageDetector',
            backbone=BACKBONES[backbone],
            neck=NECKS[neck],
            head=dict(type=head, num_classes=2),
        )
    )
    preds = model(torch.rand(2, 3, 64, 64))
    strides = model.backbone.out_strides
    assert [level.shape for level in preds['cls_logits']] == [(2, 2, 64 // s, 64 // s) for s in strides]


def test_errors_name_the_part_of_the_neck():
    with pytest.raises(ConfigError, match=r"neck\[1\] 'PAN': in_channels is \(1, 2, 3\), but neck\[0\] 'SPP'"):
        echo_detector([dict(type='SPP'), dict(type='PAN', in_channels=(1, 2, 3))])
    with pytest.raises(ConfigError, match=r"neck 'PAN': in_channels"):
        echo_detector(dict(type='PAN', in_channels=(1, 2, 3)))


def test_modes():
    model = echo_detector()
    x = torch.rand(2, 3, 64, 64)
    losses = model(x, gt=empty_gt(2), mode='loss')
    assert list(losses) == ['loss_echo']
    total, logged = model.parse_losses(losses)
    assert total.requires_grad and list(logged) == ['loss', 'loss_echo']
    with pytest.raises(ValueError, match="not 'tensors'"):
        model(x, mode='tensors')


def test_predict_carries_ground_truth_over():
    samples = [DetDataSample(metainfo=dict(img_id=7)), DetDataSample(metainfo=dict(img_id=8))]
    samples[1].gt_instances = InstanceData(labels=torch.tensor([3]))
    results = echo_detector()(torch.rand(2, 3, 64, 64), data_samples=samples, mode='predict')
    assert [r.img_id for r in results] == [7, 8]
    assert 'gt_instances' not in results[0]
    assert results[1].gt_instances.labels.tolist() == [3]


def test_weights_follow_the_preprocessors_layout():
    def layouts(model):
        return {p.is_contiguous(memory_format=torch.channels_last) for p in model.parameters() if p.shape[2:] == (3, 3)}

    assert layouts(echo_detector()) == {True}
    assert layouts(echo_detector(data_preprocessor=dict(type='DetDataPreprocessor', channels_last=False))) == {False}


def test_the_step_of_mmengines_model():
    """Data preprocessor, loss and gradients through the names that a runner uses."""
    model = build_yolov8('seg', num_classes=2)
    batch = dict(inputs=torch.zeros(2, 3, 64, 64, dtype=torch.uint8), gt=empty_gt(2), data_samples=None, skipped=[])
    data = model.data_preprocessor(batch, training=True)
    losses = model(**data, mode='loss')
    assert list(losses) == ['loss_box', 'loss_seg', 'loss_cls', 'loss_dfl']
    model.parse_losses(losses)[0].backward()
    # Without an object only the class branches learn; everything behind them takes part.
    grads = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert any(name.startswith('backbone.stem') for name in grads)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_predictions_are_in_original_pixels():
    model = build_yolov8('seg', num_classes=2).eval()
    nn.init.constant_(model.head.cls_branches[0][-1].bias, 3.0)
    matrix = np.array([[0.5, 0, 4], [0, 0.5, 8], [0, 0, 1]])  # 100 x 96 picture, halved, padded to 64 x 64
    meta = dict(img_path='a.jpg', img_id=1, ori_shape=(96, 100), img_shape=(64, 64), matrix=matrix)
    data = dict(
        inputs=torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8),
        gt=None,
        data_samples=[DetDataSample(metainfo=meta)],
    )
    with torch.no_grad():
        (result,) = model.val_step(data)
    bboxes = result.pred_instances.bboxes
    assert 0 < len(bboxes) == len(result.pred_instances.masks)
    assert bboxes.min() >= 0
    assert bboxes[:, 0::2].max() <= 100 and bboxes[:, 1::2].max() <= 96


class WideTensors(TorchDispatchMode):
    """Notes the layout and type of every feature map that the network's operations take or give."""

    OPERATIONS = ('convolution', 'batch_norm', 'silu', 'cat', 'max_pool2d', 'upsample_nearest2d')

    def __init__(self):
        super().__init__()
        self.seen, self.strays = set(), []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        name = function.__name__
        operation = next((o for o in self.OPERATIONS if o in name), None)
        if operation is not None:
            self.seen.add(operation + ('_backward' if 'backward' in name else ''))
            for tensor in tree_flatten((args, result))[0]:
                if isinstance(tensor, torch.Tensor) and tensor.dim() == 4 and tensor.is_floating_point():
                    if tensor.dtype != torch.bfloat16 or (tensor.stride(1) != 1 and min(tensor.shape[1:]) > 1):
                        self.strays.append((name, tuple(tensor.shape), tensor.dtype, tensor.stride()))
        return result


def test_mixed_precision_keeps_type_and_layout_throughout():
    """No operation of a training step falls back to float32 or changes the memory layout on the way."""
    model = build_yolov8('seg', num_classes=4)
    gt = empty_gt(2)
    gt.labels, gt.valid = torch.zeros(2, 1, dtype=torch.int64), torch.ones(2, 1, dtype=torch.bool)
    gt.bboxes, gt.flat_index = torch.tensor([[[8.0, 8, 56, 48]]]).repeat(2, 1, 1), torch.arange(2)
    batch = dict(inputs=torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8), gt=gt)
    data = model.data_preprocessor(batch, training=True)
    with WideTensors() as noted:
        with torch.autocast('cpu', torch.bfloat16):
            losses = model(**data, mode='loss')
        sum(losses.values()).backward()
    assert {'convolution', 'convolution_backward', 'silu_backward', 'cat', 'max_pool2d_backward'} <= noted.seen
    assert noted.strays == []


def test_fused_detector_gives_the_same_outputs():
    torch.manual_seed(0)
    model = build_yolov8('seg').double()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2)
    model.eval()
    x = torch.rand(1, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        expected = model(x)
        found = fuse_conv_bn(model)(x)
    for name, value in expected.items():
        for a, b in zip(found[name], value, strict=True):  # levels of a list, or images of the prototypes
            torch.testing.assert_close(a, b, rtol=0, atol=1e-10 * b.abs().max().item())


def test_the_config_builds_with_the_names_given():
    cfg = yolov8_config('seg', 's', 7)
    assert [part.type for part in cfg.neck] == ['SPP', 'PAN']
    assert cfg.head.type == 'YOLOv8SegmentHead'
    assert 'loss_mask' not in yolov8_config('det').head


@pytest.mark.parametrize('size', ['n', 'm', 'x'])
def test_key_table_is_one_to_one(size):
    assert size in SIZES
    names = build_yolov8('seg', size, device='meta').state_dict().keys()
    theirs = [YOLOV8_KEYS['seg'].to_theirs(name) for name in names]
    assert len(set(theirs)) == len(names)
    assert [YOLOV8_KEYS['seg'].to_detkit(name) for name in theirs] == list(names)


def test_key_table_drops_the_integral_and_refuses_strangers():
    weight = torch.zeros(1)
    assert YOLOV8_KEYS['seg'].convert({'model.22.dfl.conv.weight': weight, 'model.9.cv1.bn.bias': weight}) == {
        'neck.0.in_conv.bn.bias': weight
    }
    with pytest.raises(KeyError, match='model.23'):
        YOLOV8_KEYS['seg'].to_detkit('model.23.conv.weight')
