"""Models of ultralytics with a fourth level, of stride 4 (P2) or 64 (P6), as ``.pt`` files describe them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from detkit.converters.common import KeyTable
from detkit.converters.ultralytics_keys import (
    YOLO11_LINEAR,
    YOLO26_P2_DETECTOR,
    YOLO26_P6_DETECTOR,
    YOLO26_P6_STAGES,
    YOLOV8_P2_DETECTOR,
    YOLOV8_P6_DETECTOR,
    YOLOV8_P6_STAGES,
    yolo26_level_keys,
    yolov8_level_keys,
)
from detkit.converters.ultralytics_models import DATASETS, UltralyticsModel, YOLO26Model

_P2_STRIDES, _P6_STRIDES = (4, 8, 16, 32), (8, 16, 32, 64)


@dataclass(frozen=True, kw_only=True)
class YOLOv8P2Model(UltralyticsModel):
    """A YOLOv8 detector with a level of stride 4 as a file describes it."""

    variant = '-p2'
    detector_layers = YOLOV8_P2_DETECTOR
    heads = ('Detect',)
    strides = _P2_STRIDES

    @property
    def config(self) -> str:
        return f'{self.folder}/{self.task}{self.variant.replace("-", "_")}_{DATASETS[self.task]}.py'

    @property
    def custom(self) -> str:
        return f'{self.task}{self.variant.replace("-", "_")}_custom.py'

    @property
    def keys(self) -> KeyTable:
        return yolov8_level_keys(len(self.stages.block_layers), self.task)


@dataclass(frozen=True, kw_only=True)
class YOLOv8P6Model(YOLOv8P2Model):
    """A YOLOv8 with a level of stride 64 as a file describes it: a detector, or a model of masks or keypoints."""

    variant = '-p6'
    heads = ('Detect', 'Segment', 'Pose')
    stages = YOLOV8_P6_STAGES
    detector_layers = YOLOV8_P6_DETECTOR
    shortcut_layers = YOLOV8_P6_STAGES.block_layers
    strides = _P6_STRIDES


@dataclass(frozen=True, kw_only=True)
class YOLO26P2Model(YOLO26Model):
    """A YOLO26 detector with a level of stride 4 as a file describes it."""

    variant = '-p2'
    detector_layers = YOLO26_P2_DETECTOR
    shortcut_layers = (2, 4, 6, 8, 13, 16, 19, 22, 25, 28)
    heads = ('Detect',)
    strides = _P2_STRIDES
    config = YOLOv8P2Model.config
    custom = YOLOv8P2Model.custom

    @property
    def keys(self) -> KeyTable:
        return yolo26_level_keys(len(self.stages.block_layers), self.inner)


@dataclass(frozen=True, kw_only=True)
class YOLO26P6Model(YOLO26P2Model):
    """A YOLO26 detector with a level of stride 64 as a file describes it; its pyramid pooling has no shortcut."""

    variant = '-p6'
    stages = YOLO26_P6_STAGES
    detector_layers = YOLO26_P6_DETECTOR
    attributes: ClassVar[dict[str, dict[str, Any]]] = {**YOLO26Model.attributes, 'SPPF': {'n': 3, 'add': False}}
    shortcut_layers = (2, 4, 6, 8, 10, 15, 18, 21, 24, 27, 30)
    linear = rf'{YOLO11_LINEAR}|model\.11\.cv1'
    strides = _P6_STRIDES
