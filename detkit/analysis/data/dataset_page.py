"""The HTML page of ``dataset_stats``: statistics, charts, and pictures of what may be wrong."""

from __future__ import annotations

from pathlib import Path

from detkit.analysis.data import dataset_charts
from detkit.analysis.data.dataset_pictures import (
    MAX_SHOWN_DUPLICATES,
    issue_pictures,
    near_duplicate_caption,
    near_duplicate_picture,
)
from detkit.analysis.data.dataset_report import class_rows, issue_lines, issue_rows, left_out_lines, split_rows
from detkit.analysis.data.dataset_stats import DatasetStats
from detkit.analysis.data.disagreement_report import add_disagreements
from detkit.analysis.data.label_issues import ISSUE_KINDS
from detkit.analysis.data.near_duplicates import NearDuplicates
from detkit.analysis.data.unusual_sizes import rare_classes
from detkit.analysis.html_page import Cell, HtmlPage
from detkit.utils.numbers import count_text

_LISTED = 200  # rows of a list


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
    page.table(['', *splits], [[row[0], *(Cell(value, value) for value in row[1:])] for row in split_rows(stats)])
    if not stats.classifies:
        page.text('Small, medium and large as COCO has it: areas below 32² pixels, up to 96², above.', note=True)
    _charts(page, stats)
    _page_issues(page, stats, max_pictures)
    _page_near_duplicates(page, stats, max_pictures)
    for own in stats.disagreements:
        add_disagreements(page, own, max_pictures)
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
    columns, rows = class_rows(stats)
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
        'Found by perceptual hashes: copies, also scaled, compressed, a little brighter or cropped, and mirrored or '
        'rotated by 90°, 180° or 270°. Those in more than one split make evaluation look better than it is. Labels are '
        'compared after they are turned like the image; the first image of a group is the one compared with.'
    )
    # Groups that spoil an evaluation come first.
    groups = sorted(stats.near_duplicates, key=_rank)
    page.pictures(
        (near_duplicate_picture(stats, group), near_duplicate_caption(stats, group)) for group in groups[:max_pictures]
    )
    rows = [
        [
            ', '.join(stats.tables[split].name for split in group.splits),
            len(group.members),
            'yes' if group.identical else 'no',
            Cell.wrapped(group.turned),
            Cell.wrapped('. '.join(dict.fromkeys(filter(None, group.differences)))),
            Cell.wrapped(', '.join(stats.path(*member) for member in group.members[:MAX_SHOWN_DUPLICATES])),
        ]
        for group in groups[:_LISTED]
    ]
    page.table(['splits', 'images', 'same file', 'turned', 'labels that differ', 'paths'], rows, _cut_note(len(groups)))


def _rank(group: NearDuplicates) -> tuple[bool, bool, bool, int]:
    """Return a key that puts groups that spoil an evaluation first, then those whose labels differ."""
    return len(group.splits) == 1, group.first_difference is None, not group.turned, -len(group.members)


def _page_issues(page: HtmlPage, stats: DatasetStats, max_pictures: int) -> None:
    if stats.classifies:
        return
    page.heading('Suspicious labels')
    rare = rare_classes(stats.tables, stats.limits)
    if rare:
        page.text(
            f'Sizes and aspects were not compared in {rare} of {len(stats.classes)} classes, which have fewer than '
            f'{stats.limits.min_objects} objects.',
            note=True,
        )
    if not any(stats.label_issues):
        page.text('None.')
        return
    for kind in ISSUE_KINDS:
        own = [(split, one) for split, issues in enumerate(stats.label_issues) for one in issues if one.kind == kind]
        if not own:
            continue
        page.heading(f'{kind}: {count_text(len(own), "label")}', 3)
        meaning = stats.limits.meaning(kind)
        page.text(f'{meaning[0].upper()}{meaning[1:]}.')
        own.sort(key=lambda one: -one[1].deviations)
        page.pictures(issue_pictures(stats, own, max_pictures))
    rows = [
        [row[0], Cell(Path(row[1]).name, row[1]), row[2], row[3], row[4], row[5]]
        for split in range(len(stats.tables))
        for row in issue_rows(stats, split)
    ]
    page.table(['split', 'image', 'object', 'class', 'kind', 'detail'], rows[:_LISTED], _cut_note(len(rows)))


def _page_skips(page: HtmlPage, stats: DatasetStats) -> None:
    rows = [
        [
            table.name,
            what,
            Cell.wrapped(str(skip.path)),
            '' if skip.where is None else str(skip.where),
            skip.count,
            Cell.wrapped(skip.reason),
        ]
        for table in stats.tables
        for what, skips in (('broken', table.skipped), ('not used', table.unused))
        for skip in skips
    ]
    if not rows:
        return
    page.heading('Broken or not used')
    page.text('What training and evaluation do not take from the files, by reason:')
    page.list(line for table in stats.tables for line in left_out_lines(table))
    page.table(['split', 'what', 'file', 'where', 'entries', 'why'], rows[:_LISTED], _cut_note(len(rows)))


def _cut_note(count: int) -> str:
    return f'The first {_LISTED} of {count:,}' if count > _LISTED else ''
