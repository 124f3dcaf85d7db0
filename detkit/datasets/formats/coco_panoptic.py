"""``CocoPanopticDataset``: COCO's panoptic form, a json and one PNG an image."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from detkit.datasets.formats.coco import CocoFileDataset
from detkit.datasets.formats.coco_json import is_box, load_json, read_categories, read_images
from detkit.datasets.skips import Skip, check_skips
from detkit.registry import DATASETS
from detkit.structures.annotations import Annotations, Record, SegmentFile
from detkit.utils.errors import DataError


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
        labels = self._choose_classes(content['categories'], ann_file)
        self._check_stuff(content['categories'], labels, ann_file)
        images = self._find_images(read_images(content['images'], ann_file), ann_file)
        self.skipped += images.skipped
        folder = Path(self.data_root) / self.seg_prefix
        if not folder.is_dir():
            raise DataError(
                f'the folder of panoptic PNGs {str(folder)!r} does not exist. Unpack the archive that came with '
                f'{ann_file!r}, or set seg_prefix (relative to data_root={self.data_root!r}).'
            )
        entries = self._entries_by_image(content, ann_file, set(os.listdir(folder)))
        records = []
        for image_id, path, shape in zip(images.ids, images.names, images.shapes, strict=True):
            entry = entries.get(image_id)
            if entry is not None:
                annotations, ids = self._read_segments(entry, shape, labels, ann_file)
                segments = SegmentFile(str(folder / entry['file_name']), ids)
                records.append(Record(path, image_id, shape, annotations, segments=segments))
        num_entries = len(content['images']) + sum(len(entry['segments_info']) for entry in entries.values())
        check_skips(self.skipped, num_entries, self.max_skipped, ann_file)
        return records

    def _check_stuff(self, categories: list[dict], labels: dict[int, int | None], ann_file: str) -> None:
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

    def _entries_by_image(self, content: dict, ann_file: str, files: set[str]) -> dict[int | str, dict]:
        """Return the usable annotation of each image."""
        listed = {entry.get('id') for entry in content['images']}
        entries: dict[int | str, dict] = {}
        for entry in content['annotations']:
            image_id, name, segments = (entry.get(key) for key in ('image_id', 'file_name', 'segments_info'))
            reason = None
            if image_id not in listed:
                reason = 'of an image that the file does not list'
            elif image_id in entries:
                reason = 'its image has an earlier annotation'
            elif not isinstance(segments, list) or not all(isinstance(segment, dict) for segment in segments):
                reason = 'no list segments_info'
            elif name not in files:
                reason = f'its PNG {name!r} does not exist in {self.seg_prefix!r}'
            if reason is None:
                entries[image_id] = entry
            else:
                self.skipped.append(Skip(ann_file, f'annotation of image {image_id}', reason))
        annotated = {entry.get('image_id') for entry in content['annotations']}
        self.skipped += [
            Skip(ann_file, f'image {image_id}', 'no annotation') for image_id in listed if image_id not in annotated
        ]
        return entries

    def _read_segments(
        self, entry: dict, shape: tuple[int, int], labels: dict[int, int | None], ann_file: str
    ) -> tuple[Annotations, np.ndarray]:
        """Return the objects of an image and their ids in its PNG; those that break a rule are left out alone."""
        kept, seen = [], set()
        for segment in entry['segments_info']:
            number, bbox = segment.get('id'), segment.get('bbox')
            reason = None
            if not isinstance(number, int) or not 0 < number < 1 << 24:
                reason = 'its id is no colour'
            elif number in seen:
                reason = 'the id of an earlier segment'
            elif segment.get('category_id') not in labels:
                reason = f'unknown category {segment.get("category_id")}'
            elif not is_box(bbox) or bbox[2] <= 0 or bbox[3] <= 0:
                reason = f'the box {bbox} is empty or no box'
            if reason is not None:
                where = f'segment {number} of image {entry["image_id"]}'
                self.skipped.append(Skip(ann_file, where, reason))
                continue
            seen.add(number)
            if labels[segment['category_id']] is not None:
                kept.append(segment)
        xywh = np.array([segment['bbox'] for segment in kept], np.float32).reshape(-1, 4)
        bboxes = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], 1)
        np.clip(bboxes, 0, [*shape[::-1], *shape[::-1]], out=bboxes)
        annotations = Annotations(
            labels=np.array([labels[segment['category_id']] for segment in kept], np.int64),
            bboxes=bboxes,
            ignored=np.array([bool(segment.get('iscrowd')) for segment in kept], bool),
            areas=np.array([segment.get('area') or xywh[i, 2:].prod() for i, segment in enumerate(kept)], np.float32),
        )
        return annotations, np.array([segment['id'] for segment in kept], np.int64)


def stuff_labels_of(categories: list[dict], labels: dict[int, int | None], ann_file: str) -> tuple[int, ...]:
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
