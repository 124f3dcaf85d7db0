"""Checks of a dataset's annotations and images."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from detkit.analysis.runs.checklist import CheckList
from detkit.datasets.skips import Skip, skip_lines
from detkit.datasets.transforms.loading import LoadImageFromFile, UnreadableImageError
from detkit.datasets.wrappers import leaf_datasets
from detkit.structures.annotations import Annotations, Record
from detkit.structures.sample import Sample
from detkit.utils.errors import shorten
from detkit.utils.rng import keyed_rng

# What objects must have to be matched in a certain way, see ``GatheredMetric.needs``: its name, where it comes from.
NEEDS = {
    'segm': ('an outline', "polygons or RLE, such as COCO's instances_*.json or YOLO's segment labels have"),
    'keypoints': ('keypoints', "keypoints, such as COCO's person_keypoints_*.json or YOLO's pose labels have"),
    'rbbox': ('a rotated box', "corners, such as DOTA's labels or YOLO's OBB labels have"),
    'label': ('a class of the whole image', 'a folder a class'),
}

_READERS = 4
_SHOWN = 3


@dataclass
class DatasetSummary:
    """A summary of the annotations of a dataset.

    Attributes:
        classes: names of the labels.
        paths: of the images, each once.
        num_objects: ``(C,)`` objects of each class that count, images of each class for a classifier.
        num_without: of ``NEEDS``, how many of those objects lack it.
        empty: number of images without such an object.
        skipped: what was left out when annotations were read.
    """

    classes: tuple[str, ...]
    paths: set[str] = field(default_factory=set)
    num_objects: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    num_without: dict[str, int] = field(default_factory=lambda: dict.fromkeys(NEEDS, 0))
    empty: int = 0
    skipped: Sequence[Skip] = ()

    @property
    def total(self) -> int:
        return int(self.num_objects.sum())


def records_of(dataset: Any) -> list[Record]:
    """Return the records of all datasets inside this one; none for a dataset without records."""
    return [record for leaf in leaf_datasets(dataset) for record in getattr(leaf, 'records', ())]


def summarize_dataset(dataset: Any) -> DatasetSummary:
    """Summarise the annotations of a dataset without reading its images."""
    classes = tuple(dataset.metainfo['classes'])
    found = DatasetSummary(classes, skipped=(*dataset.skipped, *dataset.unused))
    labels = [np.zeros(0, np.int64)]
    for record in records_of(dataset):
        found.paths.add(record.img_path)
        if record.class_label is not None:
            labels.append(np.array([record.class_label]))
            continue
        counted = ~record.annotations.ignored
        labels.append(record.annotations.labels[counted])
        found.empty += not counted.any()
        for need, count in _lacking(record.annotations, counted).items():
            found.num_without[need] += count
    found.num_objects = np.bincount(np.concatenate(labels), minlength=len(classes))
    return found


def _lacking(objects: Annotations, counted: np.ndarray) -> dict[str, int]:
    outlined = np.zeros(len(objects), bool)
    if objects.polygons is not None:
        outlined[objects.polygons.ring_owners] = True
    if objects.rles is not None:
        outlined |= [rle is not None for rle in objects.rles]
    everyone = int(counted.sum())
    return {
        'segm': int((counted & ~outlined).sum()),
        'keypoints': everyone * (objects.keypoints is None),
        'rbbox': everyone * (objects.rbboxes is None),
        'label': everyone,
    }


def check_needs(checks: CheckList, split: str, found: DatasetSummary, needs: Sequence[str], who: str) -> None:
    """Check that objects have the annotations that a component needs.

    Args:
        split: 'train' or 'val'.
        needs: keys of ``NEEDS``; other needs are always fulfilled.
        who: name of the component, such as 'CocoMetric'.
    """
    for need in dict.fromkeys(needs):
        if need not in NEEDS or not found.total:
            continue
        (what, source), lacking = NEEDS[need], found.num_without[need]
        if lacking == found.total:
            checks.failed(
                f'{split} {_NAMES[need]}',
                f'{who} needs {what} of every object, but none of the {found.total:,} objects of {split} has one',
                f'use data with {source}; or a config and metric of the task that the data are made for',
            )
        elif lacking:
            checks.warned(
                f'{split} {_NAMES[need]}',
                f'{lacking:,} of {found.total:,} objects of {split} lack {what}, '
                f'which {who} needs; only their boxes are known',
                'complete or remove them',
            )


_NAMES = {'segm': 'masks', 'keypoints': 'keypoints', 'rbbox': 'rotated boxes', 'label': 'classes'}


def check_objects(checks: CheckList, split: str, found: DatasetSummary, num_classes: int | None) -> None:
    """Check that there are objects, and as many classes as the head has."""
    title = f'{split} objects'
    if num_classes is not None and num_classes != len(found.classes):
        checks.failed(
            f'{split} classes',
            f'the head has {num_classes} classes, '
            f'the {split} data have {len(found.classes)} ({shorten(found.classes)})',
            'leave model.head.num_classes out, so that it follows the data',
        )
    what = (
        'average precision is -1 whatever the model does, so best.pth would never be chosen'
        if split == 'val'
        else 'there is nothing to learn'
    )
    if not found.total:
        checks.failed(
            title,
            f'the {len(found.paths):,} images of {split} have no object: {what}',
            'are the annotation file, the labels folder and the class names those of these images?',
        )
        return
    present = int((found.num_objects > 0).sum())
    text = f'{found.total:,} objects of {present} of {len(found.classes)} classes; {found.empty:,} images have none'
    if split == 'train' and found.empty > len(found.paths) // 2 > 0:
        checks.warned(title, text, 'are labels missing? Images without objects are trained on as background')
    else:
        checks.passed(title, text)


def check_skipped(checks: CheckList, split: str, found: DatasetSummary) -> None:
    """Report what was skipped in the annotation files."""
    for line in skip_lines(found.skipped):
        checks.warned(f'{split} labels', f'left out: {line}', 'a run lists all of them in skipped.csv')


def check_splits(checks: CheckList, train: DatasetSummary, val: DatasetSummary) -> None:
    """Check that the classes of both datasets agree, and that they share no images."""
    if train.classes != val.classes:
        number = next(
            (i for i, (a, b) in enumerate(zip(train.classes, val.classes, strict=False)) if a != b),
            min(len(train.classes), len(val.classes)),
        )
        checks.failed(
            'classes',
            f'train and val name their classes differently from number {number} on: '
            f'{shorten(train.classes[number:]) or "nothing"} against '
            f'{shorten(val.classes[number:]) or "nothing"}',
            'give both datasets the same metainfo=dict(classes=...)',
        )
        return
    if train.total and val.total:
        unseen = [val.classes[i] for i in np.flatnonzero((val.num_objects > 0) & (train.num_objects == 0))]
        if unseen:
            checks.warned(
                'classes',
                f'val has objects of {len(unseen)} classes that train has none of: {shorten(unseen, 5)}',
                'they cannot be learnt, and lower the mean average precision',
            )
        else:
            checks.passed('classes', f'every class that val measures ({int((val.num_objects > 0).sum())}) is in train')
    both = train.paths & val.paths
    if both:
        checks.warned(
            'splits',
            f'{len(both):,} of {len(val.paths):,} validation images are trained on too, such as {min(both)}',
            'validation metrics then do not measure generalisation',
        )


def check_images(checks: CheckList, split: str, dataset: Any, count: int, seed: int = 0) -> None:
    """Decode a sample of the images.

    Args:
        count: how many; all of them where there are no more.
    """
    records = records_of(dataset)
    if not records or not count:
        return
    chosen = keyed_rng(seed).permutation(len(records))[:count]
    with ThreadPoolExecutor(_READERS) as pool:
        errors = [error for error in pool.map(_read_error, (records[i] for i in chosen)) if error is not None]
    title, text = f'{split} images', f'{len(chosen):,} of {len(records):,} images read'
    if not errors:
        checks.passed(title, text)
        return
    limit = min(getattr(leaf, 'max_skipped', 0.01) for leaf in leaf_datasets(dataset))
    named = '\n'.join(str(error) for error in errors[:_SHOWN])
    text = f'{len(errors)} of a sample of {len(chosen):,} images cannot be read:\n{named}'
    if len(errors) > max(1, limit * len(chosen)) and split == 'train':
        checks.failed(
            title, text, f'repair or remove them: more than max_skipped={limit:g} of the images would end the run'
        )
    else:
        checks.warned(title, text, 'repair or remove them; a run leaves them out and lists them in skipped.csv')


def _read_error(record: Record) -> UnreadableImageError | None:
    try:
        LoadImageFromFile()(Sample(record, keyed_rng(0)))
    except UnreadableImageError as error:
        return error
    return None
