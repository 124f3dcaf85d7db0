"""Necks: feature maps to feature maps."""

from typing import TYPE_CHECKING

from detkit.utils.lazy import lazy_names

if TYPE_CHECKING:
    from detkit.models.necks.fpn import FPN
    from detkit.models.necks.hybrid_encoder import HybridEncoder
    from detkit.models.necks.last_block import LastBlock
    from detkit.models.necks.lite_encoder import LiteEncoder
    from detkit.models.necks.multi_scale_projector import MultiScaleProjector
    from detkit.models.necks.pan import PAN
    from detkit.models.necks.spp import SPP
    from detkit.models.necks.text_pan import TextPAN
    from detkit.models.necks.yolov3_neck import YOLOv3Neck

__getattr__ = lazy_names(
    __name__,
    {
        'HybridEncoder': 'hybrid_encoder',
        'LastBlock': 'last_block',
        'LiteEncoder': 'lite_encoder',
        'MultiScaleProjector': 'multi_scale_projector',
        'PAN': 'pan',
        'SPP': 'spp',
        'TextPAN': 'text_pan',
        'YOLOv3Neck': 'yolov3_neck',
        'FPN': 'fpn',
    },
)

__all__ = [
    'HybridEncoder',
    'LastBlock',
    'LiteEncoder',
    'MultiScaleProjector',
    'PAN',
    'SPP',
    'TextPAN',
    'YOLOv3Neck',
    'FPN',
]
