"""Skeletons in pictures."""

import numpy as np
import torch
from mmengine.structures import InstanceData

from detkit.structures import DetDataSample, GtBatch
from detkit.visualization.drawing import draw_data_sample, draw_instances
from detkit.visualization.sheets import batch_sheet, prediction_sheet
from detkit.visualization.skeletons import drawn_keypoints, keypoint_sides

BOX = np.array([[10, 10, 190, 190]])
POINTS = np.array([[[50, 50, 2], [150, 50, 2], [100, 150, 1], [20, 180, 0]]], float)
INFO = dict(skeleton=((0, 1), (1, 2), (2, 3)), flip_pairs=((0, 1),))


def blank() -> np.ndarray:
    return np.full((200, 200, 3), 255, np.uint8)


def drawn(keypoints=POINTS, info=INFO, **options) -> np.ndarray:
    """Where keypoints change the picture."""
    without = draw_instances(blank(), BOX, [0], **options)
    img = draw_instances(blank(), BOX, [0], keypoints=keypoints, keypoint_info=info, **options)
    return (img != without).any(2)


def test_limbs_between_labelled_keypoints():
    changed = drawn()
    assert changed[50, 50] and changed[50, 100] and changed[50, 150]
    assert changed[100, 125]  # to a hidden one
    assert not changed[165, 60]  # to an unlabelled one
    assert not changed[178:183, 18:23].any()
    points_alone = drawn(info=None)
    assert points_alone[50, 50] and not points_alone[50, 100]


def test_no_objects():
    img = draw_instances(blank(), np.zeros((0, 4)), [], keypoints=np.zeros((0, 4, 3)), keypoint_info=INFO)
    assert (img == 255).all()


def test_sides_have_colours_of_their_own():
    assert keypoint_sides(((0, 1),), 4) == [0, 1, 2, 2]
    assert keypoint_sides(None, 17)[:4] == [2, 0, 1, 0] and keypoint_sides(None, 3) == [2, 2, 2]
    img = draw_instances(blank(), BOX, [0], keypoints=POINTS, keypoint_info=INFO)
    left, right = img[50, 50].astype(int), img[50, 150].astype(int)
    assert left[0] > left[2] and right[2] > right[0]


def test_predictions_below_one_half_are_not_drawn():
    keypoints = drawn_keypoints(POINTS[..., :2], np.array([[0.9, 0.4, 0.6, 0.5]]))
    assert keypoints[0, :, 2].tolist() == [2, 0, 2, 0]
    assert drawn_keypoints(POINTS[..., :2])[0, :, 2].tolist() == [2, 2, 2, 2]


def sample() -> DetDataSample:
    result = DetDataSample(metainfo=dict(img_path='a.jpg', ori_shape=(200, 200)))
    ring = [[10.0, 10.0, 190.0, 10.0, 190.0, 190.0, 10.0, 190.0]]
    result.gt_instances = InstanceData(bboxes=BOX, labels=np.zeros(1, np.int64), keypoints=POINTS, masks=[ring])
    result.pred_instances = InstanceData(
        bboxes=torch.tensor(BOX),
        labels=torch.zeros(1, dtype=torch.int64),
        scores=torch.tensor([0.9]),
        keypoints=torch.tensor(POINTS[..., :2]),
        keypoint_scores=torch.tensor([[0.9, 0.9, 0.9, 0.1]]),
    )
    return result


def test_ground_truth_and_prediction_of_a_sample():
    truth = draw_data_sample(blank(), sample(), 'gt', ('person',), keypoint_info=INFO)
    found = draw_data_sample(blank(), sample(), 'pred', ('person',), keypoint_info=INFO)
    for img in (truth, found):
        assert (img[50, 100] != 255).any()
        assert (img[80, 40] == 255).all()  # no outline, which would cover it
    below = draw_data_sample(blank(), sample(), 'pred', ('person',), score_thr=0.95, keypoint_info=INFO)
    assert (below == 255).all()


def test_sheets():
    sheet = prediction_sheet([blank()], [sample()], ('person',), keypoint_info=INFO)
    plain = prediction_sheet([blank()], [sample()], ('person',), keypoint_info=dict(skeleton=()))
    assert sheet.shape == plain.shape and (sheet != plain).any()
    gt = GtBatch(
        labels=torch.tensor([[0, -1]]),
        bboxes=torch.tensor([[[5.0, 5, 95, 95], [0, 0, 0, 0]]]),
        valid=torch.tensor([[True, False]]),
        flat_index=torch.tensor([0]),
        img_shapes=torch.tensor([[100, 100]]),
        keypoints=torch.cat([torch.tensor(POINTS / [2, 2, 1])[None], torch.zeros(1, 1, 4, 3)], 1),
    )
    inputs = torch.full((1, 3, 100, 100), 255, dtype=torch.uint8)
    sheet = batch_sheet(inputs, gt, ('person',), keypoint_info=INFO)
    y, x = (int(value * sheet.shape[0] / 100) for value in (25, 50))
    assert (sheet[y - 2 : y + 3, x] != 255).any()
