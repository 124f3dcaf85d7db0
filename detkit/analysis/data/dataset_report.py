"""Reports of ``dataset_stats``: tables for the console, an HTML page, and a CSV file of label issues."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np

from detkit.analysis.data import dataset_charts
from detkit.analysis.data.dataset_pictures import (
    MAX_SHOWN_DUPLICATES,
    issue_pictures,
    near_duplicate_caption,
    near_duplicate_picture,
)
from detkit.analysis.data.dataset_stats import DatasetStats, split_statistics
from detkit.analysis.data.label_issues import ISSUE_KINDS
from detkit.analysis.html_page import Cell, HtmlPage
from detkit.datasets.skips import Skip, skip_lines
from detkit.utils.errors import shorten
from detkit.utils.tables import text_table, write_csv

_LISTED = 200  # rows of a list on the page
_SHOWN_CLASSES = 20  # rows of the console's table


def console_report(stats: DatasetStats) -> str:
    """Return tables of statistics and classes, and a list of possible problems."""
    splits = [table.name for table in stats.tables]
    parts = [text_table(['', *splits], _split_rows(stats)), _class_table(stats), 'to look at:']
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
            yield f'{table.name}: {_count(len(unreadable), "image")} cannot be read, such as {path}'
    for table in stats.tables:
        for line in skip_lines([*table.skipped, *table.unused]):
            yield f'{table.name}: left out when read: {line}'
    for table, own in zip(stats.tables, stats.label_issues, strict=True):
        for kind, number in Counter(issue.kind for issue in own).items():
            yield f'{table.name}: {_count(number, "label")} {kind}: {ISSUE_KINDS[kind]}'
    yield from _near_duplicate_lines(stats)


def _near_duplicate_lines(stats: DatasetStats) -> Iterator[str]:
    found = stats.near_duplicates or ()
    for across in (False, True):
        groups = [group for group in found if (len(group.splits) > 1) == across]
        if groups:
            images = _count(sum(len(group.members) for group in groups), 'image')
            where = 'across splits' if across else 'within a split'
            example = ' and '.join(stats.path(*member) for member in groups[0].members[:2])
            yield (
                f'{images} in {_count(len(groups), "group")} {where} look the same, such as {example}'
                + '; evaluation is flattered by them' * across
            )
    conflicts = [group for group in found if group.labels]
    if conflicts:
        yield (
            f'{_count(len(conflicts), "group")} of images that look the same have different classes, such as '
            f'{" and ".join(conflicts[0].labels)}'
        )


def write_issues(stats: DatasetStats, path: str | Path) -> int:
    """Write a CSV file of all label issues and near-duplicate images.

    Columns: split, image, object (its number in the image, from 0; empty for an image), class, kind, detail.

    Returns:
        the number of rows.
    """
    rows = [row for split in range(len(stats.tables)) for row in _issue_rows(stats, split)]
    for number, group in enumerate(stats.near_duplicates or (), 1):
        detail = f'group {number} of {len(group.members)}{", the same file" if group.identical else ""}'
        for split, image in group.members:
            table = stats.tables[split]
            name = '' if table.class_labels is None else stats.classes[table.class_labels[image]]
            rows.append([table.name, stats.path(split, image), '', name, 'near duplicate', detail])
    write_csv(path, ['split', 'image', 'object', 'class', 'kind', 'detail'], rows)
    return len(rows)


def _issue_rows(stats: DatasetStats, split: int) -> Iterator[list]:
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


def write_page(stats: DatasetStats, path: str | Path, max_pictures: int = 12) -> None:
    """Write the whole report as one HTML page.

    Args:
        stats: the statistics.
        path: the page.
        max_pictures: pictures of each kind of issue.
    """
    name = Path(stats.config.filename).stem
    splits = [table.name for table in stats.tables]
    page = HtmlPage(f'Data of {name}', f'{" and ".join(splits)} as {stats.config.filename} reads them.')
    page.heading('To look at')
    found = list(issue_lines(stats))
    if found:
        page.list(found)
    else:
        page.text('Nothing that looks wrong.')
    page.heading('Statistics')
    page.table(['', *splits], [[row[0], *(Cell(value, value) for value in row[1:])] for row in _split_rows(stats)])
    if not stats.classifies:
        page.text('Small, medium and large as COCO has it: below 32² pixels, up to 96², above.', note=True)
    _charts(page, stats)
    _page_issues(page, stats, max_pictures)
    _page_near_duplicates(page, stats, max_pictures)
    _page_skips(page, stats)
    _page_classes(page, stats)
    page.save(path)


def _charts(page: HtmlPage, stats: DatasetStats) -> None:
    tables, splits = stats.tables, [table.name for table in stats.tables]
    with_objects = [table for table in tables if len(table.labels)]
    charts = []
    if with_objects:
        charts += [
            (dataset_charts.plot_per_image(tables), 'Objects an image'),
            (dataset_charts.plot_object_sizes(tables), 'Size of the objects, relative to their image'),
            (dataset_charts.plot_aspects(tables), 'Shape of the objects'),
        ]
        if any(table.rbboxes is not None for table in tables):
            charts.append((dataset_charts.plot_angles(tables), 'Direction of the objects'))
        for table in with_objects:
            charts.append((dataset_charts.plot_centres(table), f'Centres of the objects, {table.name}'))
    charts.append((dataset_charts.plot_image_sizes(tables), 'Size of the images; a larger dot is more images'))
    # The high ones last.
    what = 'images' if stats.classifies else 'objects'
    counts = [table.class_counts()[1] for table in tables]
    which = 'each class' if len(stats.classes) <= dataset_charts.NAMED_CLASSES else 'the most frequent classes'
    chart = dataset_charts.plot_class_counts(counts, splits, stats.classes, what)
    charts.append((chart, f'{what.capitalize()} of {which}'))
    posed = [table for table in tables if table.keypoints is not None]
    if posed:
        names = posed[0].metainfo.get('keypoint_names') or list(map(str, range(posed[0].keypoints.shape[1])))
        charts.append((dataset_charts.plot_keypoints(tables, names), 'Labelled keypoints'))
    page.charts(charts)


def _page_classes(page: HtmlPage, stats: DatasetStats) -> None:
    page.heading('Classes')
    for what, names in stats.class_problems().items():
        page.text(f'{what.capitalize()}: {", ".join(names)}.')
    columns, rows = _class_rows(stats)
    page.table(columns, rows)
    if not stats.classifies:
        page.text('The median size is the side, in pixels, of a square of the median area.', note=True)


def _page_near_duplicates(page: HtmlPage, stats: DatasetStats, max_pictures: int) -> None:
    if stats.near_duplicates is None:
        return
    page.heading('Images that look the same')
    if not stats.near_duplicates:
        page.text('None.')
        return
    page.text(
        'Found by perceptual hashes: copies, also scaled, compressed, a little brighter or cropped. Those in '
        'more than one split make evaluation look better than it is.'
    )
    # Groups that spoil an evaluation come first.
    groups = sorted(
        stats.near_duplicates, key=lambda group: (len(group.splits) == 1, not group.labels, -len(group.members))
    )
    page.pictures(
        (near_duplicate_picture(stats, group), near_duplicate_caption(stats, group)) for group in groups[:max_pictures]
    )
    rows = [
        [
            ', '.join(stats.tables[split].name for split in group.splits),
            len(group.members),
            'yes' if group.identical else 'no',
            ' / '.join(group.labels),
            Cell.wrapped(', '.join(stats.path(*member) for member in group.members[:MAX_SHOWN_DUPLICATES])),
        ]
        for group in groups[:_LISTED]
    ]
    page.table(['splits', 'images', 'same file', 'different classes', 'paths'], rows, _cut_note(len(groups)))


def _page_issues(page: HtmlPage, stats: DatasetStats, max_pictures: int) -> None:
    if stats.classifies:
        return
    page.heading('Suspicious labels')
    if not any(stats.label_issues):
        page.text('None.')
        return
    for kind, meaning in ISSUE_KINDS.items():
        own = [(split, one) for split, issues in enumerate(stats.label_issues) for one in issues if one.kind == kind]
        if not own:
            continue
        page.heading(f'{kind}: {_count(len(own), "label")}', 3)
        page.text(f'{meaning[0].upper()}{meaning[1:]}.')
        page.pictures(issue_pictures(stats, own, max_pictures))
    rows = [
        [row[0], Cell(Path(row[1]).name, row[1]), row[2], row[3], row[4], row[5]]
        for split in range(len(stats.tables))
        for row in _issue_rows(stats, split)
    ]
    page.table(['split', 'image', 'object', 'class', 'kind', 'detail'], rows[:_LISTED], _cut_note(len(rows)))


def _page_skips(page: HtmlPage, stats: DatasetStats) -> None:
    rows = [
        [
            table.name,
            Cell.wrapped(str(skip.path)),
            '' if skip.where is None else str(skip.where),
            Cell.wrapped(skip.reason),
        ]
        for table in stats.tables
        for skip in [*table.skipped, *table.unused]
    ]
    if rows:
        page.heading('Left out when read')
        page.text('Training and evaluation never see these entries of the files.')
        page.table(['split', 'file', 'where', 'why'], rows[:_LISTED], _cut_note(len(rows)))


def _where(skip: Skip) -> str:
    return '' if skip.where is None else str(skip.where)


def _cut_note(count: int) -> str:
    return f'The first {_LISTED} of {count:,}' if count > _LISTED else ''


def _split_rows(stats: DatasetStats) -> list[list[str]]:
    statistics = [split_statistics(table) for table in stats.tables]
    names = list(dict.fromkeys(name for own in statistics for name in own))
    return [[name, *(_text(own.get(name)) for own in statistics)] for name in names]


def _class_rows(stats: DatasetStats) -> tuple[list[str], list[list]]:
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
    columns, rows = _class_rows(stats)
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


def _count(number: int, what: str) -> str:
    return f'{number:,} {what}{"" if number == 1 else "s"}'
