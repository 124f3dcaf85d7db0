"""Reports of ``dataset_stats``: tables for the console, and a CSV file of label issues and near duplicates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np

from detkit.analysis.data.annotations_table import SplitTable
from detkit.analysis.data.dataset_pictures import difference_text
from detkit.analysis.data.dataset_stats import DatasetStats, split_statistics
from detkit.analysis.data.disagreement_report import disagreement_lines, disagreement_rows
from detkit.analysis.data.near_duplicates import NearDuplicates
from detkit.analysis.data.orientations import ORIENTATION_NAMES
from detkit.analysis.html_page import Cell
from detkit.datasets.skips import skip_lines
from detkit.utils.errors import shorten
from detkit.utils.numbers import count_text
from detkit.utils.tables import text_table, write_csv

_SHOWN_CLASSES = 20  # rows of the console's table


def console_report(stats: DatasetStats) -> str:
    """Return tables of statistics and classes, and a list of possible problems."""
    splits = [table.name for table in stats.tables]
    parts = [text_table(['', *splits], split_rows(stats)), _class_table(stats), 'to look at:']
    parts += [f'  {line}' for line in issue_lines(stats)] or ['  nothing']
    return '\n'.join(parts)


def issue_lines(stats: DatasetStats) -> Iterator[str]:
    """Yield a sentence on each possible problem."""
    for what, names in stats.class_problems().items():
        number = f'{len(names)} classes' if len(names) > 1 else '1 class'
        yield f'{number} {what}: {shorten(names, 8)}'
    for table, unreadable in zip(stats.tables, stats.unreadable, strict=False):
        if len(unreadable):
            path = table.records[int(unreadable[0])].img_path
            yield f'{table.name}: {count_text(len(unreadable), "image")} cannot be read, such as {path}'
    for table in stats.tables:
        yield from left_out_lines(table)
    for table, own in zip(stats.tables, stats.label_issues, strict=True):
        for kind, number in Counter(issue.kind for issue in own).items():
            yield f'{table.name}: {count_text(number, "label")} {kind}: {stats.limits.meaning(kind)}'
    yield from _near_duplicate_lines(stats)
    for own in stats.disagreements:
        yield from disagreement_lines(own)


def left_out_lines(table: SplitTable) -> Iterator[str]:
    """Yield a line for each reason for which entries of a split's files are broken or not used."""
    for what, skips in (('broken, left out', table.skipped), ('not used', table.unused)):
        for line in skip_lines(skips):
            yield f'{table.name}: {what}: {line}'


def _near_duplicate_lines(stats: DatasetStats) -> Iterator[str]:
    found = stats.near_duplicates or ()
    for across in (False, True):
        groups = [group for group in found if (len(group.splits) > 1) == across]
        for turned in (False, True):
            own = [group for group in groups if bool(group.turned) == turned]
            if not own:
                continue
            images = count_text(sum(len(group.members) for group in own), 'image')
            yield (
                f'{images} in {count_text(len(own), "group")} {"across splits" if across else "within a split"} look '
                f'the same{" once mirrored or rotated" * turned}, such as {_example(stats, own[0])}'
                + '; evaluation is flattered by them'
                * across
            )
    differing = [group for group in found if group.first_difference is not None]
    if differing:
        yield (
            f'{count_text(len(differing), "group")} of images that look the same have different labels, such as '
            f'{difference_text(stats, differing[0])}'
        )


def _example(stats: DatasetStats, group: NearDuplicates) -> str:
    """Return the paths of the first image and of one that is turned or in another split, if there is one."""
    rank = [
        (orientation != 0, split != group.members[0][0])
        for (split, _), orientation in zip(group.members, group.orientations, strict=True)
    ]
    other = max(range(1, len(rank)), key=lambda index: rank[index])
    orientation = group.orientations[other]
    return f'{stats.path(*group.members[0])} and {stats.path(*group.members[other])}' + (
        f' ({ORIENTATION_NAMES[orientation]})' if orientation else ''
    )


def write_issues(stats: DatasetStats, path: str | Path) -> int:
    """Write a CSV file of all label issues, near-duplicate images and disagreements with a model.

    Columns: split, image, object (its number in the image, from 0; empty for an image or one that was overlooked),
    class, kind, detail, and of disagreements score and image score, 0 to 1, see ``LabelDisagreements``.

    Returns:
        the number of rows.
    """
    rows = [row for split in range(len(stats.tables)) for row in issue_rows(stats, split)]
    for number, group in enumerate(stats.near_duplicates or (), 1):
        detail = f'group {number} of {len(group.members)}{", the same file" if group.identical else ""}'
        for (split, image), orientation, difference in zip(
            group.members, group.orientations, group.differences, strict=True
        ):
            table = stats.tables[split]
            name = '' if table.class_labels is None else stats.classes[table.class_labels[image]]
            turned = f', {ORIENTATION_NAMES[orientation]}' if orientation else ''
            differs = f', labels differ ({difference})' if difference else ''
            rows.append([table.name, stats.path(split, image), '', name, 'near duplicate', detail + turned + differs])
    rows += [row for own in stats.disagreements for row in disagreement_rows(own)]
    columns = ['split', 'image', 'object', 'class', 'kind', 'detail', 'score', 'image score']
    write_csv(path, columns, (row + [None] * (len(columns) - len(row)) for row in rows))
    return len(rows)


def issue_rows(stats: DatasetStats, split: int) -> Iterator[list]:
    """Yield the row of the CSV file of each label issue of a split."""
    table = stats.tables[split]
    for one in stats.label_issues[split]:
        names = [stats.classes[table.labels[index]] for index in (one.index, one.other) if index is not None]
        yield [
            table.name,
            stats.path(split, table.images[one.index]),
            int(table.numbers[one.index]),
            ' / '.join(dict.fromkeys(names)),
            one.kind,
            one.detail,
        ]


def split_rows(stats: DatasetStats) -> list[list[str]]:
    """Return a row for each statistic: its title and its value in each split."""
    statistics = [split_statistics(table) for table in stats.tables]
    names = list(dict.fromkeys(name for own in statistics for name in own))
    return [[name, *(_text(own.get(name)) for own in statistics)] for name in names]


def class_rows(stats: DatasetStats) -> tuple[list[str], list[list]]:
    """Return a row for each class: objects and images of each split, and the median size of the objects."""
    columns, per_split = ['class'], []
    for table in stats.tables:
        images, objects = table.class_counts()
        if stats.classifies:
            columns.append(f'{table.name} images')
            per_split.append([[count] for count in images.tolist()])
            continue
        columns += [f'{table.name} objects', 'images', 'median size']
        areas, labels = table.sizes_wh.prod(1)[~table.ignored], table.labels[~table.ignored]
        sizes = [_side(areas[labels == label]) for label in range(len(stats.classes))]
        per_split.append(list(zip(objects.tolist(), images.tolist(), sizes, strict=True)))
    return columns, [[name, *chain(*own)] for name, *own in zip(stats.classes, *per_split, strict=True)]


def _side(areas: np.ndarray) -> Cell | None:
    """Return the side of a square of the median area; None without objects."""
    side = float(np.sqrt(np.median(areas))) if len(areas) else None
    return None if side is None else Cell(f'{side:.0f}', side)


def _class_table(stats: DatasetStats) -> str:
    """Return a table of the most frequent classes."""
    columns, rows = class_rows(stats)
    counts = np.sum([table.class_counts()[1] for table in stats.tables], 0)
    order = np.argsort(-counts, kind='stable')
    order = order[counts[order] > 0]
    shown = [[_text(value) for value in rows[label]] for label in order[:_SHOWN_CLASSES]]
    text = text_table(columns, shown)
    if len(order) == len(rows) <= _SHOWN_CLASSES:
        return text
    most = f'the {len(shown)} most frequent of ' if len(order) > len(shown) else ''
    return f'{text}\n{most}{len(order)} classes that occur, of {len(rows)}'


def _text(value: object) -> str:
    """Format a cell for the console."""
    if value is None:
        return '-'
    if isinstance(value, float):
        return f'{value:.2f}'
    return f'{value:,}' if isinstance(value, int) else str(value)
