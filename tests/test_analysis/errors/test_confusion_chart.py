"""The confusion matrix as a chart and as a CSV file."""

import csv
from pathlib import Path

import cv2
import numpy as np

from detkit.analysis.errors.confusion import plot_confusion, write_confusion

CLASSES = ('cloudy', 'rain', 'shine', 'sunrise')


def test_confusion_as_numbers_and_picture(tmp_path: Path):
    confusion = np.array([[5, 1, 0, 0], [0, 0, 0, 0], [0, 2, 7, 0], [0, 0, 0, 3]])
    write_confusion(confusion, CLASSES, tmp_path / 'out')
    with open(tmp_path / 'out' / 'confusion_matrix.csv', newline='') as file:
        rows = list(csv.reader(file))
    assert rows[0][1:] == list(CLASSES) and [row[0] for row in rows[1:]] == list(CLASSES)
    assert [[int(value) for value in row[1:]] for row in rows[1:]] == confusion.tolist()
    assert min(cv2.imread(str(tmp_path / 'out' / 'confusion_matrix.png')).shape[:2]) > 300
    axes = plot_confusion(confusion, CLASSES).axes[0]
    assert np.allclose(axes.images[0].get_array(), confusion / np.array([[6], [1], [9], [3]]))
    numbers = {text.get_position(): text.get_text() for text in axes.texts}
    assert numbers == {(0, 0): '5', (1, 0): '1', (1, 2): '2', (2, 2): '7', (3, 3): '3'}
    assert [text.get_text() for text in axes.get_yticklabels()] == list(CLASSES)
    large = plot_confusion(np.eye(300, dtype=int), [f'class {i}' for i in range(300)])
    assert not large.axes[0].texts and max(large.get_size_inches()) * large.dpi < 2500
