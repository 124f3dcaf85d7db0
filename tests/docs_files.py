"""Files of weights, pictures and videos that the documentation names, small ones."""

from __future__ import annotations

import os
import re
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import ultralytics_files
import yolov5_files
from conversions import ultralytics_shapes, yolov5_shapes
from detr_files import write_original
from parity.darknet_streams import cfg_path, seeded_stream, write_weights
from pickled_files import Layout

from detkit.config import load_config
from detkit.datasets.class_names import COCO80
from detkit.engine import save_checkpoint
from detkit.engine.checkpoint import load_checkpoint
from detkit.registry import DETECTORS


def raise_scores(path: Path) -> None:
    """Change the biases of a YOLO's checkpoint, so that it finds something in any image."""
    checkpoint = load_checkpoint(path)
    for name, value in checkpoint['state_dict'].items():
        if re.fullmatch(r'head\.(cls_branches\.\d\.2|convs\.\d)\.bias', name):
            value.fill_(0.5)
    save_checkpoint(checkpoint, path)


def any_image(tiny_data: Path) -> np.ndarray:
    """Return an image of the training data, (H, W, 3) as OpenCV reads it."""
    return cv2.imread(str(min((tiny_data / 'images' / 'train').iterdir())))


def write_clip(path: Path) -> None:
    """Write a video of a few frames."""
    from videos import write_video  # which needs PyAV

    write_video(path, 8)


def write_ultralytics(path: Path, task: str) -> None:
    """Write a file of ultralytics with random weights, of the size n."""
    layout = _of_coco(ultralytics_files.read_recorded()['layouts'][f'{task}_n'])
    tensors = ultralytics_files.seeded_tensors(layout, 3, ultralytics_shapes(task, len(COCO80)))
    ultralytics_files.write_pt(path, layout, task, tensors, classes=COCO80)


def write_yolov5(path: Path) -> None:
    """Write a file of YOLOv5 with random weights, of the size n."""
    layout = _of_coco(yolov5_files.read_recorded()['layouts']['7_n'])
    tensors = yolov5_files.seeded_tensors(layout, 3, yolov5_shapes('n', False, len(COCO80)), len(COCO80))
    yolov5_files.write_pt(path, layout, tensors, classes=COCO80)


def _of_coco(layout: Layout) -> Layout:
    """Return a layout whose head states the number of COCO's classes."""
    more = {'nc': lambda nc, no: len(COCO80), 'no': lambda nc, no: no - nc + len(COCO80)}
    return [
        (name, kind, plain | {key: of(plain['nc'], plain['no']) for key, of in more.items() if 'nc' in plain}, *tensors)
        for name, kind, plain, *tensors in layout
    ]


def write_darknet(path: Path) -> None:
    """Write Darknet's weights of YOLOv3-tiny, random ones."""
    write_weights(path, seeded_stream(cfg_path('yolov3_tiny')))


def write_darknet53(path: Path) -> None:
    """Write Darknet's file of Darknet-53: a header, and zeros, which take no room on the disk."""
    path.write_bytes(struct.pack('<iiiq', 0, 2, 0, 0))
    os.truncate(path, path.stat().st_size + 4 * 40_620_640)


def write_detr(path: Path, options: dict[str, Any]) -> None:
    """Write a file of DETR's authors with the model of the config with ``options``."""
    config = load_config('detr/det_coco', options, need_classes=False)
    write_original(path, DETECTORS.build(config.model))
