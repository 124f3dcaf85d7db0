"""Necks: feature maps to feature maps."""

from .last_block import LastBlock
from .pan import PAN
from .spp import SPP
from .yolov3_neck import YOLOv3Neck

__all__ = ['LastBlock', 'PAN', 'SPP', 'YOLOv3Neck']
