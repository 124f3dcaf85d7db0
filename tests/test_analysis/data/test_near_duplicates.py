"""Leaks between splits: turned copies, and how their labels differ."""

import csv

import cv2
import numpy as np
import pytest
from test_analysis.data.tables import table
from test_analysis.data.test_dataset_stats import CLASSES, config

from detkit.analysis.data.dataset_page import write_page
from detkit.analysis.data.dataset_report import issue_lines, write_issues
from detkit.analysis.data.dataset_stats import dataset_stats
from detkit.analysis.data.near_duplicates import label_difference
from detkit.analysis.data.orientations import orient, orient_bboxes

TRAIN = [[0.1, 0.1, 0.3, 0.6], [0.5, 0.5, 0.9, 0.8]]


@pytest.mark.parametrize('orientation', range(8))
def test_labels_are_turned_like_the_image(orientation):
    size = np.array([200, 100, 200, 100])
    turned_size = np.array([100, 200, 100, 200]) if orientation & 4 else size
    turned = orient_bboxes(np.array(TRAIN), orientation) * turned_size
    train = table(np.array(TRAIN) * size, [0, 1])
    shape = (200, 100) if orientation & 4 else (100, 200)

    def difference(bboxes, labels):
        return label_difference([train, table(bboxes, labels, shape=shape)], (0, 0), (1, 0), orientation)

    assert difference(turned, [0, 1]) == ''
    assert difference(turned[::-1], [1, 0]) == ''
    assert difference(turned, [0, 0]) == 'cat in place of dog'
    assert difference(turned[:1], [0]) == 'missing: dog'
    assert difference([], []) == 'missing: cat, dog'
    assert difference([*turned, [0, 0, 9, 9], [90, 90, 99, 99]], [0, 1, 1, 1]) == 'additional: 2 dog'
    # Labels that were not turned with the image.
    if orientation:
        forgotten = np.array(TRAIN) * turned_size
        assert difference(forgotten, [0, 1]).startswith('missing: cat')


def write(root, name, img, bboxes, labels):
    for kind in ('images', 'labels'):
        (root / kind / name).parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(root / 'images' / f'{name}.png'), img)
    lines = [
        f'{label} {(x0 + x1) / 2} {(y0 + y1) / 2} {x1 - x0} {y1 - y0}'
        for label, (x0, y0, x1, y1) in zip(labels, bboxes, strict=True)
    ]
    (root / 'labels' / f'{name}.txt').write_text('\n'.join(lines))


@pytest.fixture(scope='module')
def stats(tmp_path_factory):
    """Three pictures to train on; two of them again to validate with, one mirrored, one rotated and mislabelled."""
    root = tmp_path_factory.mktemp('leaks')
    for seed in range(3):
        coarse = np.random.default_rng(seed).integers(0, 256, (6, 9, 3), np.uint8)
        img = cv2.resize(coarse, (180, 120), interpolation=cv2.INTER_CUBIC)
        write(root, f'train/{seed}', img, TRAIN, [0, 1])
        for orientation, labels in {1: {1: [0, 1]}, 2: {5: [0, 2]}}.get(seed, {}).items():
            turned = np.ascontiguousarray(np.moveaxis(orient(np.moveaxis(img, 2, 0), orientation), 0, 2))
            write(root, f'val/{seed}', turned, orient_bboxes(np.array(TRAIN), orientation), labels)
    return dataset_stats(config(root))


def test_planted_leaks(stats):
    first, second = stats.near_duplicates
    assert first.members == ((0, 1), (1, 0)) and first.turned == 'mirrored left to right'
    assert first.splits == (0, 1) and first.first_difference is None
    assert second.members == ((0, 2), (1, 1)) and second.turned == 'rotated by 90° clockwise'
    assert second.differences == ('', f'{CLASSES[2]} in place of {CLASSES[1]}')


def test_the_reports_name_the_transformation_and_the_difference(stats, tmp_path):
    lines = '\n'.join(issue_lines(stats))
    assert '4 images in 2 groups across splits look the same once mirrored or rotated, such as ' in lines
    assert '0.png (mirrored left to right); evaluation' not in lines
    assert '1.png (mirrored left to right); evaluation is flattered by them' in lines
    assert 'have different labels, such as 2.png of val: bird in place of dog' in lines
    write_issues(stats, tmp_path / 'found.csv')
    rows = list(csv.DictReader((tmp_path / 'found.csv').open()))
    assert [row['detail'] for row in rows if row['split'] == 'val'] == [
        'group 1 of 2, mirrored left to right',
        'group 2 of 2, rotated by 90° clockwise, labels differ (bird in place of dog)',
    ]
    write_page(stats, tmp_path / 'page.html')
    page = (tmp_path / 'page.html').read_text()
    assert '2.png; rotated by 90° clockwise; labels differ (2.png of val: bird in place of dog)' in page
