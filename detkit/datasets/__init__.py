"""Data: formats, transforms, samplers and the loader."""

from detkit.datasets import transforms
from detkit.datasets.base import DetDataset
from detkit.datasets.coco import CocoDataset
from detkit.datasets.coco_panoptic import CocoPanopticDataset
from detkit.datasets.collate import collate
from detkit.datasets.dota import DotaDataset
from detkit.datasets.image_folder import ImageFolderDataset
from detkit.datasets.loader import build_dataloader
from detkit.datasets.sample_key import SampleKey
from detkit.datasets.samplers import EpochSampler
from detkit.datasets.voc import VOCDataset
from detkit.datasets.wrappers import ConcatDataset, RepeatDataset
from detkit.datasets.yolo_txt import YoloTxtDataset

__all__ = [
    'CocoDataset',
    'CocoPanopticDataset',
    'ConcatDataset',
    'DetDataset',
    'DotaDataset',
    'EpochSampler',
    'ImageFolderDataset',
    'RepeatDataset',
    'SampleKey',
    'VOCDataset',
    'YoloTxtDataset',
    'build_dataloader',
    'collate',
    'transforms',
]
