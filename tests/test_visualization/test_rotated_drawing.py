"""Rotated boxes in pictures."""

import numpy as np
import torch
from mmengine.structures import InstanceData

from detkit.structures.data_sample import DetDataSample
from detkit.structures.gt_batch import GtBatch
from detkit.structures.rotated_bboxes import rbbox_corners, rbbox_hulls
from detkit.visualization.drawing import draw_data_sample, draw_instances
from detkit.visualization.palette import class_colour
from detkit.visualization.sheets import batch_sheet

GREY = np.full((200, 300, 3), 128, np.uint8)
BOX = np.array([[150, 100, 120, 40, 0.6]], np.float32)


def changed(picture: np.ndarray) -> np.ndarray:
    return (picture != GREY).any(2)


def coloured(picture: np.ndarray, label: int) -> np.ndarray:
    return (np.abs(picture.astype(int) - class_colour(label)) < 12).all(2)


def test_sides_are_drawn_and_not_those_of_the_hull():
    picture = draw_instances(GREY, rbbox_hulls(BOX), [0], ('ship',), rbboxes=BOX)
    corners = rbbox_corners(BOX)[0]
    for a, b in zip(corners, np.roll(corners, -1, 0), strict=True):
        x, y = ((a + b) / 2).astype(int)
        assert coloured(picture, 0)[y - 2 : y + 3, x - 2 : x + 3].any()
    x0, y0, x1, y1 = rbbox_hulls(BOX)[0].astype(int)
    assert not changed(picture)[y1 - 8 : y1 + 2, x0 - 2 : x0 + 8].any()
    assert not changed(picture)[90:110, 140:160].any()  # nor is it filled
    assert not changed(draw_instances(GREY, np.zeros((0, 4)), [], rbboxes=np.zeros((0, 5)))).any()


def test_a_sample_draws_its_rotated_boxes():
    sample = DetDataSample()
    sample.pred_instances = InstanceData(
        bboxes=torch.from_numpy(rbbox_hulls(BOX)),
        rbboxes=torch.from_numpy(BOX),
        labels=torch.tensor([2]),
        scores=torch.tensor([0.9]),
    )
    sample.gt_instances = InstanceData(
        bboxes=rbbox_hulls(BOX), rbboxes=BOX, labels=np.array([2]), ignored=np.array([True])
    )
    assert np.array_equal(
        draw_data_sample(GREY, sample, 'pred'),
        draw_instances(GREY, rbbox_hulls(BOX), [2], scores=np.array([0.9]), rbboxes=BOX),
    )
    assert not coloured(draw_data_sample(GREY, sample, 'gt'), 2).any()  # difficult ones are grey


def test_in_a_crowd_small_ones_are_named_once_a_class():
    xs, ys = np.meshgrid(np.arange(20, 290, 30), np.arange(20, 190, 30))
    many = np.stack([xs.ravel(), ys.ravel(), *np.broadcast_arrays(16, 8, 0.5 * np.ones(xs.size))], 1)
    labels = np.arange(len(many)) % 2
    crowd = draw_instances(GREY, rbbox_hulls(many), labels, ('ship', 'car'), rbboxes=many)
    few = draw_instances(GREY, rbbox_hulls(many[:15]), labels[:15], ('ship', 'car'), rbboxes=many[:15])
    assert changed(crowd).sum() < 2 * changed(few).sum()


def test_a_batch_shows_its_rotated_boxes_at_its_scale():
    inputs = torch.full((1, 3, 100, 100), 128, dtype=torch.uint8)
    box = np.array([[50, 50, 60, 20, 0.6]], np.float32)
    gt = GtBatch(
        labels=torch.tensor([[1, -1]]),
        bboxes=torch.zeros(1, 2, 4),
        valid=torch.tensor([[True, False]]),
        flat_index=torch.tensor([0]),
        img_shapes=torch.tensor([[100, 100]]),
        rbboxes=torch.cat([torch.from_numpy(box), torch.zeros(1, 5)])[None],
    )
    sheet = batch_sheet(inputs, gt)
    corners = rbbox_corners(box)[0] * sheet.shape[0] / 100
    for a, b in zip(corners, np.roll(corners, -1, 0), strict=True):
        x, y = ((a + b) / 2).astype(int)
        assert coloured(sheet, 1)[y - 3 : y + 4, x - 3 : x + 4].any()
