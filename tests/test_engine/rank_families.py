"""A step of every family in float64, which one process or several make of the same global batch."""

from __future__ import annotations

from dataclasses import fields, replace
from functools import partial
from typing import Any, NamedTuple

import torch
from mmengine.dist import all_reduce, get_rank, get_world_size
from mmengine.model import MMDistributedDataParallel
from test_models.detr_models import small_head
from test_models.gt_batches import make_gt
from torch import Tensor, nn

from detkit.engine import AccumulatingOptimWrapper
from detkit.engine.training_state import unwrap
from detkit.models.layers import synchronise_batch_norm
from detkit.models.layers.keyed_dropout import keyed_dropout
from detkit.registry import DETECTORS
from detkit.structures.gt_batch import GtBatch

SIZE, NUM_CLASSES = 64, 3
# Objects of each image of two batches: three processes have one without any, and each has another number.
COUNTS = ([3, 0, 1, 2, 0, 0], [0, 0, 4, 1, 1, 2])
_BACKBONE = dict(type='CSPDarknet', deepen_factor=0.1, widen_factor=0.0625)
_PAN = [dict(type='SPP'), dict(type='PAN', deepen_factor=0.1)]
# Few layers of normalisation, which several processes make together; the other backbones are in one family each.
_SHALLOW = dict(type='Darknet', depth='tiny', widen_factor=0.0625, out_indices=(3, 4, 5))
_ANCHORS = [[(8, 8), (16, 12)], [(24, 30), (40, 20)], [(40, 50), (60, 60)]]
_V5 = dict(_BACKBONE, stem_kernel_size=6, stage_blocks=(3, 6, 9, 3), block=dict(type='C3', shortcut=True))


class Family(NamedTuple):
    """The config of a small model, and how its recipe combines the processes."""

    model: dict[str, Any]
    reduction: str = 'sum'


def _dense(head: str, backbone: dict = _SHALLOW, neck: Any = None, **options: Any) -> Family:
    return Family(dict(type='SingleStageDetector', backbone=backbone, neck=neck, head=dict(type=head, **options)))


def _classifier(backbone: dict, neck: Any = None, **head: Any) -> Family:
    backbone = {**backbone, 'out_indices': backbone.get('out_indices', (4,))[-1:]}
    return Family(dict(type='ImageClassifier', backbone=backbone, neck=neck, head=head), 'mean')


def _detr(backbone: dict, **head: Any) -> Family:
    return Family(dict(type='DETR', backbone=backbone, head={**small_head(NUM_CLASSES, dropout=0.2), **head}), 'mean')


def _rfdetr(**head: Any) -> Family:
    backbone = dict(type='WindowedViT', embed_dims=16, depth=2, num_heads=2, global_blocks=(1,), out_indices=(1, 2))
    decoder = dict(type='LiteDecoder', embed_dims=16, num_heads=2, cross_heads=4, num_layers=2, feedforward_dims=16)
    return Family(
        dict(
            type='SingleStageDetector',
            backbone=backbone,
            neck=dict(type='MultiScaleProjector', out_channels=16, out_strides=(8, 16), num_blocks=1),
            head=dict(num_queries=8, num_groups=3, decoder=decoder, **head),
        ),
        'mean',
    )


def _queries(head: str, decoder: str, **options: Any) -> Family:
    layers = dict(type=decoder, embed_dims=16, num_heads=2, num_layers=2, feedforward_dims=16)
    return _dense(head, num_queries=8, num_denoising=6, decoder=layers, **options)._replace(reduction='mean')


_WIDER = {**small_head(dropout=0.2)['transformer'], 'embed_dims': 64, 'num_heads': 8}  # as masks need it

FAMILIES = {
    'yolov8_det': _dense('YOLOv8Head', _BACKBONE, _PAN),
    'yolov8_seg': _dense('YOLOv8SegmentHead', num_protos=4),
    'yolov8_pose': _dense('YOLOv8PoseHead', keypoint_shape=(3, 3)),
    'yolov8_obb': _dense('YOLOv8OBBHead'),
    'yolo26_seg': _dense('YOLO26SegmentHead', num_protos=4),
    'yolov8_cls': _classifier(_SHALLOW, type='YOLOv8ClassifyHead', dropout=0.3),
    'yolov5_det': _dense('YOLOv5Head', _V5, _PAN, anchors=_ANCHORS),
    'yolox_det': _dense('YOLOXHead', loss_l1=dict(type='L1Loss'))._replace(reduction='mean'),
    'yolov5_cls': _classifier(_V5, dict(type='SPP'), type='MLPClassifyHead', pool_size=2, dropout=0.3),
    'yolov3_det': _dense(
        'YOLOv3Head',
        dict(type='Darknet', widen_factor=0.03125),
        dict(type='YOLOv3Neck'),
        anchors=_ANCHORS,
        nominal_batch_size=64,
        loss_obj=dict(type='BinaryFocalLoss', loss_weight=64.3),
    ),
    'detr': _detr(dict(type='ResNet', depth=18, out_indices=(1, 2), norm='frozen')),
    'detr_seg': _detr(_BACKBONE, type='DETRSegmentHead', transformer=_WIDER),
    'rtdetr_obb': _queries('RTDETROBBHead', 'DeformableDecoder'),
    'dfine_seg': _queries('DFINESegmentHead', 'DistributionDecoder'),
    'rfdetr': _rfdetr(type='RFDETRHead'),
    'rfdetr_seg': _rfdetr(type='RFDETRSegmentHead'),
}


def families_of(ranks: int) -> tuple[str, ...]:
    """Return the families that several processes train: three all of them, two one of each reduction."""
    return tuple(FAMILIES) if ranks == 3 else ('yolov8_seg', 'yolov5_cls', 'rfdetr')


def build(name: str) -> nn.Module:
    """Return a family's model with the same weights everywhere."""
    config = FAMILIES[name].model
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = DETECTORS.build({**config, 'head': {**config['head'], 'num_classes': NUM_CLASSES}}).double()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, std=0.1)
    return model.train()


def global_batch(number: int) -> tuple[Tensor, GtBatch]:
    """Return the images ``(6, 3, SIZE, SIZE)`` of a step, and all ground truth that any head may ask for."""
    gt = make_gt(COUNTS[number], SIZE, NUM_CLASSES, seed=number)
    generator = torch.Generator().manual_seed(number)
    rand = partial(torch.rand, generator=generator)
    centres, sides = (gt.bboxes[..., :2] + gt.bboxes[..., 2:]) / 2, gt.bboxes[..., 2:] - gt.bboxes[..., :2]
    offsets = (rand(*gt.labels.shape, 3, 2) - 0.5) * sides.unsqueeze(2)
    visible = (rand(*gt.labels.shape, 3, 1) > 0.3).float() * 2
    gt = replace(
        gt,
        keypoints=torch.cat([centres.unsqueeze(2) + offsets, visible], -1),
        rbboxes=torch.cat([centres, sides, rand(*gt.labels.shape, 1) - 0.5], -1),
        class_labels=torch.arange(len(gt.labels)) % NUM_CLASSES,
    )
    return torch.rand(len(gt.labels), 3, SIZE, SIZE, generator=generator, dtype=torch.float64), gt


def share_of(inputs: Tensor, gt: GtBatch, rank: int, ranks: int) -> tuple[Tensor, GtBatch]:
    """Return the images of one process, padded to its own largest number of objects."""
    size = len(inputs) // ranks
    rows = slice(rank * size, (rank + 1) * size)
    most = int(gt.valid[rows].sum(1).max())
    values = {
        field.name: getattr(gt, field.name)[rows] for field in fields(gt) if field.name not in ('flat_index', 'values')
    }
    padded = ('labels', 'bboxes', 'valid', 'keypoints', 'rbboxes')
    values = {name: value[:, :most] if name in padded else value for name, value in values.items()}
    return inputs[rows], GtBatch(**values, flat_index=values['valid'].flatten().nonzero().squeeze(1))


def train(name: str) -> dict[str, dict[str, Tensor]]:
    """Make a step of two accumulated batches, and return what came of it: the same in all processes, if all is right.

    Returns:
        ``losses``, means over the processes; ``gradients`` of the step; ``state`` after it, weights and buffers.
    """
    model, ranks = build(name), get_world_size()
    if ranks > 1:
        synchronise_batch_norm(model)
        model = MMDistributedDataParallel(model, gradient_as_bucket_view=True)
    optimizer = torch.optim.SGD([param for param in model.parameters() if param.requires_grad], 1e-3, momentum=0.9)
    wrapper = AccumulatingOptimWrapper(
        optimizer, accumulate=2, amp=False, clip_grad_norm=None, reduction=FAMILIES[name].reduction
    )
    losses = {}
    for number in range(2):
        inputs, gt = share_of(*global_batch(number), get_rank(), ranks)
        with wrapper.optim_context(model), keyed_dropout(0, number, get_rank() * len(inputs)):
            found = model(inputs=inputs, gt=gt, mode='loss')
        wrapper.update_params(unwrap(model).parse_losses(found)[0])
        divisor = unwrap(model).head.loss_divisor(len(inputs))
        for loss, value in found.items():
            mean = value.detach().double() / (divisor if 'loss' in loss else 1)
            all_reduce(mean, 'mean')
            losses[f'{loss} {number}'] = mean
    assert wrapper.num_steps == 1
    names = {param: each for each, param in unwrap(model).named_parameters()}
    gradients = {names[param]: state['momentum_buffer'] for param, state in optimizer.state.items()}
    return {'losses': losses, 'gradients': gradients, 'state': dict(unwrap(model).state_dict())}


def differences(found: dict[str, dict[str, Tensor]], expected: dict[str, dict[str, Tensor]]) -> dict[str, float]:
    """Return the largest difference of each kind of value, relative to the largest value of its tensor.

    Gradients that are 0 but for rounding, such as those of the biases of attention's keys, count relative to a
    billionth of the largest gradient.
    """
    result = {}
    for kind, tensors in expected.items():
        assert found[kind].keys() == tensors.keys()
        floor = 1e-9 * max(float(tensor.abs().max()) for tensor in tensors.values())
        result[kind] = max(
            float((found[kind][name] - tensor).abs().max()) / max(float(tensor.abs().max()), floor)
            for name, tensor in tensors.items()
        )
    return result
