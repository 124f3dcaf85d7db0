from types import SimpleNamespace

import cv2
import numpy as np
from builders import RecordSet
from test_analysis.results import CLASSES

from detkit.analysis.charts import save_figure
from detkit.analysis.data.label_charts import plot_labels
from detkit.analysis.data.label_statistics import LabelStatistics, label_statistics
from detkit.datasets import RepeatDataset
from detkit.structures.annotations import Annotations, Record


def dataset(records: list[Record]) -> RepeatDataset:
    """Repeated, as small sets are."""
    return RepeatDataset(RecordSet(records, CLASSES), times=2)


def test_objects_are_counted_and_measured():
    bboxes = np.array([[0, 0, 50, 20], [100, 50, 200, 100], [0, 0, 200, 100]], np.float32)
    found = label_statistics(
        dataset(
            [
                Record(
                    'a.jpg', 1, (100, 200), Annotations(np.array([0, 2, 1]), bboxes, np.array([False, False, True]))
                ),
                Record('b.jpg', 2, None, Annotations(np.array([2]), bboxes[:1])),
                Record('c.jpg', 3, (100, 200), Annotations()),
            ]
        )
    )
    assert found.classes == CLASSES
    assert found.counts.tolist() == [1, 0, 2]  # the ignored one does not count
    assert found.per_image.tolist() == [2, 1, 0]
    np.testing.assert_allclose(found.bboxes, [[0.125, 0.1, 0.25, 0.2], [0.75, 0.75, 0.5, 0.5]], rtol=1e-6)


def test_classifiers_data_are_counted():
    found = label_statistics(
        dataset([Record(f'{i}.jpg', i, None, Annotations(), label) for i, label in enumerate([0, 0, 2])])
    )
    assert found.counts.tolist() == [2, 0, 1] and not len(found.per_image) and not len(found.bboxes)


def test_data_without_records():
    assert label_statistics(RecordSet([], CLASSES)) is None
    assert label_statistics(SimpleNamespace(metainfo={'classes': CLASSES})) is None


def test_pictures(tmp_path):
    rng = np.random.default_rng(0)
    for number, classes in (('few', 3), ('many', 90), ('unnamed', 400)):
        counts = rng.integers(0, 50, classes)
        for name, per_image in (('objects', rng.integers(0, 90, 40)), ('images', np.zeros(0, int))):
            found = LabelStatistics(
                tuple(f'class {i}' for i in range(classes)),
                counts,
                per_image,
                rng.random((len(per_image) * 5, 4)).astype(np.float32),
            )
            figure = plot_labels(found)
            assert [bar.get_width() for bar in figure.axes[0].patches] == sorted(counts[counts > 0], reverse=True)
            assert figure.axes[0].get_title().startswith(f'{counts.sum():,} {name} of {(counts > 0).sum()} classes')
            if len(per_image):
                sums = {axes.get_title()[:4]: sum(bar.get_height() for bar in axes.patches) for axes in figure.axes[1:]}
                assert sums['obje'] == 40 and sums['size'] == 200  # images, objects
            save_figure(figure, tmp_path / f'{number}_{name}.png')
    empty = LabelStatistics(CLASSES, np.zeros(3, int), np.zeros(2, int), np.zeros((0, 4)))
    save_figure(plot_labels(empty), tmp_path / 'empty.png')
    for path in tmp_path.iterdir():
        img = cv2.imread(str(path))
        assert 100 < min(img.shape[:2]) and max(img.shape[:2]) < 1700
