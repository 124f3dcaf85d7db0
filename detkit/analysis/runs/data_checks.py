"""Checks of a dataset's annotations and images."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from detkit.analysis.data.annotations_table import SplitTable
from detkit.analysis.runs.checklist import CheckList
from detkit.datasets.skips import skip_lines
from detkit.datasets.transforms.loading import LoadImageFromFile, UnreadableImageError
from detkit.datasets.wrappers import leaf_datasets, records_of
from detkit.engine.start_notes import NEEDS
from detkit.structures.annotations import Annotations, Record
from detkit.structures.sample import Sample
from detkit.utils.errors import shorten
from detkit.utils.numbers import count_text
from detkit.utils.progress import track
from detkit.utils.rng import keyed_rng

_READERS = 4
_SHOWN = 3


def _count_lacking(table: SplitTable, need: str) -> int:
    """Count the objects without the annotations of one of ``NEEDS``; a classifier's images lack nothing."""
    if table.class_labels is not None:
        return 0
    return sum(int(_lacking(record.annotations, need).sum()) for record in table.records)


def _lacking(objects: Annotations, need: str) -> np.ndarray:
    """Return which of the N objects of an image lack it, ``(N,)`` bool; ignored ones count as complete."""
    counted = ~objects.ignored
    if need == 'keypoints' and objects.keypoints is not None or need == 'rbbox' and objects.rbboxes is not None:
        return np.zeros(len(objects), bool)
    if need == 'segm' and objects.polygons is not None:
        counted[objects.polygons.ring_owners] = False
    if need == 'segm' and objects.rles is not None:
        counted &= [rle is None for rle in objects.rles]
    return counted


def check_needs(checks: CheckList, split: str, table: SplitTable, needs: Sequence[str], who: str) -> None:
    """Check that objects have the annotations that a component needs.

    Args:
        split: 'train' or 'val'.
        needs: keys of ``NEEDS``; other needs are always fulfilled.
        who: name of the component, such as 'CocoMetric'.
    """
    total = table.num_objects
    for need in dict.fromkeys(needs):
        if need not in NEEDS or not total:
            continue
        (what, source), lacking = NEEDS[need], _count_lacking(table, need)
        if lacking == total:
            checks.failed(
                f'{split} {_NAMES[need]}',
                f'{who} needs {what} of every object, but none of the {total:,} objects of {split} has one',
                f'use data with {source}; or a config and metric of the task that the data are made for',
            )
        elif lacking:
            known = 'their boxes are taken as masks' if need == 'segm' else 'only their boxes are known'
            checks.warned(
                f'{split} {_NAMES[need]}',
                f'{lacking:,} of {total:,} objects of {split} lack {what}, which {who} needs; {known}',
                'complete or remove them',
            )


_NAMES = {'segm': 'masks', 'keypoints': 'keypoints', 'rbbox': 'rotated boxes', 'label': 'classes'}


def check_objects(checks: CheckList, split: str, table: SplitTable, num_classes: int | None) -> None:
    """Check that there are objects, and as many classes as the head has."""
    title, counts = f'{split} objects', table.class_counts()[1]
    num_images, empty = len({record.img_path for record in table.records}), int((table.per_image == 0).sum())
    if table.class_labels is not None:
        empty = 0
    if num_classes is not None and num_classes != len(table.classes):
        checks.failed(
            f'{split} classes',
            f'the head has {num_classes} classes, '
            f'the {split} data have {len(table.classes)} ({shorten(table.classes)})',
            'leave model.head.num_classes out, so that it follows the data',
        )
    what = (
        'average precision is -1 whatever the model does, so best.pth would never be chosen'
        if split == 'val'
        else 'there is nothing to learn'
    )
    if not counts.any():
        checks.failed(
            title,
            f'the {num_images:,} images of {split} have no object: {what}',
            'are the annotation file, the labels folder and the class names those of these images?',
        )
        return
    present = int((counts > 0).sum())
    text = f'{counts.sum():,} objects of {present} of {len(table.classes)} classes; {empty:,} images have none'
    if split == 'train' and empty > num_images // 2 > 0:
        checks.warned(title, text, 'are labels missing? Images without objects are trained on as background')
    else:
        checks.passed(title, text)


def check_skipped(checks: CheckList, split: str, table: SplitTable) -> None:
    """Report what was skipped in the annotation files."""
    for line in skip_lines([*table.skipped, *table.unused]):
        checks.warned(f'{split} labels', f'left out: {line}', 'a run lists all of them in skipped.csv')


def check_splits(checks: CheckList, train: SplitTable, val: SplitTable) -> None:
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
    in_train, in_val = train.class_counts()[1] > 0, val.class_counts()[1] > 0
    if in_train.any() and in_val.any():
        unseen = [val.classes[i] for i in np.flatnonzero(in_val & ~in_train)]
        if unseen:
            checks.warned(
                'classes',
                f'val has objects of {count_text(len(unseen), "class", "classes")} that train has none of: '
                f'{shorten(unseen, 5)}',
                'they cannot be learnt, and lower the mean average precision',
            )
        else:
            checks.passed('classes', f'every class that val measures ({in_val.sum()}) is in train')
    trained, validated = ({record.img_path for record in table.records} for table in (train, val))
    both = trained & validated
    if both:
        checks.warned(
            'splits',
            f'{len(both):,} of {len(validated):,} validation images are trained on too, such as {min(both)}',
            'validation metrics then do not measure generalisation',
        )


def check_images(checks: CheckList, split: str, dataset: Any, count: int) -> None:
    """Decode a sample of the images.

    Args:
        count: how many; all of them where there are no more.
    """
    records = records_of(dataset)
    if not records or not count:
        return
    chosen = keyed_rng(0).permutation(len(records))[:count]
    with ThreadPoolExecutor(_READERS) as pool:
        found = track(pool.map(_read_error, (records[i] for i in chosen)), f'decode {split} images', len(chosen))
        errors = [error for error in found if error is not None]
    title, text = f'{split} images', f'{len(chosen):,} of {len(records):,} images read'
    if not errors:
        checks.passed(title, text)
        return
    limit = min(leaf.max_skipped for leaf in leaf_datasets(dataset))
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
