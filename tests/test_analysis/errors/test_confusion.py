"""The confusion matrix: numbers, chart and files."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
from test_analysis.models import answers, model
from test_analysis.results import CLASSES, cells, one_image, random_results, rotated, rows_of, seen, with_keypoints

from detkit.analysis.errors.confusion import (
    confusion_matrix,
    pair_up,
    plot_confusion,
    write_confusion,
    write_confusion_matrix,
)

WEATHER = ('cloudy', 'rain', 'shine', 'sunrise')


def test_confusion_by_hand():
    result = one_image(
        [[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10], [60, 0, 80, 10]],
        [0, 1, 2, 2],
        [[0, 0, 10, 10], [20, 0, 30, 9], [100, 0, 110, 10], [40, 0, 50, 10], [60, 0, 70, 10]],
        [0, 2, 1, 2, 0],
        [0.9, 0.8, 0.7, 0.1, 0.6],
        ignored=[False, False, False, True],
    )
    expected = np.zeros((4, 4), int)
    expected[0, 0] = 1  # right
    expected[1, 2] = 1  # another class
    expected[3, 1] = 1  # of background
    expected[2, 3] = 1  # the prediction at the third is too unsure
    # The last one lies on an ignored object.
    np.testing.assert_array_equal(confusion_matrix([result], 3), expected)


def test_an_object_without_visible_keypoints_is_neither_missed_nor_a_mistake_to_find():
    bboxes = [[0, 0, 50, 50], [200, 200, 250, 250], [0, 200, 50, 250]]
    (result,) = with_keypoints([one_image(bboxes, [0, 0, 1], bboxes[:2], [0, 0], [0.9, 0.8])])
    result.gt_instances.keypoints[1:, :, 2] = 0
    np.testing.assert_array_equal(confusion_matrix([result], 2, 'keypoints'), np.diag([1, 0, 0]))


def test_the_largest_overlaps_are_paired_first():
    np.testing.assert_array_equal(pair_up(np.array([[0.6, 0.9], [0.7, 0.8]]), 0.5), [[0, 1], [1, 0]])
    assert pair_up(np.zeros((0, 3)), 0.5).shape == (0, 2)


@pytest.mark.parametrize('kind', ['bbox', 'rbbox'])
def test_rows_and_columns_add_up(kind):
    results = random_results(num_images=20)
    results = rotated(results) if kind == 'rbbox' else results
    counts = confusion_matrix(results, 3, kind, score_thr=0)
    objects = np.bincount(
        np.concatenate([r.gt_instances.labels[~r.gt_instances.ignored] for r in results]), minlength=3
    )
    predictions = np.bincount(np.concatenate([r.pred_instances.labels for r in results]), minlength=3)
    np.testing.assert_array_equal(counts[:3].sum(1), objects)
    assert (counts[:, :3].sum(0) <= predictions).all()  # some lie on ignored objects
    assert np.trace(counts[:3, :3]) > objects.sum() / 3


def test_each_line_on_what_was_counted_has_a_line_of_the_title():
    axes = plot_confusion(np.eye(2, dtype=int), ('a', 'b'), 'scores from 0.25\nof $x$').axes[0]
    assert axes.get_title().splitlines()[1:] == ['scores from 0.25', r'of \$x\$']
    assert len(plot_confusion(np.eye(2, dtype=int), ('a', 'b')).axes[0].get_title().splitlines()) == 1


def test_confusion_as_numbers_and_picture(tmp_path: Path):
    confusion = np.array([[5, 1, 0, 0], [0, 0, 0, 0], [0, 2, 7, 0], [0, 0, 0, 3]])
    write_confusion(confusion, WEATHER, tmp_path / 'out')
    with open(tmp_path / 'out' / 'confusion_matrix.csv', newline='') as file:
        rows = list(csv.reader(file))
    assert rows[0][1:] == list(WEATHER) and [row[0] for row in rows[1:]] == list(WEATHER)
    assert [[int(value) for value in row[1:]] for row in rows[1:]] == confusion.tolist()
    assert min(cv2.imread(str(tmp_path / 'out' / 'confusion_matrix.png')).shape[:2]) > 300
    axes = plot_confusion(confusion, WEATHER).axes[0]
    assert np.allclose(axes.images[0].get_array(), confusion / np.array([[6], [1], [9], [3]]))
    numbers = {text.get_position(): text.get_text() for text in axes.texts}
    assert numbers == {(0, 0): '5', (1, 0): '1', (1, 2): '2', (2, 2): '7', (3, 3): '3'}
    assert [text.get_text() for text in axes.get_yticklabels()] == list(WEATHER)
    assert axes.get_title() == 'numbers are counts, colours are shares of the row'
    figure = plot_confusion(confusion, WEATHER, 'scores from 0.25')
    assert figure.axes[0].get_title().endswith('row\nscores from 0.25')
    assert figure.axes[1].get_ylabel() == 'share of the row (true class)' and figure.axes[0].images[0].get_clim() == (
        0,
        1,
    )
    large = plot_confusion(np.eye(300, dtype=int), [f'class {i}' for i in range(300)])
    assert not large.axes[0].texts and max(large.get_size_inches()) * large.dpi < 2500


def test_an_image_without_scores_is_in_no_column(tmp_path):
    own = answers([True, True])
    own[0].pred_scores = np.zeros(3)
    text = write_confusion_matrix(model('a', own, ('label',)), tmp_path)
    assert rows_of(tmp_path / 'confusion_matrix.csv')[1:] == [['cat', '0', '0'], ['dog', '0', '1']]
    assert text == 'nothing is confused\n1 images are in no column: their scores are infinite or not a number'


def test_confusion_files_are_the_matrix(tmp_path):
    results = random_results(20)
    text = write_confusion_matrix(model('a', results), tmp_path)
    rows = rows_of(tmp_path / 'confusion_matrix.csv')
    assert rows[0] == ['true \\ predicted', *CLASSES, 'background']
    expected = confusion_matrix(results, 3)
    assert [[int(cell) for cell in row[1:]] for row in rows[1:]] == expected.tolist()
    seen(tmp_path / 'confusion_matrix.png')
    _, (true, predicted, times, share), *_ = cells(text)
    names = [*CLASSES, 'background']
    i, j = names.index(true), names.index(predicted)
    wrong = expected - np.diag(expected.diagonal())
    assert int(times) == wrong[i, j] == wrong.max() and share == f'{wrong.max() / expected[i].sum():.1%}'


def test_confusion_of_a_classifier_leaves_out_what_does_not_occur(tmp_path):
    own = model('a', answers(np.arange(30) % 3 > 0), ('label',), classes=(*CLASSES, 'unseen'))
    assert cells(write_confusion_matrix(own, tmp_path))[1] == ['cat', 'dog', '10', '100.0%']
    assert rows_of(tmp_path / 'confusion_matrix.csv')[0][1:] == list(CLASSES)
    right = model('a', answers([True] * 6), ('label',))
    assert write_confusion_matrix(right, tmp_path) == 'nothing is confused'
