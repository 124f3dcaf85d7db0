"""Objects of unusual size or shape for their class."""

import numpy as np
import pytest
from test_analysis.data.tables import table

from detkit.analysis.data.label_issues import Limits
from detkit.analysis.data.unusual_sizes import find_unusual_sizes, rare_classes


def usual(count=40, seed=0, wh=(20, 20), shape=(100, 200)):
    """Boxes of about one size, (count, 4)."""
    rng = np.random.default_rng(seed)
    sizes_wh = wh * np.exp(rng.normal(0, 0.1, (count, 2)))
    low = rng.uniform(0, 60, (count, 2))
    return np.concatenate([low, low + sizes_wh], 1)


def found(*tables, **limits):
    return [[(one.kind, one.index) for one in own] for own in find_unusual_sizes(tables, Limits(**limits))]


@pytest.mark.parametrize(
    ('kind', 'bbox'),
    [
        ('large', [0, 0, 90, 90]),
        ('small', [5, 5, 9, 9]),
        ('wide', [5, 5, 65, 12]),
        ('narrow', [5, 5, 12, 65]),
    ],
)
def test_a_planted_object(kind, bbox):
    bboxes = [*usual(), bbox]
    assert found(table(bboxes)) == [[(kind, 40)]]
    assert found(table(bboxes, ignored=np.arange(41) == 40)) == [[]]
    assert found(table(usual())) == [[]]
    # A large cat is no large dog.
    labels = [*np.zeros(40, int), 1]
    assert found(table(bboxes, labels)) == [[]] and rare_classes([table(bboxes, labels)], Limits()) == 1
    (issue,) = find_unusual_sizes([table(bboxes)], Limits())[0]
    assert issue.deviations > 5 and 'times' in issue.detail
    assert kind in Limits().meaning(kind) or 'far' in Limits().meaning(kind)


def test_limits():
    bboxes = [*usual(), [0, 0, 90, 90]]
    assert found(table(bboxes), factor=5) == [[]]
    assert found(table(bboxes), deviations=1000) == [[]]
    assert found(table(bboxes), min_objects=42) == [[]]
    # Objects of exactly one size deviate by nothing, so that the factor alone decides.
    same = np.tile([10, 10, 30, 30], (30, 1))
    assert found(table([*same, [10, 10, 45, 45], [10, 10, 52, 52]])) == [[('large', 31)]]


def test_the_usual_size_is_that_of_all_splits_relative_to_the_images():
    small_images = table(usual(15) / 2, shape=(50, 100))
    large_images = table([*usual(15, 1), [0, 0, 90, 90], [0, 0, 160, 90]], name='val')
    assert found(small_images, large_images) == [[], [('large', 16), ('large', 15)]]  # the worst first
    assert rare_classes([small_images, large_images], Limits()) == 0
    assert found(table([]), table([], name='val')) == [[], []]


def test_rotated_boxes_are_measured_along_their_sides():
    rng = np.random.default_rng(0)
    rbboxes = np.stack(
        [
            np.full(30, 50.0),
            np.full(30, 50.0),
            rng.uniform(38, 42, 30),
            rng.uniform(9, 11, 30),
            rng.uniform(0, 1.5, 30),
        ],
        1,
    )
    rbboxes[7, 3] = 2
    hulls = np.tile([20, 20, 80, 80], (30, 1))
    assert found(table(hulls, rbboxes=rbboxes)) == [[('wide', 7), ('small', 7)]]
