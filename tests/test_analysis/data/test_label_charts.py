"""The chart of a run's labels, and the numbers that it shows."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from builders import RecordSet
from test_analysis.results import CLASSES

from detkit.analysis.charts import save_figure
from detkit.analysis.data.annotations_table import make_table
from detkit.analysis.data.dataset_charts import plot_labels
from detkit.datasets import RepeatDataset
from detkit.datasets.wrappers import records_of
from detkit.structures.annotations import Annotations, Record


def dataset(records: list[Record], classes: tuple[str, ...] = CLASSES) -> RepeatDataset:
    """Repeated, as small sets are."""
    return RepeatDataset(RecordSet(records, classes), times=2)


def bars(axes) -> float:
    return sum(bar.get_height() for bar in axes.patches)


def test_objects_are_counted_and_measured():
    bboxes = np.array([[0, 0, 50, 20], [100, 50, 200, 100], [0, 0, 200, 100]], np.float32)
    ignored = np.array([False, False, True])
    table = make_table(
        'train',
        dataset(
            [
                Record('a.jpg', 1, (100, 200), Annotations(np.array([0, 2, 1]), bboxes, ignored)),
                Record('b.jpg', 2, None, Annotations(np.array([2]), bboxes[:1])),
                Record('c.jpg', 3, (100, 200), Annotations()),
            ]
        ),
    )
    images, objects = table.class_counts()
    assert objects.tolist() == [1, 0, 2] == images.tolist()  # the ignored one does not count
    assert table.per_image.tolist() == [2, 1, 0] and table.shapes.tolist() == [[100, 200], [0, 0], [100, 200]]
    named = {axes.get_title()[:4]: axes for axes in plot_labels(table).axes}
    assert [bar.get_width() for bar in named['3 ob'].patches] == [2, 1]
    # The object in an image of unknown size has no place: centres (.125, .1), (.75, .75); sizes (.25, .2), (.5, .5).
    for title, places in (('cent', {(5, 6), (37, 37)}), ('size', {(10, 12), (25, 25)})):
        axes = next(one for one in plot_labels(table).axes if one.get_title().startswith(title) and one.images)
        counts = axes.images[0].get_array().filled(0)
        assert {tuple(place) for place in np.argwhere(counts).tolist()} == places and counts.sum() == 2


def test_classifiers_data_are_counted():
    records = [Record(f'{i}.jpg', i, None, Annotations(), label) for i, label in enumerate([0, 0, 2])]
    table = make_table('train', dataset(records))
    assert table.class_counts()[1].tolist() == [2, 0, 1]
    (axes,) = plot_labels(table).axes
    assert axes.get_title() == '3 images of 2 classes, 1 without any'


def test_data_without_records():
    assert records_of(RecordSet([], CLASSES)) == [] == records_of(SimpleNamespace(metainfo={'classes': CLASSES}))


@pytest.mark.thorough
def test_pictures(tmp_path):
    rng = np.random.default_rng(0)
    for number, num_classes in (('few', 3), ('many', 90), ('unnamed', 400)):
        classes = tuple(f'class {i}' for i in range(num_classes))
        for name in ('objects', 'images'):
            records = []
            for i in range(40):
                labels = rng.integers(0, num_classes, rng.integers(0, 90))
                low = rng.random((len(labels), 2)) * 50
                bboxes = np.concatenate([low, low + rng.random((len(labels), 2)) * 50], 1).astype(np.float32)
                annotations = Annotations(labels, bboxes) if name == 'objects' else Annotations()
                label = int(rng.integers(num_classes)) if name == 'images' else None
                records.append(Record(f'{i}.jpg', i, (100, 100), annotations, label))
            table = make_table('train', dataset(records, classes))
            counts, figure = table.class_counts()[1], plot_labels(table)
            assert [bar.get_width() for bar in figure.axes[0].patches] == sorted(counts[counts > 0], reverse=True)
            assert figure.axes[0].get_title().startswith(f'{counts.sum():,} {name} of {(counts > 0).sum()} classes')
            if name == 'objects':
                sums = {axes.get_title()[:4]: bars(axes) for axes in figure.axes[1:] if axes.patches}
                assert sums['obje'] == 40 and sums['size'] == counts.sum()  # images, objects
            save_figure(figure, tmp_path / f'{number}_{name}.png')
    empty = make_table('train', dataset([Record(f'{i}.jpg', i, (9, 9), Annotations()) for i in range(2)]))
    save_figure(plot_labels(empty), tmp_path / 'empty.png')
    for path in tmp_path.iterdir():
        img = cv2.imread(str(path))
        assert 100 < min(img.shape[:2]) and max(img.shape[:2]) < 1700
