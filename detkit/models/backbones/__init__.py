"""Backbones: images to feature maps, fine to coarse."""

from typing import TYPE_CHECKING

from detkit.utils.lazy import lazy_names

if TYPE_CHECKING:
    from detkit.models.backbones.csp_darknet import CSPDarknet
    from detkit.models.backbones.darknet import Darknet
    from detkit.models.backbones.hgnet import HGNetV2
    from detkit.models.backbones.mobilenet import MobileNetV3
    from detkit.models.backbones.resnet import ResNet
    from detkit.models.backbones.windowed_vit import WindowedViT

__getattr__ = lazy_names(
    __name__,
    {
        'CSPDarknet': 'csp_darknet',
        'Darknet': 'darknet',
        'HGNetV2': 'hgnet',
        'ResNet': 'resnet',
        'WindowedViT': 'windowed_vit',
        'MobileNetV3': 'mobilenet',
    },
)

__all__ = [
    'CSPDarknet',
    'Darknet',
    'HGNetV2',
    'ResNet',
    'WindowedViT',
    'MobileNetV3',
]
