"""A small model of every family and task, with random weights under which it finds something in any picture."""

from __future__ import annotations

import copy
from functools import cache, reduce
from operator import getitem
from pathlib import Path
from typing import Any

import torch
from builders import model_config
from mmengine.config import Config
from torch import nn

from detkit.engine import save_checkpoint
from detkit.models.detectors import ModelInfo
from detkit.models.heads.yolo_world_head import TextContrast
from detkit.models.layers.fuse import fuse_conv_bn
from detkit.models.layers.psa import CellAttention
from detkit.registry import DETECTORS
from detkit.utils.without_memory import without_initial_values

CLASSES = ('person', 'bird', 'cat', 'dog')
KEYPOINTS = dict(
    keypoints=['nose', 'left eye', 'right eye'], flip_pairs=[[1, 2]], skeleton=[[0, 1], [0, 2]], sigmas=[0.1, 0.1, 0.1]
)
# What a head for rotated boxes takes in place of a base config's parts for upright ones.
ROTATED = dict(
    assigner=dict(type='RotatedHungarianAssigner'),
    bbox_coder=dict(type='RelativeRBBoxCoder'),
    loss_iou=dict(type='ProbIoULoss'),
)
# Name -> model of the base configs and perhaps its size, arguments of its head (dotted for those of a part), its task.
TASKS = {
    'yolov8 det': ('yolov8_det', {}, 'det'),
    'yolov8 seg': ('yolov8_seg', {}, 'seg'),
    'yolov8 pose': ('yolov8_pose', {'keypoint_shape': (3, 3)}, 'pose'),
    'yolov8 obb': ('yolov8_obb', {}, 'obb'),
    'yolov8 cls': ('yolov8_cls', {}, 'cls'),
    'yolo11 det': ('yolo11_det', {}, 'det'),
    'yolo11 seg': ('yolo11_seg', {}, 'seg'),
    'yolo11 pose': ('yolo11_pose', {'keypoint_shape': (3, 3)}, 'pose'),
    'yolo11 obb': ('yolo11_obb', {}, 'obb'),
    'yolo11 cls': ('yolo11_cls', {}, 'cls'),
    'yolo26 det': ('yolo26_det', {}, 'det'),
    'yolo26 seg': ('yolo26_seg', {}, 'seg'),
    'yolo26 pose': ('yolo26_pose', {'keypoint_shape': (3, 3)}, 'pose'),
    'yolo26 obb': ('yolo26_obb', {}, 'obb'),
    'yolo26 cls': ('yolo26_cls', {}, 'cls'),
    'yolov10 det': ('yolov10_det', {}, 'det'),
    'yolox det': ('yolox_det', {}, 'det'),
    'yoloworld det': ('yolo_world_det', {}, 'det'),
    'yolov5 det': ('yolov5_det', {}, 'det'),
    'yolov5 cls': ('yolov5_cls', {}, 'cls'),
    'yolov3 det': ('yolov3', {}, 'det'),
    'detr det': ('detr_r18', {}, 'det'),
    'detr seg': ('detr_seg', {}, 'seg'),
    'detr panoptic': ('detr_seg', {'stuff_labels': (2, 3)}, 'seg'),
    'retinanet det': ('retinanet_r18', {}, 'det'),
    'fcos det': ('fcos_r18', {}, 'det'),
    'rtdetr det': ('rtdetr_tiny', {'num_queries': 20}, 'det'),
    'rtdetr seg': ('rtdetr_tiny', {'num_queries': 20, 'type': 'RTDETRSegmentHead'}, 'seg'),
    'rtdetr obb': ('rtdetr_obb_tiny', {'num_queries': 20}, 'obb'),
    'dfine det': ('dfine', {'num_queries': 20}, 'det'),
    'dfine seg': ('dfine_seg', {'num_queries': 20}, 'seg'),
    'dfine obb': ('dfine', {'num_queries': 20, 'type': 'DFINEOBBHead', **ROTATED}, 'obb'),
    'deim det': ('deim', {'num_queries': 20}, 'det'),
    'deimv2 det': ('deimv2', {'num_queries': 20}, 'det'),
    'rfdetr det': ('rfdetr_tiny', {'num_queries': 20}, 'det'),
    'rfdetr seg': ('rfdetr_tiny', {'num_queries': 20, 'type': 'RFDETRSegmentHead'}, 'seg'),
    'rfdetr obb': ('rfdetr_tiny', {'num_queries': 20, 'type': 'RFDETROBBHead', **ROTATED}, 'obb'),
}


def build_task(name: str, img_size: int, shallow: bool = False) -> nn.Module:
    """Build a model of ``TASKS``, ready to predict, with the config that its file must hold.

    A ``shallow`` one of YOLOv8 is narrower and has no neck: half the layers to export, for tests of something else.
    """
    network, config = _network(name, shallow), _config(name, img_size, shallow)
    fuse_conv_bn(network)
    keypoints = KEYPOINTS if config['task'] == 'pose' else {}
    network.info = ModelInfo(Config(config), CLASSES, keypoints, '')
    return network


def write_task(path: Path, name: str, img_size: int, shallow: bool = False) -> Path:
    """Write the checkpoint of such a model."""
    network, config = _network(name, shallow), _config(name, img_size, shallow)
    meta = dict(format='detkit', format_version=1, classes=list(CLASSES), task=config['task'])
    meta['config'] = ''.join(f'{key} = {value!r}\n' for key, value in config.items())
    save_checkpoint({'meta': meta, 'state_dict': network.state_dict()}, path)
    return path


def _network(name: str, shallow: bool) -> nn.Module:
    return copy.deepcopy(_built(name, shallow))


def build_plainly(name: str, img_size: int) -> nn.Module:
    """Build a model of ``TASKS`` whose weights have no values, which takes less time."""
    with without_initial_values():
        network, config = DETECTORS.build(_model(name)).eval(), _config(name, img_size)
    keypoints = KEYPOINTS if config['task'] == 'pose' else {}
    network.info = ModelInfo(Config(config), CLASSES, keypoints, '')
    return network


@cache
def _built(name: str, shallow: bool) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = DETECTORS.build(_model(name, shallow))
        _make_confident(network.head)
        _calibrate(network)
    return network.eval()


def _model(name: str, shallow: bool = False) -> dict[str, Any]:
    return copy.deepcopy(_described(name, shallow))


@cache
def _described(name: str, shallow: bool) -> dict[str, Any]:
    base, added, _ = TASKS[name]
    base, _, size = base.partition(' ')
    variables = {**(dict(size=size) if size else {}), **(dict(widen_factor=0.125) if shallow else {})}
    model = model_config(base, len(CLASSES), **variables).to_dict()
    if shallow:
        del model['neck']
    for key, value in added.items():
        *parts, last = key.split('.')
        reduce(getitem, parts, model['head'])[last] = value
    if base.startswith('detr'):
        model['backbone'].update(weights=None)
    return model


def _config(name: str, img_size: int, shallow: bool = False) -> dict[str, Any]:
    base, _, task = TASKS[name]
    if task == 'cls':
        middle = [dict(type='ResizeShortestEdge', size=img_size), dict(type='CenterCrop', size=img_size)]
    elif base.startswith(('detr', 'retinanet', 'fcos')):
        middle = [dict(type='ResizeShortestEdge', size=img_size, max_size=img_size * 2)]
    elif base.startswith(('rtdetr', 'dfine', 'deim', 'rfdetr')):  # padded cells would be alike, and ties fall anyhow
        middle = [dict(type='Resize', size=img_size, keep_ratio=False)]
    else:
        middle = [dict(type='LetterBox', size=img_size)]
    steps = [dict(type='LoadImageFromFile'), *middle, dict(type='Render'), dict(type='PackInputs')]
    return dict(
        task=task,
        classes=CLASSES,
        model=_model(name, shallow),
        test_dataloader=dict(dataset=dict(type='CocoDataset', ann_file='none.json', pipeline=steps)),
        predict_cfg=dict(score_thr=0.05),
    )


@torch.no_grad()
def _calibrate(network: nn.Module) -> None:
    """Let batch normalisation keep the activations in range, so that predictions differ from cell to cell."""
    coarse = torch.rand(4, 3, 8, 8)
    images = nn.functional.interpolate(coarse, (192, 192), mode='bicubic').clamp(0, 1)
    if network.data_preprocessor.divisor == 1:  # the network takes pixels as they are
        images *= 255
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None  # the mean of all batches
    network.train()
    network.extract_feat(images)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_var.clamp_(min=0.05)  # none amplifies the last digits
        if isinstance(layer, CellAttention):
            # On real pictures the activations are larger than here, and logits, their products, of some 1000: the last
            # digits would choose the cell that attention takes.
            heads = layer.qkv.bn.weight.view(layer.num_heads, -1)  # (heads, query + key + value)
            heads[:, : 2 * layer.key_dims] *= 0.1
    network.eval()


def _make_confident(head: nn.Module) -> None:
    """Spread the scores of a head, so that some exceed any usual threshold."""
    for name, layer in head.named_modules():
        if name.endswith('cross_attn.offsets'):
            layer.bias.data += torch.randn_like(layer.bias)  # away from the midst between cells
        if isinstance(layer, nn.Linear) and not layer.weight.any():  # the last of those that move boxes and angles
            nn.init.normal_(layer.weight, std=0.05)
        if isinstance(layer, TextContrast):
            nn.init.zeros_(layer.bias)
            nn.init.zeros_(layer.logit_scale)
        if isinstance(layer, nn.Conv2d | nn.Linear) and (
            name.startswith(('convs', 'obj_convs'))  # of anchors, and of objectness
            or ('cls' in name and layer.weight.shape[0] in (len(CLASSES), len(CLASSES) + 1))
            or name == 'conv_cls'  # of several anchors
            or (name.startswith('embed_branches') and layer.weight.shape[0] == head.text_dims)
        ):
            std = 0.05 if isinstance(layer, nn.Linear) else 0.2
            if name.startswith('convs'):  # which give the exponents of sizes, too
                std = 0.3 / layer.weight.shape[1] ** 0.5
            nn.init.normal_(layer.weight, std=std)
            nn.init.zeros_(layer.bias)
