"""Labels that are probably mistakes, each of one kind."""

import numpy as np
import pytest
from test_analysis.data.tables import table

from detkit.analysis.data.label_issues import ISSUE_KINDS, Limits, find_label_issues


def found(split, **limits):
    return [(one.kind, one.index, one.other) for one in find_label_issues(split, Limits(**limits))]


GOOD = [10, 10, 60, 50]


@pytest.mark.parametrize(
    ('kind', 'bbox'),
    [
        ('tiny', [10, 10, 13, 40]),
        ('tiny', [10, 10, 12, 12]),
        ('thin', [10, 10, 150, 15]),
        ('outside', [150, 10, 203, 40]),
        ('outside', [-5, 10, 40, 40]),
        ('outside', [10, 80, 40, 120]),
    ],
)
def test_one_box(kind, bbox):
    assert found(table([GOOD, bbox])) == [(kind, 1, None)]
    assert kind in ISSUE_KINDS
    assert found(table([GOOD, bbox], ignored=np.array([False, True]))) == []


def test_limits_can_be_moved():
    split = table([[10, 10, 13, 40], [10, 10, 150, 15]])
    assert found(split, tiny=2, thin=30) == [] and len(found(split, tiny=10)) == 2


def test_two_objects_at_one_place():
    near = [10, 11, 60, 50]
    assert found(table([GOOD, near])) == [('duplicate', 0, 1)]
    assert found(table([GOOD, near], labels=[0, 1])) == [('ambiguous', 0, 1)]
    assert found(table([GOOD, near], images=[0, 1])) == []
    assert found(table([GOOD, near], ignored=np.array([False, True]))) == []
    assert found(table([GOOD, near]), duplicate=0.99) == []


def test_rotated_boxes_are_compared_as_they_are_turned():
    along, across = [50, 50, 40, 6, np.pi / 4], [50, 50, 40, 6, -np.pi / 4]
    hulls = [[33.7, 33.7, 66.3, 66.3]] * 3
    rbboxes = np.array([along, across, [50.3, 50, 40, 6, np.pi / 4]])
    assert found(table(hulls, rbboxes=rbboxes)) == [('duplicate', 0, 2)]
    # Corners beyond the picture are usual, a middle there is not.
    rbboxes = np.array([[199, 50, 40, 6, 0], [205, 50, 40, 6, 0]])
    assert found(table([[179, 47, 200, 53], [185, 47, 200, 53]], rbboxes=rbboxes)) == [('outside', 1, None)]


def test_an_outline_that_is_not_in_its_box():
    outlines = np.array([[11, 10, 60, 48], [100, 10, 150, 50], [0, 0, 0, 0]])
    boxes = [GOOD, GOOD, [100, 60, 150, 90]]
    assert found(table(boxes, images=[0, 1, 1], outlines=outlines)) == [('outline', 1, None)]


def test_keypoints_outside():
    keypoints = np.array([[[20, 20, 2], [30, 30, 1]], [[20, 20, 2], [250, 30, 1]], [[20, 20, 2], [250, 30, 0]]])
    split = table([GOOD, GOOD, GOOD], images=[0, 1, 2], keypoints=keypoints)
    split.metainfo['keypoint_names'] = ('nose', 'tail')
    (one,) = find_label_issues(split)
    assert (one.kind, one.index, one.detail) == ('keypoints', 1, 'tail')


def test_no_objects():
    assert found(table([])) == []
