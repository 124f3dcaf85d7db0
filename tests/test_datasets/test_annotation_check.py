"""The objects that a user's own transform returns are checked, of each image."""

from dataclasses import replace

import numpy as np
import pytest

from detkit.datasets.transforms.choice import RandomChoice
from detkit.datasets.transforms.pipeline import apply_transform
from detkit.structures.annotations import Annotations, Record
from detkit.structures.sample import Sample
from detkit.structures.scene import Scene, Tile
from detkit.utils.errors import ComponentError

BOXES = [[1, 2, 10, 12], [0, 0, 40, 30]]


def objects(bboxes=BOXES, labels=(0, 2), **more) -> Annotations:
    return Annotations(np.asarray(labels, np.int64), np.asarray(bboxes, np.float32).reshape(-1, 4), **more)


def changed(**values) -> Annotations:
    """Return annotations some of whose arrays were replaced, which nothing looks at."""
    annotations = objects()
    for name, value in values.items():
        setattr(annotations, name, value)
    return annotations


class Own:
    """Sets the objects of the image; its stage is none of those that are known."""

    def __init__(self, annotations, place='image'):
        self.annotations, self.place = annotations, place

    def __call__(self, sample):
        if self.place == 'pack':
            return {'inputs': np.moveaxis(sample.img, 2, 0), 'annotations': self.annotations}
        if self.place == 'tile':
            tile = replace(sample.scene.tiles[0], annotations=self.annotations)
            return replace(sample, scene=replace(sample.scene, tiles=[tile]))
        return replace(sample, annotations=self.annotations)


@pytest.fixture
def sample():
    img = np.zeros((30, 40, 3), np.uint8)
    record = Record('a.png', 'a', (30, 40), objects())
    return Sample(record, np.random.default_rng(0), img=img, annotations=objects())


@pytest.fixture
def scene(sample):
    tile = Tile(sample.img, np.eye(3), (0, 0, 40, 30), objects())
    return replace(sample, img=None, annotations=None, scene=Scene((30, 40), [tile]))


def run(annotations, sample, place='image', num_classes=3):
    return apply_transform(Own(annotations, place), sample, lambda count: [], num_classes)


@pytest.mark.parametrize(
    'annotations',
    [
        objects([], []),
        objects(),
        objects([[-5, -5, 3, 3], [39, 29, 90, 90]]),  # seen in part, as amodal boxes are
        objects([[4, 4, 4, 4]], [1]),
        objects(keypoints=np.zeros((2, 4, 3), np.float32), rbboxes=np.zeros((2, 5), np.float32)),
    ],
)
def test_what_is_right_is_left_alone(sample, annotations):
    assert run(annotations, sample).annotations is annotations


MISTAKES = [
    (objects(labels=(0, 3)), 'the label 3 for a.png, but labels are 0 to 2'),
    (objects(labels=(-1, 2)), 'the label -1 for a.png'),
    (objects([[1, 2, np.nan, 12], [0, 0, 9, 9]]), r'the box \[1.0, 2.0, nan, 12.0\] for a.png, but .* finite'),
    (objects([[1, 2, np.inf, 12], [0, 0, 9, 9]]), r'the box .*inf, 12.0\] for a.png, but .* finite'),
    (objects([[10, 2, 1, 12], [0, 0, 9, 9]]), r'the box \[10.0, 2.0, 1.0, 12.0\] for a.png, but boxes are \(x0'),
    (changed(labels=np.array([0.0, 1.0])), r'labels of float64 \(2,\) for a.png, .*: return labels.astype\(np.int64'),
    (changed(labels=[0, 1]), 'labels of list for a.png, but they must be an array of int64'),
    (changed(bboxes=np.asarray(BOXES, float)), r'bboxes of float64 \(2, 4\) .*: return bboxes.astype\(np.float32'),
    (changed(bboxes=np.zeros((2, 5), np.float32)), r'bboxes of float32 \(2, 5\) for a.png, but'),
    (changed(bboxes=np.zeros((1, 4), np.float32)), '1 bboxes and 2 labels for a.png'),
    (changed(rbboxes=np.full((2, 5), np.nan, np.float32)), 'rbboxes for a.png that are no finite numbers'),
    (changed(keypoints=np.zeros((2, 4, 3))), r'keypoints of float64 \(2, 4, 3\) for a.png, but'),
    ({'labels': []}, 'annotations of a.png as a dict, but they must be an Annotations'),
]
OUTSIDE = [
    (objects([[40, 3, 50, 9]], [0]), r'\[40.0, 3.0, 50.0, 9.0\] .* nothing lies in the image of 40x30 pixels'),
    (objects([[-9, 3, 0, 9]], [0]), 'nothing lies in the image'),
    (objects([[3, 31, 9, 39]], [0]), 'nothing lies in the image'),  # within the longer side
]


@pytest.mark.parametrize(('annotations', 'sentence'), MISTAKES + OUTSIDE)
def test_a_mistake_is_named_with_the_image(sample, annotations, sentence):
    with pytest.raises(ComponentError, match=f'^Own returns .*{sentence}'):
        run(annotations, sample)
    with pytest.raises(ComponentError, match=f'^Own returns .*{sentence}'):
        apply_transform(RandomChoice([[Own(annotations)]]), sample, lambda count: [], 3)


@pytest.mark.parametrize(('annotations', 'sentence'), MISTAKES)
def test_objects_of_tiles_are_checked_too(scene, annotations, sentence):
    with pytest.raises(ComponentError, match=f'^Own returns .*{sentence}'):
        run(annotations, scene, 'tile')


@pytest.mark.parametrize('annotations', [each for each, _ in OUTSIDE])
def test_objects_of_tiles_may_lie_anywhere(scene, annotations):
    assert run(annotations, scene, 'tile').scene.tiles[0].annotations is annotations


def test_what_is_packed_is_checked_too(sample):
    with pytest.raises(ComponentError, match=r'^Own returns the label 7 for a.png'):
        run(objects(labels=(0, 7)), sample, 'pack')
    assert run(None, sample, 'pack')['annotations'] is None  # for a collate function of one's own


def test_labels_are_free_where_classes_are_unknown(sample):
    assert run(objects(labels=(0, 7)), sample, num_classes=None).annotations.labels[1] == 7


def test_an_image_that_is_gone_is_named(sample):
    class Loses(Own):
        def __call__(self, sample):
            return replace(sample, img=None)

    with pytest.raises(ComponentError, match='^Loses returns an img of NoneType for a.png, but'):
        apply_transform(Loses(None), sample, lambda count: [], 3)
