"""The assigners of anchors against their rules written out anchor by anchor."""

import pytest
import torch
from gt_batches import make_gt

from detkit.models.assigners import YOLOv3AnchorAssigner, YOLOv5AnchorAssigner
from detkit.models.priors import AnchorPriorGenerator, AnchorPriors
from detkit.structures.gt_batch import GtBatch
from detkit.structures.targets import AssignResult, Candidates

STRIDE, CELLS, SHAPES = 16, (4, 6), [(10, 13), (33, 23), (59, 50)]  # a map of 4 rows and 6 columns


def level() -> AnchorPriors:
    return AnchorPriorGenerator([SHAPES], (STRIDE,))([CELLS])[0]


def one_box(cx: float, cy: float, w: float, h: float) -> GtBatch:
    bbox = [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]
    return GtBatch(
        labels=torch.tensor([[0]]),
        bboxes=torch.tensor([[bbox]]),
        valid=torch.tensor([[True]]),
        flat_index=torch.tensor([0]),
        img_shapes=torch.tensor([[64, 96]]),
    )


def places(result: AssignResult, image: int = 0, box: int = 0) -> list[tuple[int, int, int]]:
    """(x, y, shape) of a box's slots, in their order."""
    found = result.prior_idx[image, box][result.valid[image, box]].tolist()
    return [(idx // 3 % CELLS[1], idx // 3 // CELLS[1], idx % 3) for idx in found]


@pytest.mark.parametrize(('assigner', 'slots'), [(YOLOv3AnchorAssigner(), 3), (YOLOv5AnchorAssigner(), 15)])
@pytest.mark.parametrize('counts', [[0, 0], [0, 4]])
def test_images_without_objects(assigner, slots, counts):
    result = assigner(Candidates(), level(), make_gt(counts, 64))
    assert result.prior_idx.shape == result.valid.shape == result.gt_idx.shape == (2, max(counts), slots)
    assert result.scores is None
    assert not result.valid[0].any() and not result.prior_idx[0].any()
    assert result.valid[1].any() == (counts[1] > 0)


def test_a_box_keeps_its_slots():
    result = YOLOv5AnchorAssigner()(Candidates(), level(), make_gt([4, 2], 64))
    assert (result.gt_idx == torch.arange(4).view(1, -1, 1)).all()


def test_anchors_of_a_similar_shape():
    # Overlaps of 20 x 20 with the three shapes about one centre: 130 / 400, 400 / 759, 400 / 2950.
    gt = one_box(40, 24, 20, 20)
    assert places(YOLOv3AnchorAssigner()(Candidates(), level(), gt)) == [(2, 1, 0), (2, 1, 1)]
    assert places(YOLOv3AnchorAssigner(iou_thr=0.4)(Candidates(), level(), gt)) == [(2, 1, 1)]
    assert places(YOLOv3AnchorAssigner(iou_thr=0.6)(Candidates(), level(), gt)) == []
    assert places(YOLOv3AnchorAssigner(iou_thr=0.1)(Candidates(), level(), gt)) == [(2, 1, 0), (2, 1, 1), (2, 1, 2)]


def test_anchors_of_a_similar_ratio():
    at_centre = YOLOv5AnchorAssigner(reach=0.0)
    # 40 : 10 is 4, which is not less than 4.
    assert places(at_centre(Candidates(), level(), one_box(40, 24, 40, 20))) == [(2, 1, 1), (2, 1, 2)]
    assert places(at_centre(Candidates(), level(), one_box(40, 24, 39.9, 20))) == [(2, 1, 0), (2, 1, 1), (2, 1, 2)]
    assert places(at_centre(Candidates(), level(), one_box(40, 24, 59 / 4, 50 / 4))) == [(2, 1, 0), (2, 1, 1)]
    assert places(YOLOv5AnchorAssigner(1.5, 0.0)(Candidates(), level(), one_box(40, 24, 12, 12))) == [(2, 1, 0)]


@pytest.mark.parametrize(
    ('x', 'y', 'expected'),
    [
        (36, 20, [(2, 1), (1, 1), (2, 0)]),  # left of the centre, above
        (44, 28, [(2, 1), (3, 1), (2, 2)]),  # right, below
        (40, 24, [(2, 1)]),  # in the middle
        (32, 48, [(2, 3), (1, 3), (2, 2), (2, 3)]),  # on a corner: left and right are near, but below is the last row
        (32, 32, [(2, 2), (1, 2), (2, 1), (2, 2), (2, 2)]),  # on a corner; to the right and below it is in its own
        (4, 4, [(0, 0)]),  # no cell lies beyond the image
        (92, 60, [(5, 3)]),
        (96, 64, [(5, 3), (5, 3), (5, 3)]),  # at the image's corner, as if in the last cell
        (0, 0, [(0, 0), (0, 0), (0, 0)]),
    ],
)
def test_neighbours(x, y, expected):
    found = places(YOLOv5AnchorAssigner()(Candidates(), level(), one_box(x, y, 10, 12)))
    assert [(x, y) for x, y, shape in found if shape == 0] == expected


@pytest.mark.parametrize('kind', [YOLOv3AnchorAssigner, YOLOv5AnchorAssigner])
def test_boxes_without_area_and_outside(kind):
    result = kind()(Candidates(), level(), one_box(40, 24, 0, 10))
    assert not result.valid.any()
    outside = kind()(Candidates(), level(), one_box(400, -90, 12, 12))
    assert {(x, y) for x, y, _ in places(outside)} == {(5, 0)}


@pytest.mark.parametrize(
    ('kind', 'mistake'),
    [
        (YOLOv3AnchorAssigner, dict(iou_thr=1.0)),
        (YOLOv5AnchorAssigner, dict(max_ratio=1.0)),
        (YOLOv5AnchorAssigner, dict(reach=1.0)),
    ],
)
def test_arguments_out_of_range(kind, mistake):
    with pytest.raises(ValueError, match=f'{kind.__name__}: {next(iter(mistake))}'):
        kind(**mistake)
