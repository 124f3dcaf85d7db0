"""Detectors of torchvision and of detkit with one set of weights, and a batch for both, in float64."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, reduce
from operator import getitem

import numpy as np
import torch
from builders import model_config
from torch import Tensor, nn
from torchvision.models import detection, resnet18
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead, FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.keypoint_rcnn import KeypointRCNNHeads, KeypointRCNNPredictor
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import FrozenBatchNorm2d
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from detkit.converters.torchvision_keys import TORCHVISION_KEYS
from detkit.registry import DETECTORS
from detkit.structures.data_sample import DetDataSample
from detkit.structures.gt_batch import GtBatch
from detkit.utils.without_memory import without_initial_values

SIZE = (64, 96)  # (h, w); the coarsest maps do not divide it
IMG_SHAPES = ((64, 96), (56, 80))
NUM_CLASSES = 5
WIDTH = 64  # of the layers behind the regions, where they are narrow


def seed_weights(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give a model weights with which it predicts something everywhere, neither vanishing nor exploding."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in model.state_dict().items():
        if not tensor.is_floating_point():
            continue
        if name.endswith(('running_var', 'bn1.weight', 'bn2.weight')) or tensor.dim() == 1 and 'weight' in name:
            tensor.copy_(torch.rand(tensor.shape, generator=generator) * 0.5 + 0.5)
        elif tensor.dim() > 1:
            fan_in = tensor[0].numel()
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * (1.2 / fan_in) ** 0.5)
        else:
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.1)
    return model


@without_initial_values()
def theirs(build: Callable[..., nn.Module], num_classes: int, **options) -> nn.Module:
    """Return torchvision's detector with seeded weights."""
    return seed_weights(build(weights=None, weights_backbone=None, num_classes=num_classes, **options)).double()


@without_initial_values()
def small(kind: str, num_classes: int, **options) -> nn.Module:
    """Return torchvision's detector of a kind on ResNet-18, for which it has no function of its own."""
    two_stage = kind.endswith('_rcnn')
    second = options.pop('second', False)
    body = resnet18()
    extra = None if two_stage else LastLevelP6P7(512 if second else 256, 256)
    norm = nn.BatchNorm2d if second and two_stage else None
    layers = [1, 2, 3, 4] if two_stage else [2, 3, 4]
    backbone = _resnet_fpn_extractor(body, 5, returned_layers=layers, extra_blocks=extra, norm_layer=norm)
    if kind == 'retinanet':
        model = detection.RetinaNet(backbone, num_classes, **options)
        if second:
            model.head = RetinaNetHead(256, 9, num_classes, norm_layer=partial(nn.GroupNorm, 32))
            model.head.regression_head._loss_type = 'giou'
    elif kind == 'fcos':
        model = detection.FCOS(backbone, num_classes, **options)
    else:
        model = small_two_stage(kind, backbone, num_classes, second, **options)
    return seed_weights(model).double()


def small_two_stage(kind: str, backbone: nn.Module, num_classes: int, second: bool, **options) -> nn.Module:
    """Return a two-stage detector with narrow layers behind the regions; ``num_classes`` counts background."""
    if second:
        heads = dict(
            rpn_head=RPNHead(256, 3, conv_depth=2),
            box_head=FastRCNNConvFCHead((256, 7, 7), [WIDTH] * 4, [WIDTH], nn.BatchNorm2d),
        )
    else:
        heads = dict(box_head=TwoMLPHead(256 * 7 * 7, WIDTH))
    heads |= dict(box_predictor=FastRCNNPredictor(WIDTH, num_classes))
    if kind == 'mask_rcnn':
        heads |= dict(
            mask_head=MaskRCNNHeads(256, [WIDTH] * 4, 1, nn.BatchNorm2d if second else None),
            mask_predictor=MaskRCNNPredictor(WIDTH, WIDTH, num_classes),
        )
    if kind == 'keypoint_rcnn':
        heads |= dict(
            keypoint_head=KeypointRCNNHeads(256, [WIDTH] * 8), keypoint_predictor=KeypointRCNNPredictor(WIDTH, 17)
        )
    kinds = dict(faster_rcnn=detection.FasterRCNN, mask_rcnn=detection.MaskRCNN, keypoint_rcnn=detection.KeypointRCNN)
    return kinds[kind](backbone, **heads, **options)


def compare_gradients(model: nn.Module, reference: nn.Module, family: str) -> None:
    """Check the gradient of every parameter of detkit's model, and that none is missing."""
    wanted = {TORCHVISION_KEYS[family].to_detkit(name): param.grad for name, param in reference.named_parameters()}
    found = {name: param.grad for name, param in model.named_parameters()}
    assert found.keys() == wanted.keys()
    for name, grad in found.items():
        assert (grad is None) == (wanted[name] is None), name
        if grad is not None:
            close(grad, wanted[name], what=name)


def frozen(model: nn.Module) -> nn.Module:
    """Freeze torchvision's normalisation as its weighted models have it."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                layer = FrozenBatchNorm2d(child.num_features, eps=child.eps).double()
                state = {key: value for key, value in child.state_dict().items() if 'num_batches' not in key}
                layer.load_state_dict(state)
                setattr(module, name, layer)
    return model


@without_initial_values()
def ours(base: str, family: str, model: nn.Module, num_classes: int, **variables) -> nn.Module:
    """Return detkit's detector of a base config with torchvision's weights.

    Options of the head have two underscores in place of dots: ``rpn_head__prior_sampler__num=64``.
    """
    options = {name: variables.pop(name) for name in list(variables) if '__' in name}
    config = model_config(base, num_classes, pretrained=None, **variables)
    for name, value in options.items():
        *parents, key = name.split('__')
        reduce(getitem, parents, config.head)[key] = value
    own = DETECTORS.build(config).double()
    table = TORCHVISION_KEYS[family]
    state = {table.to_detkit(name): tensor for name, tensor in model.state_dict().items()}
    own.load_state_dict(state, strict=True)
    return own


def images() -> Tensor:
    """Two normalised images, the second of which is padded with zeros."""
    generator = torch.Generator().manual_seed(1)
    batch = torch.randn(2, 3, *SIZE, generator=generator, dtype=torch.float64)
    for image, (height, width) in zip(batch, IMG_SHAPES, strict=True):
        image[:, height:] = 0
        image[:, :, width:] = 0
    return batch


BBOXES = ([[5.0, 10.0, 35.0, 50.0], [20.0, 15.0, 90.0, 60.0], [70.0, 8.0, 91.0, 31.0]], [])
LABELS = ([1, 3, 2], [])


def ground_truth(with_objects: bool = True, **extras: Tensor) -> GtBatch:
    """Three objects in the first image, and none in the second."""
    count = 3 if with_objects else 0
    bboxes = torch.zeros(2, count, 4, dtype=torch.float64)
    labels = torch.full((2, count), -1)
    if count:
        bboxes[0], labels[0] = torch.tensor(BBOXES[0], dtype=torch.float64), torch.tensor(LABELS[0])
    return GtBatch(
        labels=labels,
        bboxes=bboxes,
        valid=labels >= 0,
        flat_index=torch.arange(count),
        img_shapes=torch.tensor(IMG_SHAPES),
        **extras,
    )


def targets(gt: GtBatch, first_label: int = 0) -> list[dict[str, Tensor]]:
    """The same as torchvision takes it; its two-stage detectors count classes from 1."""
    return [
        dict(boxes=bboxes[valid], labels=labels[valid] + first_label)
        for bboxes, labels, valid in zip(gt.bboxes, gt.labels, gt.valid, strict=True)
    ]


def samples() -> list[DetDataSample]:
    """Images that the network's input shows as they are."""
    return [DetDataSample(metainfo=dict(img_shape=shape, ori_shape=shape, matrix=np.eye(3))) for shape in IMG_SHAPES]


def close(actual: Tensor, expected: Tensor, tolerance: float = 1e-6, what: str = '') -> None:
    """Check a tensor to a share of the other's greatest magnitude."""
    assert actual.shape == expected.shape, what
    if expected.numel():
        scale = max(float(expected.detach().abs().max()), 1e-6)
        assert float((actual.detach() - expected.detach()).abs().max()) <= tolerance * scale, what
