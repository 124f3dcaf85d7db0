"""Data: formats, transforms, samplers and the loader."""

from detkit.datasets import transforms
from detkit.datasets.base import DetDataset
from detkit.datasets.collate import collate
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
    'collate',
    'transforms',
]
