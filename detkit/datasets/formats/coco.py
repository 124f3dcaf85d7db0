"""Datasets in COCO's json form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from detkit.datasets.base import DetDataset, check_choice
from detkit.datasets.class_names import CLASSES_REMEDY, names_by_id, refuse_repeated
from detkit.datasets.flat_annotations import FlatRecords
from detkit.datasets.formats.coco_annotations import CocoObjects, select_objects
from detkit.datasets.formats.coco_cache import read_annotations
from detkit.datasets.formats.coco_images import CocoImages, find_images, read_images
from detkit.datasets.formats.coco_json import check_categories, read_categories
from detkit.datasets.image_files import image_folder_remedy
from detkit.datasets.records import Records
from detkit.datasets.skips import MISSING_IMAGE, Skip, check_skips, list_skips
from detkit.datasets.transforms.choice import nested_transforms
from detkit.datasets.transforms.render import Render
from detkit.registry import DATASETS
from detkit.utils.errors import DataError, absence, nearest, shorten, working_folder

# Category ids that are labels are below it.
_MOST_CLASSES = 100_000


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

    has_image_ids = True

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
                f'there is no ann_file {str(cfg.get("ann_file"))!r} in {str(cfg.get("data_root") or "")!r}'
                f'{working_folder(path)}, from which the class names would be read; set ann_file to the file'
            )
        names = {category['id']: category['name'] for category in read_categories(str(path))}
        keeps_ids = cfg.get('keep_category_ids') and not cfg.get('single_class')
        classes = known.setdefault('classes', names_by_id(names) if keeps_ids else tuple(dict.fromkeys(names.values())))
        ids = {name: number for number, name in reversed(names.items())}
        known['category_ids'] = tuple(range(len(classes))) if keeps_ids else tuple(map(ids.get, classes))
        return known

    def _choose_classes(self, categories: list[dict], ann_file: str) -> dict[int | float | str, int | None]:
        """Return the label of each category id; None for the categories that are not asked for."""
        ids: dict[str, int | float | str] = {}
        for category in categories:
            ids.setdefault(category['name'], category['id'])
        if not ids:
            raise DataError(f'the annotation file {ann_file!r} lists no categories')
        if self.keep_category_ids and not self.single_class:
            return self._keep_ids({category['id']: category['name'] for category in categories}, ann_file)
        classes = tuple(ids) if self.single_class else tuple(map(str, self.metainfo.get('classes') or ids))
        for name in classes:
            if name not in ids:
                raise DataError(
                    f'the class {name!r} of metainfo is not among the {len(ids)} categories of {ann_file!r}: '
                    f'{shorten(map(repr, ids), 10)}.{nearest(name, ids)}{CLASSES_REMEDY}'
                )
        self.metainfo['classes'] = classes
        self.metainfo['category_ids'] = tuple(ids[name] for name in classes)
        labels = {name: label for label, name in enumerate(classes)}
        return {category['id']: labels.get(category['name']) for category in categories}

    def _settle_shared_names(
        self, names: Mapping[int | float | str, str], counts: Mapping[int | float | str, int], ann_file: str
    ) -> None:
        """Refuse two categories of one name; files of some tools have such a category without any object.

        Args:
            names: the name of each category, by its id.
            counts: the number of objects of each category, by its id.
            ann_file: the file's name.

        Raises:
            DataError: both have objects.
        """
        if self.single_class or self.keep_category_ids:  # whose names are all different
            return
        ids = dict(zip(self.metainfo['classes'], self.metainfo['category_ids'], strict=True))
        used: dict[str, int | float | str] = {}
        for number, name in names.items():
            if name in ids and counts.get(number) and used.setdefault(name, number) != number:
                raise DataError(
                    f'{ann_file!r} has objects of the categories {used[name]!r} and {number!r}, both of the name '
                    f'{name!r}. Give one of them another name; class_map merges them if they are one class'
                )
        self.metainfo['category_ids'] = tuple(used.get(name, number) for name, number in ids.items())

    def _keep_ids(self, names: dict[int | float | str, str], ann_file: str) -> dict[int | float | str, int | None]:
        """Return each category id as its own label."""
        if not all(isinstance(number, int) and 0 <= number < _MOST_CLASSES for number in names):
            raise DataError(
                f'keep_category_ids: a category id of {ann_file!r} is no whole number from 0 to {_MOST_CLASSES - 1}'
            )
        refuse_repeated(list(names.values()), f'the annotation file {ann_file!r}')
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

    def _find_images(self, entries: list, ann_file: str) -> CocoImages:
        """Return the images that lie in the folder, with their paths and sizes."""
        folder = Path(self.data_root) / self.img_prefix
        if not folder.is_dir():
            raise DataError(
                f'the image folder {str(folder)!r} {absence(folder)}. Correct img_prefix (relative to '
                f'data_root={self.data_root!r}) in the config of the dataset.'
            )
        images = find_images(read_images(entries, ann_file), folder, ann_file)
        self.skipped += images.skipped
        self.unused += images.unused
        return images

    def _correct_folder(self) -> str:
        """Return what to correct where most images do not exist."""
        key = 'img_prefix (in most configs train_images or val_images)'
        missing = next(skip.path for skip in self.skipped if skip.kind == MISSING_IMAGE)
        return image_folder_remedy(key, self.data_root, missing)


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
        cache_annotations: keep the parsed annotations of a large file in detkit's cache folder, as plain arrays.
        **kwargs: ``keep_category_ids``, see ``CocoFileDataset``, and what ``DetDataset`` takes.
    """

    def __init__(
        self,
        ann_file: str,
        img_prefix: str = '',
        keypoints: bool = False,
        unlabelled: str = 'drop',
        only_labelled: bool = False,
        cache_annotations: bool = True,
        **kwargs: Any,
    ) -> None:
        check_choice('unlabelled', unlabelled, ('drop', 'keep'))
        self.keypoints = keypoints
        self.unlabelled = unlabelled
        self.only_labelled = only_labelled
        self.cache_annotations = cache_annotations
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
        content = read_annotations(ann_file, self.cache_annotations)
        entries, parts = content.images, content.parts
        categories = check_categories(content.categories, ann_file)
        labels_by_category = self._choose_classes(categories, ann_file)
        num_keypoints = self._count_keypoints(categories, labels_by_category, ann_file) if self.keypoints else None
        images = self._find_images(entries, ann_file)
        num_entries = len(entries) + sum(map(len, parts))
        objects = select_objects(parts, images, labels_by_category, ann_file, num_keypoints)
        self.skipped += objects.skipped
        self.unused += objects.unused
        check_skips(self.skipped, num_entries, self.max_skipped, ann_file, self._correct_folder)
        names = {category['id']: category['name'] for category in categories}
        self._settle_shared_names(names, objects.counts, ann_file)
        self._note_unused(objects, names, images.ids, ann_file)
        return FlatRecords(images.names, images.ids, images.shape_array(), objects.flat)

    def _note_unused(
        self, objects: CocoObjects, names: dict[int | float | str, str], image_ids: Sequence, ann_file: str
    ) -> None:
        """List objects of other classes, and where masks are drawn, objects without an outline."""
        others: Counter[str] = Counter()
        for number, count in objects.other_classes.items():
            others[names[number]] += count
        # A class that is not in the file at all is an error of its own, so a class without objects is not misspelt.
        self.note_other_classes(others, self.metainfo['classes'], ann_file)
        draws_masks = any(isinstance(step, Render) and step.with_masks for step in nested_transforms(self.transforms))
        if draws_masks:
            flat = objects.flat
            rows = np.setdiff1d(np.arange(len(flat.labels)), np.append(flat.ring_owners, flat.rle_owners))
            self.unused += list_skips(
                rows.tolist(),
                lambda i: (ann_file, f'an annotation of image {image_ids[flat.images[i]]}'),
                'an object without an outline: its mask is its box',
            )

    def narrow_records(self, records: FlatRecords) -> FlatRecords:
        """Leave out objects none of whose keypoints is labelled, and images without any other, as far as asked for."""
        if not self.keypoints:
            return records
        ann_file = str(Path(self.data_root) / self.ann_file)
        labelled = (records.objects.keypoints[..., 2] > 0).any(1)
        images, everything = records.images_of_objects(), records
        shown = np.bincount(images[labelled & (images >= 0)], minlength=len(records)) > 0
        if self.only_labelled and not shown.all():
            reason = 'an image without any object that has a labelled keypoint (only_labelled=True)'
            self.unused += list_skips(np.flatnonzero(~shown).tolist(), lambda i: (everything[i].img_path, None), reason)
            records = records.select(np.flatnonzero(shown))
        if self.unlabelled == 'keep' or self.test_mode:
            return records
        keep = labelled | records.objects.ignored
        reason = "an object none of whose keypoints is labelled (unlabelled='keep' trains its box)"
        rows = images[~keep & (images >= 0)].tolist()
        self.unused += list_skips(rows, lambda i: (ann_file, f'an annotation of image {everything[i].img_id}'), reason)
        return records.select_objects(keep)

    def _count_keypoints(
        self, categories: list[dict], labels_by_category: dict[int | float | str, int | None], ann_file: str
    ) -> int:
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
            self.metainfo['skeleton'] = self._read_skeleton(category.get('skeleton') or [], len(names), ann_file)
        self.describe_keypoints(len(names), ann_file)
        return len(names)

    def _read_skeleton(self, pairs: Any, num_keypoints: int, ann_file: str) -> tuple[tuple[int, int], ...]:
        """Return the limbs that are pairs of keypoints, counted from 0; others are not drawn."""
        good = tuple(
            (pair[0] - 1, pair[1] - 1)
            for pair in (pairs if isinstance(pairs, list) else [pairs])
            if isinstance(pair, list)
            and len(pair) == 2
            and all(type(number) is int and 1 <= number <= num_keypoints for number in pair)
        )
        if not isinstance(pairs, list) or len(good) < len(pairs):
            reason = f'a limb that is no pair of keypoints, numbers from 1 to {num_keypoints}'
            self.unused.append(Skip(ann_file, 'skeleton', reason))
        return good
