"""Reports of ``dataset_stats``: tables for the console, an HTML page, and a CSV file of label issues."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from detkit.analysis.data import dataset_charts
from detkit.analysis.data.annotations_table import SplitTable
from detkit.analysis.data.dataset_stats import DatasetStats, NearDuplicates
from detkit.analysis.data.label_issues import ISSUE_KINDS, LabelIssue
from detkit.analysis.html_page import Cell, HtmlPage
from detkit.datasets.skips import skip_lines
from detkit.datasets.transforms.loading import UnreadableImageError, read_image
from detkit.structures.bboxes import bbox_corners
from detkit.structures.rotated_bboxes import rbbox_corners
from detkit.utils.errors import shorten
from detkit.utils.tables import text_table, write_csv
from detkit.visualization.drawing import draw_instances
from detkit.visualization.sheets import fit, grid, with_caption
from detkit.visualization.windows import Window

_LISTED = 200  # rows of a list on the page
_SHOWN_CLASSES = 20  # rows of the console's table
_SHOWN_SKIPS = 5
_SIDE = 220  # of a picture among those that look the same
_CUT_SIDE = 300  # of an object cut out of its image
_OUTLINE_COLOUR = (255, 255, 0)
_MAX_SHOWN_DUPLICATES = 6  # of a group that are shown

# What a split's list of skipped entries is called.
_LEFT_OUT = 'left out when read'


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
            yield (
                f'{table.name}: {_count(len(unreadable), "image")} cannot be read, such as '
                f'{table.records[int(unreadable[0])].img_path}'
            )
    for table in stats.tables:
        for line in skip_lines([*table.skipped, *table.unused]):
            yield f'{table.name}: {_LEFT_OUT}: {line}'
    for table, own in zip(stats.tables, stats.label_issues, strict=True):
        for kind, number in Counter(issue.kind for issue in own).items():
            yield f'{table.name}: {_count(number, "label")} {kind}: {ISSUE_KINDS[kind]}'
    yield from _near_duplicate_lines(stats)


def _near_duplicate_lines(stats: DatasetStats) -> Iterator[str]:
    for across in (False, True):
        groups = [group for group in stats.near_duplicates or () if (len(group.splits) > 1) == across]
        if not groups:
            continue
        images = sum(len(group.members) for group in groups)
        first = groups[0]
        where = 'across splits' if across else 'within a split'
        yield (
            f'{_count(images, "image")} in {_count(len(groups), "group")} {where} look the same, such as '
            f'{" and ".join(stats.path(*member) for member in first.members[:2])}'
            + ('; evaluation is flattered by them' if across else '')
        )
    conflicts = [group for group in stats.near_duplicates or () if group.labels]
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
    what = 'images' if stats.classifies else 'objects'
    charts = []
    if any(len(table.labels) for table in tables):
        charts += [
            (dataset_charts.plot_per_image(tables), 'Objects an image'),
            (dataset_charts.plot_object_sizes(tables), 'Size of the objects, relative to their image'),
            (dataset_charts.plot_aspects(tables), 'Shape of the objects'),
        ]
        if any(table.rbboxes is not None for table in tables):
            charts.append((dataset_charts.plot_angles(tables), 'Direction of the objects'))
        charts += [
            (dataset_charts.plot_centres(table), f'Centres of the objects, {table.name}')
            for table in tables
            if len(table.labels)
        ]
    charts.append((dataset_charts.plot_image_sizes(tables), 'Size of the images; a larger dot is more images'))
    # The high ones last.
    charts.append(
        (
            dataset_charts.plot_class_counts(
                [stats.class_counts(i)[1] for i in range(len(tables))], splits, stats.classes, what
            ),
            _chart_title(what, len(stats.classes)),
        )
    )
    names = [table.metainfo.get('keypoint_names') for table in tables if table.keypoints is not None]
    if names:
        count = next(table.keypoints.shape[1] for table in tables if table.keypoints is not None)
        charts.append(
            (dataset_charts.plot_keypoints(tables, names[0] or list(map(str, range(count)))), 'Labelled keypoints')
        )
    page.charts(charts)


def _chart_title(what: str, num_classes: int) -> str:
    few = num_classes <= dataset_charts.NAMED_CLASSES
    return f'{what.capitalize()} of {"each class" if few else "the most frequent classes"}'


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
    # What spoils an evaluation comes first.
    groups = sorted(
        stats.near_duplicates, key=lambda group: (len(group.splits) == 1, not group.labels, -len(group.members))
    )
    page.pictures(
        (_near_duplicate_picture(stats, group), _near_duplicate_caption(stats, group))
        for group in groups[:max_pictures]
    )
    rows = [
        [
            ', '.join(stats.tables[split].name for split in group.splits),
            len(group.members),
            'yes' if group.identical else 'no',
            ' / '.join(group.labels),
            _wrapped(', '.join(stats.path(*member) for member in group.members[:_MAX_SHOWN_DUPLICATES])),
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
        page.pictures(_issue_pictures(stats, own, max_pictures))
    rows = [
        [row[0], Cell(Path(row[1]).name, row[1]), row[2], row[3], row[4], row[5]]
        for split in range(len(stats.tables))
        for row in _issue_rows(stats, split)
    ]
    page.table(['split', 'image', 'object', 'class', 'kind', 'detail'], rows[:_LISTED], _cut_note(len(rows)))


def _page_skips(page: HtmlPage, stats: DatasetStats) -> None:
    rows = [
        [table.name, _wrapped(str(skip.path)), '' if skip.where is None else str(skip.where), _wrapped(skip.reason)]
        for table in stats.tables
        for skip in [*table.skipped, *table.unused]
    ]
    if rows:
        page.heading('Left out when read')
        page.text('Training and evaluation never see these entries of the files.')
        page.table(['split', 'file', 'where', 'why'], rows[:_LISTED], _cut_note(len(rows)))


def _wrapped(text: str) -> Cell:
    return Cell(text, text, 'wrap')


def _cut_note(count: int) -> str:
    return f'The first {_LISTED} of {count:,}' if count > _LISTED else ''


def _issue_pictures(
    stats: DatasetStats, own: Sequence[tuple[int, LabelIssue]], most: int
) -> Iterator[tuple[np.ndarray, str]]:
    """Yield the objects, cut out of their images, each with the object that it collides with."""
    for split, one in own[:most]:
        table = stats.tables[split]
        path = stats.path(split, table.images[one.index])
        try:
            img = read_image(path)
        except UnreadableImageError:
            continue  # which is listed as such
        indices = [one.index] if one.other is None else [one.index, one.other]
        yield (
            _object_picture(img, table, indices, stats.classes, one.kind == 'outline'),
            f'{table.name}: {Path(path).name}, object {table.numbers[one.index]}, {one.detail}',
        )


def _object_picture(
    img: np.ndarray, table: SplitTable, indices: list[int], classes: Sequence[str], with_outline: bool
) -> np.ndarray:
    corners = bbox_corners(table.bboxes[indices]) if table.rbboxes is None else rbbox_corners(table.rbboxes[indices])
    points, rings, extra = [corners.reshape(-1, 2)], [], {}
    if with_outline:
        polygons = table.records[table.images[indices[0]]].annotations.polygons
        rings = [
            ring
            for ring, owner in zip(polygons.rings(), polygons.ring_owners, strict=True)
            if owner == table.numbers[indices[0]]
        ]
        points += rings
    if table.keypoints is not None:
        keypoints = table.keypoints[indices]
        points.append(keypoints[keypoints[..., 2] > 0, :2])
    window = Window.around(np.concatenate(points), img.shape[:2], _CUT_SIDE)
    if table.keypoints is not None:
        extra = dict(
            keypoints=np.concatenate([window.moved(keypoints[..., :2]), keypoints[..., 2:]], 2),
            keypoint_info=table.metainfo,
        )
    if table.rbboxes is not None:
        extra['rbboxes'] = window.moved_rbboxes(table.rbboxes[indices])
    moved = window.moved(corners)
    bboxes = np.concatenate([moved.min(1), moved.max(1)], 1)
    picture = draw_instances(window.cut(img), bboxes, table.labels[indices], classes, **extra)
    for ring in rings:
        cv2.polylines(picture, [np.rint(window.moved(ring)).astype(np.int32)], True, _OUTLINE_COLOUR, 2, cv2.LINE_AA)
    return picture


def _near_duplicate_picture(stats: DatasetStats, group: NearDuplicates) -> np.ndarray:
    cells = []
    for split, image in group.members[:_MAX_SHOWN_DUPLICATES]:
        try:
            img = read_image(stats.path(split, image))
        except UnreadableImageError:  # readable to the hash's reader, but cut short
            img = np.full((_SIDE, _SIDE, 3), 114, np.uint8)
        cells.append(with_caption(fit(img, _SIDE), stats.tables[split].name))
    return grid(cells, min(3, len(cells)))


def _near_duplicate_caption(stats: DatasetStats, group: NearDuplicates) -> str:
    names = [Path(stats.path(*member)).name for member in group.members]
    parts = [shorten(names, _MAX_SHOWN_DUPLICATES)]
    parts += ['the same file'] * group.identical + [f'classes {" / ".join(group.labels)}'] * bool(group.labels)
    return ': '.join(parts)


def _split_rows(stats: DatasetStats) -> list[list[str]]:
    statistics = [stats.split_statistics(split) for split in range(len(stats.tables))]
    names = list(dict.fromkeys(name for own in statistics for name in own))
    return [[name, *(_text(own.get(name)) for own in statistics)] for name in names]


def _class_rows(stats: DatasetStats) -> tuple[list[str], list[list]]:
    """Return a row for each class: objects and images of each split, and the median size of the objects."""
    columns, counts = ['class'], []
    for split, table in enumerate(stats.tables):
        images, objects = stats.class_counts(split)
        columns += [f'{table.name} images'] if stats.classifies else [f'{table.name} objects', 'images', 'median size']
        counts.append((images, objects))
    rows = []
    for label, name in enumerate(stats.classes):
        row: list = [name]
        for table, (images, objects) in zip(stats.tables, counts, strict=True):
            row.append(int(objects[label]))
            if not stats.classifies:
                wh = table.sizes_wh[(table.labels == label) & ~table.ignored]
                row += [int(images[label]), float(np.sqrt(np.median(wh.prod(1)))) if len(wh) else None]
        rows.append([value if not isinstance(value, float) else Cell(f'{value:.0f}', value) for value in row])
    return columns, rows


def _class_table(stats: DatasetStats) -> str:
    """Return a table of the most frequent classes."""
    columns, rows = _class_rows(stats)
    counts = np.sum([stats.class_counts(split)[1] for split in range(len(stats.tables))], 0)
    order = np.argsort(-counts, kind='stable')
    order = order[counts[order] > 0]
    shown = [[_text(value) for value in rows[label]] for label in order[:_SHOWN_CLASSES]]
    text = text_table(columns, shown)
    if len(order) == len(rows) <= _SHOWN_CLASSES:
        return text
    most = f'the {len(shown)} most frequent of ' if len(order) > len(shown) else ''
    return f'{text}\n{most}{len(order)} classes that occur, of {len(rows)}'


def _text(value: object) -> str:
    if value is None:
        return '-'
    if isinstance(value, Cell):
        return value.text
    if isinstance(value, float):
        return f'{value:.2f}'
    return f'{value:,}' if isinstance(value, int) else str(value)


def _count(number: int, what: str) -> str:
    return f'{number:,} {what}{"" if number == 1 else "s"}'
