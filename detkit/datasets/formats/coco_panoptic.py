"""``CocoPanopticDataset``: COCO's panoptic form, a json and one PNG an image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from detkit.datasets.formats.coco import CocoFileDataset
from detkit.datasets.formats.coco_columns import is_box
from detkit.datasets.formats.coco_ids import typed_id
from detkit.datasets.formats.coco_images import CocoImages
from detkit.datasets.formats.coco_json import check_categories, is_id, load_json, read_categories, show
from detkit.datasets.formats.coco_segmentations import is_number
from detkit.datasets.path_finder import PathFinder
from detkit.datasets.skips import Skip, check_skips
from detkit.registry import DATASETS
from detkit.structures.annotations import Annotations, Record, SegmentFile
from detkit.utils.errors import DataError, absence


@DATASETS.register_module()
class CocoPanopticDataset(CocoFileDataset):
    """Images divided into segments: things, which can be counted, and stuff (sky, grass), one segment a class.

    An object is a segment: label, box, area, and whether it is a crowd (``ignored``). Its bitmap is a colour of the
    image's PNG, which ``LoadSegments`` reads when the sample is made. Classes are chosen as by ``CocoDataset``;
    ``metainfo['stuff_labels']`` are the labels of the classes that are no things, by the json's ``isthing``;
    a config may state them, also of classes that the file has not. Pixels of no segment, and segments of classes not
    asked for, count neither way.

    Args:
        ann_file: the json, for example ``annotations/panoptic_train2017.json``.
        img_prefix: the folder of the images, relative to ``data_root``.
        seg_prefix: the folder of the PNGs, relative to ``data_root``; None: named as ``ann_file`` without '.json'.
        **kwargs: ``keep_category_ids``, see ``CocoFileDataset``, and what ``DetDataset`` takes.
    """

    metainfo_keys = (*CocoFileDataset.metainfo_keys, 'stuff_labels')

    def __init__(self, ann_file: str, img_prefix: str = '', seg_prefix: str | None = None, **kwargs: Any) -> None:
        self.seg_prefix = str(Path(ann_file).with_suffix('')) if seg_prefix is None else seg_prefix
        super().__init__(ann_file, img_prefix, **kwargs)

    @classmethod
    def peek(cls, cfg: Mapping[str, Any]) -> dict[str, Any]:
        known = super().peek(cfg)
        path = Path(cfg.get('data_root') or '') / str(cfg.get('ann_file'))
        if path.is_file() and 'stuff_labels' not in known:
            labels = {number: label for label, number in enumerate(known['category_ids'])}
            single = bool(cfg.get('single_class'))
            known['stuff_labels'] = () if single else stuff_labels_of(read_categories(str(path)), labels, str(path))
        return known

    def load_records(self) -> list[Record]:
        ann_file = str(Path(self.data_root) / self.ann_file)
        content = load_json(ann_file)
        categories = check_categories(content['categories'], ann_file)
        labels = self._choose_classes(categories, ann_file)
        self._check_stuff(categories, labels, ann_file)
        images = self._find_images(content['images'], ann_file)
        folder = Path(self.data_root) / self.seg_prefix
        if not folder.is_dir():
            raise DataError(
                f'the folder of panoptic PNGs {str(folder)!r} {absence(folder)}. Unpack the archive that came with '
                f'{ann_file!r}, or set seg_prefix (relative to data_root={self.data_root!r}).'
            )
        self._names = {category['id']: category['name'] for category in categories}
        self._others: Counter[str] = Counter()
        self._counts: Counter[int | float | str] = Counter()
        entries = self._entries_by_image(content['annotations'], images, ann_file, PathFinder(folder))
        records = []
        for image_id, path, shape in zip(images.ids, images.names, images.shapes, strict=True):
            if image_id in entries:
                segments, png = entries[image_id]
                annotations, ids = self._read_segments(segments, image_id, shape, labels, ann_file)
                records.append(Record(path, image_id, shape, annotations, segments=SegmentFile(png, ids)))
        num_entries = len(content['images']) + sum(len(segments) for segments, _ in entries.values())
        check_skips(self.skipped, num_entries, self.max_skipped, ann_file, self._correct_folder)
        self._settle_shared_names(self._names, self._counts, ann_file)
        self.note_other_classes(self._others, self.metainfo['classes'], ann_file)
        return records

    def _check_stuff(self, categories: list[dict], labels: dict[int | float | str, int | None], ann_file: str) -> None:
        if self.single_class:
            self.metainfo['stuff_labels'] = ()
            return
        found = stuff_labels_of(categories, labels, ann_file)
        stated = self.metainfo.setdefault('stuff_labels', found)
        wrong = set(found) ^ (set(stated) & {label for label in labels.values() if label is not None})
        if wrong:
            label = min(wrong)
            verb, kind = ('lacks', 'stuff') if label in found else ('has', 'a thing')
            raise DataError(
                f'metainfo.stuff_labels {verb} {label} ({self.metainfo["classes"][label]!r}), which is {kind} in '
                f'{ann_file!r}. Leave stuff_labels out, so that it follows the file.'
            )

    def _entries_by_image(
        self, annotations: list, images: CocoImages, ann_file: str, finder: PathFinder
    ) -> dict[int | float | str, tuple[list[dict], str]]:
        """Return the segments and the PNG of each image that has both."""
        entries: dict[int | float | str, tuple[list[dict], str]] = {}
        annotated = set()
        for number, entry in enumerate(annotations):
            if not isinstance(entry, dict):
                self.skipped.append(Skip(ann_file, f'annotation number {number}', 'no mapping'))
                continue
            image_id, name, segments = (entry.get(key) for key in ('image_id', 'file_name', 'segments_info'))
            png = finder.find(name) if isinstance(name, str) and name else None
            reason = None
            if not is_id(image_id) or image_id not in images.listed:
                reason = f'of an image that the file does not list: image_id {typed_id(image_id)}'
            elif image_id in annotated:
                reason = 'its image has an earlier annotation'
            elif not isinstance(segments, list) or not all(isinstance(segment, dict) for segment in segments):
                reason = 'no list segments_info'
            elif png is None:
                reason = f'its PNG {show(name)!r} does not exist in {self.seg_prefix!r}'
            else:
                entries[image_id] = segments, png
            if is_id(image_id):
                annotated.add(image_id)
            if reason is not None:
                kind = reason.partition(':')[0] if png is not None else 'its PNG does not exist'
                self.skipped.append(Skip(ann_file, f'annotation of image {show(image_id)}', reason, kind))
        self.skipped += [
            Skip(ann_file, f'image {image_id}', 'no annotation') for image_id in images.ids if image_id not in annotated
        ]
        return entries

    def _read_segments(
        self,
        segments: list[dict],
        image_id: int | float | str,
        shape: tuple[int, int],
        labels: dict[int | float | str, int | None],
        ann_file: str,
    ) -> tuple[Annotations, np.ndarray]:
        """Return the objects of an image and their ids in its PNG; those that break a rule are left out alone."""
        kept, seen = [], set()
        for segment in segments:
            number, bbox, category_id = (segment.get(key) for key in ('id', 'bbox', 'category_id'))
            reason, kind = None, ''
            if type(number) is not int or not 0 < number < 1 << 24:
                reason = 'its id is no colour'
            elif number in seen:
                reason = 'the id of an earlier segment'
            elif not is_id(category_id) or category_id not in labels:
                reason, kind = f'unknown category {typed_id(category_id)}', 'an unknown category'
            elif not is_box(bbox) or bbox[2] <= 0 or bbox[3] <= 0:
                reason, kind = f'the box {show(bbox)} is empty or no box', 'a box that is empty or none'
            if reason is not None:
                where = f'segment {show(number)} of image {image_id}'
                self.skipped.append(Skip(ann_file, where, reason, kind))
                continue
            seen.add(number)
            if labels[category_id] is None:
                self._others[self._names[category_id]] += 1
            else:
                self._counts[category_id] += 1
                kept.append(segment)
        xywh = np.array([segment['bbox'] for segment in kept], np.float32).reshape(-1, 4)
        bboxes = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], 1)
        np.clip(bboxes, 0, [*shape[::-1], *shape[::-1]], out=bboxes)
        annotations = Annotations(
            labels=np.array([labels[segment['category_id']] for segment in kept], np.int64),
            bboxes=bboxes,
            ignored=np.array([bool(segment.get('iscrowd')) for segment in kept], bool),
            areas=np.array([_area(segment) for segment in kept], np.float32),
        )
        return annotations, np.array([segment['id'] for segment in kept], np.int64)


def _area(segment: dict) -> float:
    area = segment.get('area')
    return area if is_number(area) and area > 0 else segment['bbox'][2] * segment['bbox'][3]


def stuff_labels_of(
    categories: list[dict], labels: dict[int | float | str, int | None], ann_file: str
) -> tuple[int, ...]:
    """Return the labels of a file's categories that are no things, ascending.

    Raises:
        DataError: the file does not say which are.
    """
    for category in categories:
        if 'isthing' not in category:
            raise DataError(
                f'the category {category["name"]!r} of {ann_file!r} does not say isthing, as panoptic files do. '
                'A json of instances is read by CocoDataset.'
            )
    stuff = (labels.get(category['id']) for category in categories if not category['isthing'])
    return tuple(sorted({label for label in stuff if label is not None}))
