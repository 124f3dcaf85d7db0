"""Sliced inference: merged predictions on tiles are those on the image, whatever the tiles cut."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from color_detector import ColorDetector, paint
from mmengine.structures import InstanceData

from detkit.inference.tiling import join_tiles, parts_of
from detkit.inference.view_options import ViewOptions
from detkit.inference.view_predictor import ViewPredictor
from detkit.utils.errors import ConfigError

SHAPE = (500, 700)
# Small, on a border of tiles, larger than the overlap, larger than a tile, over the whole width, in the corner.
BBOXES = [(10, 10, 30, 40), (150, 60, 170, 90), (120, 150, 330, 200), (20, 220, 560, 420), (0, 440, 700, 470)]
BBOXES += [(680, 480, 700, 500), (600, 10, 640, 130)]


def predict(bboxes=BBOXES, fields=(), shape=SHAPE, img=None, colors=None, test_cfg=None, batch_size=4, **options):
    if img is None:
        img, colors = paint(shape, bboxes)
    detector = ColorDetector(colors, fields)
    views = ViewPredictor(ViewOptions(**options), test_cfg or {}, {}, False, batch_size)
    meta = dict(img_path='scene.png', img_id='scene')
    return views.predict(img, meta, detector.pack, detector.run).pred_instances, detector


def sorted_boxes(found) -> list[tuple[int, ...]]:
    return sorted(tuple(round(value) for value in box) for box in found.bboxes.tolist())


@pytest.mark.parametrize('whole', [True, False])
@pytest.mark.parametrize('tile', [160, (128, 256), 300, 600])
def test_each_object_is_found_once_and_whole(tile, whole: bool):
    found, detector = predict(tile=tile, tile_whole=whole)
    assert sorted_boxes(found) == sorted(BBOXES)
    assert (found.scores.diff() <= 0).all()
    assert (SHAPE in detector.shapes) == whole


def test_a_single_tile_is_the_image_itself():
    found, detector = predict(tile=1000)
    plain, _ = predict()
    assert detector.shapes == [SHAPE]
    assert torch.equal(found.bboxes, plain.bboxes) and torch.equal(found.scores, plain.scores)


def test_nms_keeps_one_part_of_an_object_that_no_tile_shows_whole():
    bboxes = [(20, 220, 560, 420)]
    united, _ = predict(bboxes, tile=160, tile_whole=False)
    parts, _ = predict(bboxes, tile=160, tile_whole=False, tile_merge='nms')
    assert sorted_boxes(united) == bboxes
    assert len(parts.bboxes) > 1 and bboxes[0] not in sorted_boxes(parts)
    # A box that is whole in one tile replaces the parts in either way.
    assert sorted_boxes(predict(bboxes, tile=160, tile_merge='nms')[0]) == bboxes


@pytest.mark.parametrize('metric', ['shared', 'iou', 'ios'])
def test_overlaps_of_boxes_from_two_tiles(metric: str):
    """A box cut to a quarter: what both tiles show is the same, and the part lies in the whole; the IoU is small."""
    whole, part = InstanceData(), InstanceData()
    whole.bboxes, part.bboxes = torch.tensor([[80.0, 0, 120, 40]]), torch.tensor([[80.0, 0, 90, 40]])
    for each, score in ((whole, 0.6), (part, 0.9)):
        each.scores, each.labels = torch.tensor([score]), torch.zeros(1, dtype=torch.int64)
    rects = [(0, 0, 90, 100), (70, 0, 170, 100)]
    options = ViewOptions(tile=100, tile_metric=metric)
    joined = join_tiles([part, whole], rects, (100, 170), options)
    if metric == 'iou':
        assert joined.bboxes.tolist() == [[80, 0, 90, 40], [80, 0, 120, 40]]
    else:  # the whole box stays, though its score is the lower one
        assert joined.bboxes.tolist() == [[80, 0, 120, 40]] and joined.scores.tolist() == pytest.approx([0.6])


def test_objects_close_to_each_other_stay_apart():
    """A small object inside a large one of the same class, and two that overlap by half."""
    img, colors = paint(SHAPE, [(20, 20, 400, 300), (160, 100, 190, 130), (450, 100, 550, 200), (500, 100, 600, 200)])
    colors = [(color[0] * 0 + 100, *color[1:]) for color in colors]  # of one class
    img[..., 0][img[..., 1] > 0] = 100
    detector, plain = ColorDetector(colors), ColorDetector(colors)
    views = ViewPredictor(ViewOptions(tile=200), {}, {}, False, 1)
    found = views.predict(img, {}, detector.pack, detector.run).pred_instances
    expected = plain.run([plain.pack(img, 1.0)])[0].pred_instances
    assert sorted_boxes(found) == sorted_boxes(expected) and len(found.bboxes) == 4


def test_classes_are_merged_apart_unless_asked():
    first, second = InstanceData(), InstanceData()
    first.bboxes, second.bboxes = torch.tensor([[70.0, 0, 90, 40]]), torch.tensor([[71.0, 0, 91, 40]])
    first.scores, second.scores = torch.tensor([0.9]), torch.tensor([0.8])
    first.labels, second.labels = torch.tensor([0]), torch.tensor([1])
    rects, options = [(0, 0, 100, 100), (60, 0, 160, 100)], ViewOptions(tile=100)
    assert len(join_tiles([first, second], rects, (100, 160), options)) == 2
    assert join_tiles([first, second], rects, (100, 160), options, class_agnostic=True).labels.tolist() == [0]


def test_masks_are_united_and_stay_crops():
    rng = np.random.default_rng(0)
    img, colors = paint(SHAPE, BBOXES)
    img[rng.random(SHAPE) < 0.1] = 0  # holes: a mask is more than its box
    found, _ = predict(img=img, colors=colors, fields=['masks'], tile=160, tile_whole=False)
    plain, _ = predict(img=img, colors=colors, fields=['masks'])
    assert found.masks.img_shape == SHAPE and len(found.masks) == len(plain.masks)
    expected = {tuple(box): mask for box, mask in zip(plain.bboxes.tolist(), plain.masks.to_bool(), strict=True)}
    for box, mask, crop in zip(found.bboxes.tolist(), found.masks.to_bool(), found.masks.crops, strict=True):
        assert (mask == expected[tuple(box)]).all()
        assert crop.size <= (box[2] - box[0]) * (box[3] - box[1])


def test_keypoints_come_from_the_tile_that_shows_them():
    bboxes = [(20, 20, 600, 60)]
    found, _ = predict(bboxes, fields=['keypoints'], tile=160, tile_whole=False)
    assert found.keypoints.tolist() == [[[20, 20], [600, 20]]]
    assert found.keypoint_scores.flatten().tolist() == pytest.approx([0.9, 0.9])


@pytest.mark.parametrize('metric', ['shared', 'iou'])
def test_rotated_boxes(metric: str):
    """Turned objects that some tile shows whole, side by side so that their upright boxes overlap much."""
    img, colors = np.zeros((*SHAPE, 3), np.uint8), [(100, 100 + i, 0) for i in range(12)]
    centres = [(60 + 45 * i, 60 + 30 * i) for i in range(12)]
    for centre, color in zip(centres, colors, strict=True):
        cv2.fillPoly(img, [np.round(cv2.boxPoints((centre, (100, 18), 45))).astype(np.int32)], color)
    # The rectangle around a mere tip of such an object has another direction, and less in common with it.
    detector = ColorDetector(colors, ['rbboxes'], least=40)
    options = ViewOptions(tile=240, tile_overlap=0.5, tile_whole=False, tile_metric=metric)
    found = ViewPredictor(options, {}, {}, False, 1).predict(img, {}, detector.pack, detector.run).pred_instances
    whole = found.rbboxes[found.rbboxes[:, 2] > 90]
    assert whole[whole[:, 0].argsort()][:, :2].numpy() == pytest.approx(np.array(centres), abs=1)
    assert len(found.rbboxes) == 12 if metric == 'shared' else len(found.rbboxes) > 12  # parts are left over


def test_a_rotated_box_larger_than_a_tile_is_united():
    img = np.zeros((*SHAPE, 3), np.uint8)
    cv2.fillPoly(img, [np.round(cv2.boxPoints(((350, 250), (500, 40), 30))).astype(np.int32)], (100, 100, 0))
    found, _ = predict(img=img, colors=[(100, 100, 0)], fields=['rbboxes'], tile=200, tile_whole=False)
    (rbbox,) = found.rbboxes.tolist()
    # The rectangles around parts that a corner of a tile cuts are wider than the object.
    assert rbbox[:3] == pytest.approx([350, 250, 500], rel=0.03) and 40 <= rbbox[3] < 100
    assert rbbox[4] == pytest.approx(np.pi / 6, abs=0.05)


def test_no_more_than_max_per_img_and_batches():
    found, detector = predict(tile=160, test_cfg={'max_per_img': 3}, batch_size=4)
    every, _ = predict(tile=160)
    assert torch.equal(found.bboxes, every.bboxes[:3])
    assert max(detector.batches) == 4 and sum(detector.batches) == len(detector.shapes)


def test_nothing_found():
    found, _ = predict([], tile=160, fields=['masks', 'rbboxes'])
    assert len(found.bboxes) == 0 and found.masks.img_shape == SHAPE


def test_parts():
    assert parts_of((500, 700), ViewOptions()) == [(0, 0, 700, 500)]
    assert parts_of((100, 250), ViewOptions(tile=128, tile_overlap=0.25)) == [
        (0, 0, 128, 100),
        (96, 0, 224, 100),
        (122, 0, 250, 100),
        (0, 0, 250, 100),
    ]
    assert parts_of((60, 50), ViewOptions(tile=(64, 128))) == [(0, 0, 50, 60)]


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'tile': 0}, 'tile is 0'),
        ({'tile': True}, 'tile is True'),
        ({'tile': 'big'}, "tile is 'big'"),
        ({'tile': (640, 640, 3)}, 'tile is'),
        ({'tile': 640.5}, 'tile is 640.5'),
        ({'tile_overlap': 1.0}, 'tile_overlap is 1.0'),
        ({'tile_whole': 'no'}, "tile_whole is 'no'"),
        ({'tile_merge': 'wbf'}, "tile_merge is 'wbf', but must be one of 'nmm', 'nms'"),
        ({'tile_metric': 'giou'}, "tile_metric is 'giou'"),
        ({'tile_merge_thr': -1}, 'tile_merge_thr is -1'),
    ],
)
def test_wrong_options(options: dict, message: str):
    with pytest.raises(ConfigError, match=message):
        ViewOptions(**options)


def test_a_classifier_is_not_tiled():
    with pytest.raises(ConfigError, match='leave tile out'):
        ViewPredictor(ViewOptions(tile=640), {}, {}, True, 1)


@pytest.mark.parametrize(
    ('options', 'owner'),
    [({'tile_overlap': 0.5}, 'tile'), ({'tile_whole': False}, 'tile'), ({'tta_merge': 'wbf'}, 'tta')],
)
def test_options_without_what_they_belong_to_are_refused(options, owner):
    (name,) = options
    with pytest.raises(ConfigError, match=f'{name} is .*, but has no effect without {owner}'):
        ViewOptions(**options)
    assert ViewOptions(**options, **{owner: 64 if owner == 'tile' else True}).views
