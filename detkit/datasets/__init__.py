"""Data: formats, transforms, samplers and the loader."""

from typing import TYPE_CHECKING

from detkit.utils.lazy import lazy_names

if TYPE_CHECKING:
    from detkit.datasets.base import DetDataset
    from detkit.datasets.formats import (
        BackgroundDataset,
        CocoDataset,
        CocoPanopticDataset,
        CrowdHumanDataset,
        CvatDataset,
        DotaDataset,
        FiftyOneDataset,
        HuggingFaceDataset,
        ImageFolderDataset,
        LabelmeDataset,
        LabelStudioDataset,
        LvisDataset,
        OpenImagesDataset,
        VOCDataset,
        YoloTxtDataset,
    )
    from detkit.datasets.loader import build_dataloader
    from detkit.datasets.sample_key import SampleKey
    from detkit.datasets.samplers import ClassBalancedSampler, EpochSampler, RepeatFactorSampler
    from detkit.datasets.wrappers import ConcatDataset, RepeatDataset

__getattr__ = lazy_names(
    __name__,
    {
        'BackgroundDataset': 'formats',
        'ClassBalancedSampler': 'samplers',
        'CocoDataset': 'formats',
        'CocoPanopticDataset': 'formats',
        'ConcatDataset': 'wrappers',
        'CrowdHumanDataset': 'formats',
        'CvatDataset': 'formats',
        'DetDataset': 'base',
        'DotaDataset': 'formats',
        'EpochSampler': 'samplers',
        'FiftyOneDataset': 'formats',
        'HuggingFaceDataset': 'formats',
        'ImageFolderDataset': 'formats',
        'LabelStudioDataset': 'formats',
        'LabelmeDataset': 'formats',
        'LvisDataset': 'formats',
        'OpenImagesDataset': 'formats',
        'RepeatDataset': 'wrappers',
        'RepeatFactorSampler': 'samplers',
        'SampleKey': 'sample_key',
        'VOCDataset': 'formats',
        'YoloTxtDataset': 'formats',
        'build_dataloader': 'loader',
    },
)

__all__ = [
    'BackgroundDataset',
    'ClassBalancedSampler',
    'CocoDataset',
    'CocoPanopticDataset',
    'ConcatDataset',
    'CrowdHumanDataset',
    'CvatDataset',
    'DetDataset',
    'DotaDataset',
    'EpochSampler',
    'FiftyOneDataset',
    'HuggingFaceDataset',
    'ImageFolderDataset',
    'LabelStudioDataset',
    'LabelmeDataset',
    'LvisDataset',
    'OpenImagesDataset',
    'RepeatDataset',
    'RepeatFactorSampler',
    'SampleKey',
    'VOCDataset',
    'YoloTxtDataset',
    'build_dataloader',
]
