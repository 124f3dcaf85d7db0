"""Datasets in COCO's json form."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from detkit.datasets.base import DetDataset, check_choice
from detkit.datasets.class_names import names_by_id
from detkit.datasets.flat_annotations import FlatAnnotations, FlatRecords
from detkit.datasets.formats.coco_json import CocoImages, load_json, read_annotations, read_categories, read_images
from detkit.datasets.image_files import read_image_sizes, unreadable
from detkit.datasets.records import Records
from detkit.datasets.skips import Skip, check_skips
from detkit.registry import DATASETS
from detkit.utils.errors import DataError, nearest


class CocoFileDataset(DetDataset):
    """Base of datasets whose annotations are one json with COCO's lists ``images`` and ``categories``.

    Args:
        ann_file: the json, relative to ``data_root``.
        img_prefix: the folder of the images, relative to ``data_root``.
        keep_category_ids: labels are the file's category ids (DETR's are COCO's, 0 to 90) rather than 0, 1, 2, ...
            An id that the file does not use is a class too, named 'N/A'. Where ``metainfo`` names the classes, each
            must have its id as index; it may name more than the file has.
        **kwargs: see ``DetDataset``.
    """

    def __init__(self, ann_file: str, img_prefix: str = '', keep_category_ids: bool = False, **kwargs: Any) -> None:
        self.ann_file = ann_file
        self.img_prefix = img_prefix
        self.keep_category_ids = keep_category_ids
        super().__init__(**kwargs)

    @classmethod
    def peek(cls, cfg: Mapping[str, Any]) -> dict[str, Any]:
        known = super().peek(cfg)
        path = Path(cfg.get('data_root') or '') / str(cfg.get('ann_file'))
        if not path.is_file():
            if known.get('classes'):
                return known
            raise DataError(
                f'there is no ann_file {str(cfg.get("ann_file"))!r} in {str(cfg.get("data_root") or "")!r}, from which '
                'the class names would be read; set ann_file to the file'
            )
        names = {category['id']: category['name'] for category in read_categories(str(path))}
        keeps_ids = cfg.get('keep_category_ids') and not cfg.get('single_class')
        classes = known.setdefault('classes', names_by_id(names) if keeps_ids else tuple(dict.fromkeys(names.values())))
        ids = {name: number for number, name in reversed(names.items())}
        known['category_ids'] = tuple(range(len(classes))) if keeps_ids else tuple(map(ids.get, classes))
        return known

    def _choose_classes(self, categories: list[dict], ann_file: str) -> dict[int, int | None]:
        """Return the label of each category id; None for the categories that are not asked for."""
        try:
            categories = sorted(categories, key=lambda category: category['id'])
            ids: dict[str, int] = {}
            for category in categories:
                ids.setdefault(category['name'], category['id'])
        except (KeyError, TypeError) as error:
            raise DataError(f'a category of the annotation file {ann_file!r} has no id or no name') from error
        if not ids:
            raise DataError(f'the annotation file {ann_file!r} lists no categories')
        if self.keep_category_ids and not self.single_class:
            return self._keep_ids({category['id']: category['name'] for category in categories}, ann_file)
        classes = tuple(ids) if self.single_class else tuple(self.metainfo.get('classes') or ids)
        for name in classes:
            if name not in ids:
                raise DataError(
                    f'the class {name!r} of metainfo is not among the {len(ids)} categories of {ann_file!r}.'
                    f'{nearest(name, ids)}'
                )
        self.metainfo['classes'] = self.metainfo.get('classes') or classes
        self.metainfo['category_ids'] = tuple(ids[name] for name in classes)
        labels = {name: label for label, name in enumerate(classes)}
        return {category['id']: labels.get(category['name']) for category in categories}

    def _keep_ids(self, names: dict[int, str], ann_file: str) -> dict[int, int | None]:
        """Return each category id as its own label."""
        if not all(isinstance(number, int) and number >= 0 for number in names):
            raise DataError(f'keep_category_ids: a category id of {ann_file!r} is no whole number from 0 on')
        classes = tuple(self.metainfo.get('classes') or names_by_id(names))
        for number, name in names.items():
            found = classes[number] if number < len(classes) else None
            if found != name:
                raise DataError(
                    f'keep_category_ids: {ann_file!r} names category {number} {name!r}, but class {number} of metainfo '
                    f'is {found!r}. Leave metainfo.classes out, or list each class at the index of its id.'
                )
        self.metainfo['classes'] = classes
        self.metainfo['category_ids'] = tuple(range(len(classes)))
        return {number: number for number in names}

    def _find_images(self, images: CocoImages, ann_file: str) -> CocoImages:
        """Return the images that lie in the folder, with their full paths, and their sizes where the file has none."""
        folder = Path(self.data_root) / self.img_prefix
        if not folder.is_dir():
            raise DataError(
                f'the image folder {str(folder)!r} does not exist. Correct img_prefix (relative to '
                f'data_root={self.data_root!r}) in the config of the dataset.'
            )
        if not images.ids:
            raise DataError(f'the annotation file {ann_file!r} lists no images')
        found = CocoImages(skipped=images.skipped)
        names_in: dict[str, set[str]] = {}
        for image_id, name, shape in zip(images.ids, images.names, images.shapes, strict=True):
            parent, base = os.path.split(os.path.join(folder, name))
            if parent not in names_in:
                names_in[parent] = set(os.listdir(parent)) if os.path.isdir(parent) else set()
            path = os.path.join(parent, base)
            if base not in names_in[parent]:
                reason = f'the image {image_id} of {ann_file} does not exist'
                found.skipped.append(Skip(path, None, reason, 'an image that does not exist'))
                continue
            found.ids.append(image_id)
            found.names.append(path)
            found.shapes.append(shape)
        unknown = [i for i, shape in enumerate(found.shapes) if shape is None]
        sizes = read_image_sizes([found.names[i] for i in unknown])
        for i, size in zip(unknown, sizes, strict=True):
            found.shapes[i] = None if isinstance(size, OSError) else size
            if isinstance(size, OSError):
                found.skipped.append(unreadable(found.names[i], size))
        if unknown:
            keep = [i for i, shape in enumerate(found.shapes) if shape is not None]
            found = CocoImages(
                [found.ids[i] for i in keep],
                [found.names[i] for i in keep],
                [found.shapes[i] for i in keep],
                found.skipped,
            )
        return found


@DATASETS.register_module()
class CocoDataset(CocoFileDataset):
    """Images with a COCO json of instances: boxes, outlines, RLE bitmaps, crowds (``ignored``).

    ``metainfo['classes']`` chooses classes by name and gives their order; without it all categories are taken, by
    ascending id. ``metainfo['category_ids']`` holds the file's id of each label. Entries that break a rule, images that
    are not there included, are left out alone and listed in ``skipped``.

    Args:
        ann_file: the json, relative to ``data_root``.
        img_prefix: the folder of the images, relative to ``data_root``.
        keypoints: read keypoints too, as ``person_keypoints_*.json`` has them. Their names and skeleton are taken from
            the file, left and right from the names, where ``metainfo`` does not say.
        unlabelled: the treatment of objects none of whose keypoints is labelled. 'drop': training does not see them, as
            in the reference's label files; 'keep': it learns their boxes. A test always has them: it ignores them for
            keypoints, and counts them for boxes.
        only_labelled: leave out images without any object that has a labelled keypoint.
        **kwargs: ``keep_category_ids``, see ``CocoFileDataset``, and what ``DetDataset`` takes.
    """

    def __init__(
        self,
        ann_file: str,
        img_prefix: str = '',
        keypoints: bool = False,
        unlabelled: str = 'drop',
        only_labelled: bool = False,
        **kwargs: Any,
    ) -> None:
        check_choice('unlabelled', unlabelled, ('drop', 'keep'))
        self.keypoints = keypoints
        self.unlabelled = unlabelled
        self.only_labelled = only_labelled
        super().__init__(ann_file, img_prefix, **kwargs)

    @classmethod
    def peek(cls, cfg: Mapping[str, Any]) -> dict[str, Any]:
        known = super().peek(cfg)
        path = Path(cfg.get('data_root') or '') / str(cfg.get('ann_file'))
        if cfg.get('keypoints') and path.is_file():
            counts = {
                len(category['keypoints'])
                for category in read_categories(str(path))
                if category.get('keypoints') and (cfg.get('single_class') or category['name'] in known['classes'])
            }
            if len(counts) == 1:  # the dataset reports any other number as an error
                known['keypoint_shape'] = (counts.pop(), 3)
        return known

    def load_records(self) -> Records:
        ann_file = str(Path(self.data_root) / self.ann_file)
        content = load_json(ann_file)
        labels_by_category = self._choose_classes(content['categories'], ann_file)
        images = self._find_images(read_images(content['images'], ann_file), ann_file)
        listed = {entry.get('id') for entry in content['images']}
        flat, skipped, unused = read_annotations(
            content['annotations'],
            images.ids,
            images.shapes,
            labels_by_category,
            ann_file,
            listed - set(images.ids),
            self._count_keypoints(content['categories'], labels_by_category, ann_file) if self.keypoints else None,
        )
        self.skipped += images.skipped + skipped
        self.unused += unused
        num_entries = len(content['images']) + len(content['annotations'])
        check_skips(self.skipped, num_entries, self.max_skipped, ann_file)
        shapes = np.array(images.shapes, np.int64).reshape(-1, 2)
        if self.keypoints:
            flat = self._choose_labelled(flat)
        records = FlatRecords(images.names, images.ids, shapes, flat)
        if not self.only_labelled or not self.keypoints:
            return records
        labelled = np.bincount(flat.images[(flat.keypoints[..., 2] > 0).any(1)], minlength=len(records)) > 0
        return records.select(np.flatnonzero(labelled))

    def _choose_labelled(self, flat: FlatAnnotations) -> FlatAnnotations:
        """Leave out, where training is not to see them, objects none of whose keypoints is labelled."""
        if self.unlabelled == 'keep' or self.test_mode:
            return flat
        keep = (flat.keypoints[..., 2] > 0).any(1) | flat.ignored
        count = len(keep) - int(keep.sum())
        if count:
            reason = "an object none of whose keypoints is labelled (unlabelled='keep' trains its box)"
            self.unused.append(Skip(self.ann_file, None, reason, count=count))
        return flat.select(keep)

    def _count_keypoints(self, categories: list[dict], labels_by_category: dict[int, int | None], ann_file: str) -> int:
        """Return K, the same for all chosen classes, and fill in ``metainfo``."""
        named = {
            tuple(map(str, category['keypoints'])): category
            for category in categories
            if labels_by_category[category['id']] is not None and category.get('keypoints')
        }
        if len(named) != 1:
            raise DataError(
                f'{ann_file!r}: the chosen classes name {len(named)} different sets of keypoints, where one is needed. '
                + (
                    'Set metainfo=dict(classes=...) to classes that share theirs.'
                    if named
                    else 'COCO has them in person_keypoints_*.json; set keypoints=False to do without.'
                )
            )
        ((names, category),) = named.items()
        if self.metainfo.get('keypoint_names') is None:
            self.metainfo['keypoint_names'] = names
        if self.metainfo.get('skeleton') is None:  # which counts from 1 in the file
            pairs = category.get('skeleton') or ()
            self.metainfo['skeleton'] = tuple(tuple(int(number) - 1 for number in pair) for pair in pairs)
        self.describe_keypoints(len(names), ann_file)
        return len(names)
