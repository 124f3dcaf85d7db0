"""The shipped configs on the pictures of ``tiny_data.py``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from detkit.config import load_config


def load_tiny(path: Path, options: Mapping[str, Any]) -> Config:
    """Return a shipped config with ``options``, on that part of ``tiny_data``, their ``data_root``, which fits it."""
    task, *rest = path.stem.split('_')
    if task == 'cls':
        dataset = 'weather' if 'weather' in rest else rest[-1]
        return load_config(path, {**options, 'data_root': f'{options["data_root"]}/{dataset}', 'val_batch_size': 2})
    dataset = rest[-1]
    if path.parent.name in ('detr', 'retinanet', 'fcos', 'faster_rcnn', 'mask_rcnn', 'keypoint_rcnn'):
        options = {**options, 'pretrained': None}
    if path.parent.name == 'yolo_world':
        options = {**options, 'text_encoder': dict(type='NgramTextEncoder')}  # needs no files
    if path.parent.name == 'rfdetr' and task == 'seg':
        options = {**options, 'img_size': 72}  # patches of 12 pixels
    if 'panoptic' in path.stem:
        options = {**options, 'data_root': f'{options["data_root"]}/panoptic'}
    if task == 'pose':
        folder = 'pose_custom' if dataset == 'custom' else 'pose'
        options = {**options, 'data_root': f'{options["data_root"]}/{folder}'}
    if task == 'obb':
        options = {**options, 'data_root': f'{options["data_root"]}/{"dota" if dataset == "dota" else "obb"}'}
    if dataset == 'voc':
        options = {**options, 'data_root': f'{options["data_root"]}/voc'}
    if path.stem == 'det_voc_coco':
        options = {**options, 'voc_root': f'{options["data_root"]}/voc'}
    if path.stem.endswith('_custom'):
        options = {**options, 'data_yaml': 'data.yaml'}
    return load_config(path, options)
