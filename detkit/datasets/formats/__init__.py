"""Annotation formats; importing this registers their dataset classes."""

from typing import TYPE_CHECKING

from detkit.utils.lazy import lazy_names

if TYPE_CHECKING:
    from detkit.datasets.formats.background import BackgroundDataset
    from detkit.datasets.formats.coco import CocoDataset
    from detkit.datasets.formats.coco_panoptic import CocoPanopticDataset
    from detkit.datasets.formats.crowdhuman import CrowdHumanDataset
    from detkit.datasets.formats.cvat import CvatDataset
    from detkit.datasets.formats.dota import DotaDataset
    from detkit.datasets.formats.fiftyone import FiftyOneDataset
    from detkit.datasets.formats.hugging_face import HuggingFaceDataset
    from detkit.datasets.formats.image_folder import ImageFolderDataset
    from detkit.datasets.formats.label_studio import LabelStudioDataset
    from detkit.datasets.formats.labelme import LabelmeDataset
    from detkit.datasets.formats.lvis import LvisDataset
    from detkit.datasets.formats.open_images import OpenImagesDataset
    from detkit.datasets.formats.voc import VOCDataset
    from detkit.datasets.formats.yolo import YoloTxtDataset

__getattr__ = lazy_names(
    __name__,
    {
        'BackgroundDataset': 'background',
        'CocoDataset': 'coco',
        'CocoPanopticDataset': 'coco_panoptic',
        'CrowdHumanDataset': 'crowdhuman',
        'CvatDataset': 'cvat',
        'DotaDataset': 'dota',
        'FiftyOneDataset': 'fiftyone',
        'HuggingFaceDataset': 'hugging_face',
        'ImageFolderDataset': 'image_folder',
        'LabelStudioDataset': 'label_studio',
        'LabelmeDataset': 'labelme',
        'LvisDataset': 'lvis',
        'OpenImagesDataset': 'open_images',
        'VOCDataset': 'voc',
        'YoloTxtDataset': 'yolo',
    },
)

__all__ = [
    'BackgroundDataset',
    'CocoDataset',
    'CocoPanopticDataset',
    'CrowdHumanDataset',
    'CvatDataset',
    'DotaDataset',
    'FiftyOneDataset',
    'HuggingFaceDataset',
    'ImageFolderDataset',
    'LabelStudioDataset',
    'LabelmeDataset',
    'LvisDataset',
    'OpenImagesDataset',
    'VOCDataset',
    'YoloTxtDataset',
]
