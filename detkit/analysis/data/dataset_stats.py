"""Statistics of a config's datasets: classes, sizes, numbers of objects, near duplicates, label issues."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from mmengine.config import Config

from detkit.analysis.data.annotations_table import SplitTable, load_splits
from detkit.analysis.data.label_disagreements import LabelDisagreements
from detkit.analysis.data.label_issues import LabelIssue, Limits, find_label_issues
from detkit.analysis.data.near_duplicates import NearDuplicates, group_near_duplicates, hash_splits
from detkit.analysis.data.unusual_sizes import find_unusual_sizes

# COCO's: of small, medium and large objects, in square pixels.
_SMALL, _MEDIUM = 32**2, 96**2


@dataclass
class DatasetStats:
    """The results of ``dataset_stats``.

    Attributes:
        config: the loaded config.
        tables: table of each split.
        limits: thresholds of the label issues.
        label_issues: issues of each split.
        near_duplicates: groups of images that look the same; None if they were not searched for.
        unreadable: for each split, the indices of images that could not be decoded; empty if images were not read.
        disagreements: labels that a trained model disagrees with, of the splits that one was evaluated on.
    """

    config: Config
    tables: list[SplitTable]
    limits: Limits
    label_issues: list[list[LabelIssue]]
    near_duplicates: list[NearDuplicates] | None
    unreadable: list[np.ndarray] = field(default_factory=list)
    disagreements: list[LabelDisagreements] = field(default_factory=list)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the labels."""
        return self.tables[0].classes

    @property
    def classifies(self) -> bool:
        return all(table.class_labels is not None for table in self.tables)

    def class_problems(self) -> dict[str, list[str]]:
        """Return the classes that training or evaluation has no object of: problem -> their names."""
        seen = [table.class_counts()[1] > 0 for table in self.tables]
        by_name = {table.name: own for table, own in zip(self.tables, seen, strict=True)}
        train = by_name.pop('train', None)
        problems: dict[str, np.ndarray] = {}
        if train is None:
            problems['never seen'] = ~np.logical_or.reduce(seen)
        elif not by_name:
            problems['never seen in train'] = ~train
        else:
            held_out = np.logical_or.reduce(list(by_name.values()))
            names = ' and '.join(by_name)
            problems[f'never seen, in train or {" or ".join(by_name)}'] = ~train & ~held_out
            problems[f'only in {names}, never in train'] = ~train & held_out
            problems[f'only in train, never in {names}'] = train & ~held_out
        return {
            what: [self.classes[label] for label in np.flatnonzero(which)]
            for what, which in problems.items()
            if which.any()
        }

    def path(self, split: int, image: int) -> str:
        return self.tables[split].records[image].img_path


def split_statistics(table: SplitTable) -> dict[str, float | int | str]:
    """Return the statistics of a split by their titles."""
    statistics: dict[str, float | int | str] = {'images': len(table.records)}
    shapes = table.shapes[(table.shapes > 0).all(1)]
    if len(shapes):
        (height, width), count = Counter(map(tuple, shapes.tolist())).most_common(1)[0]
        statistics['most frequent size'] = f'{width} x {height} ({count / len(shapes):.0%})'
        sides = np.sqrt(shapes.prod(1))
        statistics['smallest, largest'] = ', '.join(
            f'{shapes[index][1]} x {shapes[index][0]}' for index in (sides.argmin(), sides.argmax())
        )
    if table.class_labels is None:
        per_image = table.per_image
        areas = (table.areas if table.rbboxes is None else table.sizes_wh.prod(1))[~table.ignored]
        statistics['without an object'] = int((per_image == 0).sum())
        statistics['objects'] = int(per_image.sum())
        statistics['ignored (crowd, difficult)'] = int(table.ignored.sum())
        statistics['objects an image, mean'] = float(per_image.mean())
        statistics['median, most'] = f'{np.median(per_image):g}, {per_image.max()}'
        if len(areas):
            shares = [
                float(which.mean())
                for which in (areas < _SMALL, (areas >= _SMALL) & (areas < _MEDIUM), areas >= _MEDIUM)
            ]
            statistics['small, medium, large'] = ', '.join(f'{share:.0%}' for share in shares)
    counts = table.class_counts()[1]
    statistics['classes seen'] = f'{(counts > 0).sum()} of {len(counts)}'
    if (counts > 0).any():
        statistics['most : least frequent'] = f'{counts.max() / counts[counts > 0].min():.3g} : 1'
    statistics['broken entries left out'] = sum(skip.count for skip in table.skipped)
    statistics['entries not used'] = sum(skip.count for skip in table.unused)
    return statistics


def dataset_stats(
    config: Config,
    splits: Sequence[str] | None = None,
    limits: Limits | None = None,
    find_duplicates: bool = True,
    max_distance: int = 6,
) -> DatasetStats:
    """Compute statistics of the datasets of a config. Images are read only to find near duplicates.

    Args:
        config: loaded.
        splits: names of its data loaders; None for those of training and validation that it has.
        limits: thresholds of label issues.
        find_duplicates: whether to read all images and compare them.
        max_distance: bits by which hashes of such images may differ.

    Raises:
        ConfigError, DataError: see ``load_splits``.
    """
    limits = limits or Limits()
    tables = load_splits(config, splits)
    unusual = find_unusual_sizes(tables, limits)
    issues = [find_label_issues(table, limits) + own for table, own in zip(tables, unusual, strict=True)]
    stats = DatasetStats(config, tables, limits, issues, None)
    if find_duplicates:
        hashes = hash_splits(tables)
        stats.near_duplicates = group_near_duplicates(tables, hashes, max_distance)
        readable = np.split(hashes.readable, np.cumsum([len(table.records) for table in tables])[:-1])
        stats.unreadable = [np.flatnonzero(~own) for own in readable]
    return stats
