"""Datasets in LVIS's json form: COCO's, with other names of the images and frequencies of the classes."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

from detkit.datasets.formats.coco import CocoDataset
from detkit.datasets.formats.coco_images import CocoImages
from detkit.datasets.formats.coco_json import CocoImage
from detkit.registry import DATASETS
from detkit.utils.errors import ConfigError

__all__ = ['LvisDataset']


@DATASETS.register_module()
class LvisDataset(CocoDataset):
    """Images with an LVIS json (https://www.lvisdataset.org), version 1 or 0.5.

    An image is the file that ends its ``coco_url``, such as ``train2017/000000391895.jpg``, below ``img_prefix``.
    ``metainfo['frequencies']`` holds 'r', 'c' or 'f' of each class, rare, common or frequent, None where the file does
    not say it.

    The annotations are federated: an image is searched for all objects only of the classes that it shows and of those
    in its ``neg_category_ids``, less the ones in its ``not_exhaustive_category_ids``. The two lists are not read.
    COCO's metric therefore counts correct detections of other classes as false ones, and its average precision is not
    the one of LVIS's own evaluation.

    Args:
        ann_file: the json, relative to ``data_root``.
        img_prefix: the folder that holds the folders ``train2017`` and ``val2017``, relative to ``data_root``.
        **kwargs: ``keep_category_ids``, see ``CocoFileDataset``, and what ``DetDataset`` takes.
    """

    def __init__(self, ann_file: str, img_prefix: str = '', **kwargs: Any) -> None:
        for name in {'keypoints', 'unlabelled', 'only_labelled'} & kwargs.keys():
            raise ConfigError(f'LvisDataset has no argument {name!r}: LVIS has no keypoints')
        super().__init__(ann_file, img_prefix, **kwargs)

    def _choose_classes(self, categories: list[dict], ann_file: str) -> dict[int | float | str, int | None]:
        labels = super()._choose_classes(categories, ann_file)
        if not self.single_class:
            known = {labels[category['id']]: category.get('frequency') for category in categories}
            self.metainfo['frequencies'] = tuple(
                known.get(label) if known.get(label) in ('r', 'c', 'f') else None
                for label in range(len(self.metainfo['classes']))
            )
        return labels

    def _find_images(self, entries: list, ann_file: str) -> CocoImages:
        return super()._find_images([_with_name(entry) for entry in entries], ann_file)


def _with_name(entry: CocoImage | Any) -> CocoImage | Any:
    """Return an image's entry with the end of its ``coco_url`` as name: its folder and its file."""
    if isinstance(entry, dict):
        entry = CocoImage(*(entry.get(key) for key in CocoImage.__struct_fields__))
    if isinstance(entry, CocoImage) and isinstance(entry.coco_url, str):
        try:
            path = unquote(urlsplit(entry.coco_url).path)
        except ValueError:
            return entry
        entry.file_name = '/'.join(path.split('/')[-2:]).lstrip('/') or entry.file_name
    return entry
