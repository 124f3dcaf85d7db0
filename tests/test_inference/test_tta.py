"""Test-time augmentation: predictions on mirrored and scaled copies come back to the image, and are merged."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from color_detector import ColorDetector, paint
from mmengine.structures import InstanceData

from detkit.inference.fusion import fuse_predictions
from detkit.inference.view_options import DEFAULT_AUGMENTATIONS, Augmentation, ViewOptions, parse_augmentations
from detkit.inference.view_predictor import ViewPredictor
from detkit.inference.views import View, unflipped
from detkit.structures import DetDataSample, InstanceMasks
from detkit.structures.rotated_bboxes import move_rbboxes
from detkit.utils.errors import ConfigError

SHAPE = (60, 90)
BBOXES = [(5, 10, 20, 50), (30, 12, 84, 25), (60, 40, 70, 59)]
FIELDS = ['masks', 'keypoints', 'rbboxes']


def predict(keypoints=None, test_cfg=None, **options):
    img, colors = paint(SHAPE, BBOXES)
    img[15:20, 8:12] = 0  # a mask that its mirror image differs from
    detector = ColorDetector(colors, FIELDS)
    views = ViewPredictor(ViewOptions(**options), test_cfg or {}, keypoints or {}, False, 2)
    return views.predict(img, {}, detector.pack, detector.run).pred_instances


def instances(bboxes, scores, labels=None, **fields) -> InstanceData:
    labels = torch.zeros(len(bboxes), dtype=torch.int64) if labels is None else torch.tensor(labels)
    return InstanceData(
        bboxes=torch.tensor(bboxes, dtype=torch.float32), scores=torch.tensor(scores), labels=labels, **fields
    )


@pytest.mark.parametrize('merge', ['nms', 'wbf'])
@pytest.mark.parametrize('tta', [['hflip'], ['vflip'], ['plain', 'hflip', 'vflip']])
def test_mirrored_copies_give_what_the_image_gives(tta: list[str], merge: str):
    plain, found = predict(), predict(tta=tta, tta_merge=merge)
    assert torch.equal(found.bboxes, plain.bboxes) and torch.equal(found.labels, plain.labels)
    assert found.scores.tolist() == pytest.approx(plain.scores.tolist())
    assert (found.masks.to_bool() == plain.masks.to_bool()).all()
    assert found.rbboxes.numpy() == pytest.approx(plain.rbboxes.numpy(), abs=1e-3)


def test_left_and_right_keypoints_are_exchanged():
    plain = predict()
    flipped = predict({'flip_pairs': ((0, 1),)}, tta=['hflip'])
    # The detector calls the left end of an object its first keypoint, also in a mirrored picture.
    assert torch.equal(flipped.keypoints, plain.keypoints)
    assert not torch.equal(predict({'flip_pairs': ()}, tta=['hflip']).keypoints, plain.keypoints)
    with pytest.raises(ConfigError, match='flip_pairs'):
        predict({'flip_pairs': None}, tta=['hflip'])
    assert len(predict({'flip_pairs': None}, tta=['plain', 0.8]).keypoints) == 3


@pytest.mark.parametrize('flip', ['hflip', 'vflip'])
def test_rotated_boxes_are_mirrored_with_the_image(flip: str):
    rng = np.random.default_rng(0)
    rbboxes = np.stack(
        [
            rng.uniform(0, 90, 200),
            rng.uniform(0, 60, 200),
            rng.uniform(10, 20, 200),
            rng.uniform(1, 9, 200),
            rng.uniform(-np.pi / 4, 3 * np.pi / 4, 200),
        ],
        1,
    ).astype(np.float32)
    found = instances(np.zeros((200, 4)).tolist(), [0.5] * 200, rbboxes=torch.from_numpy(rbboxes))
    mirrored = unflipped(found, SHAPE, flip, ()).rbboxes.numpy()
    matrix = np.array([[-1, 0, 90], [0, 1, 0], [0, 0, 1]] if flip == 'hflip' else [[1, 0, 0], [0, -1, 60], [0, 0, 1]])
    assert mirrored == pytest.approx(move_rbboxes(rbboxes, matrix), abs=1e-3)
    assert (mirrored[:, 4] >= -np.pi / 4).all() and (mirrored[:, 4] < 3 * np.pi / 4).all()
    assert unflipped(unflipped(found, SHAPE, flip, ()), SHAPE, flip, ()).rbboxes.numpy() == pytest.approx(
        rbboxes, abs=1e-4
    )


def test_views_share_the_memory_of_the_image():
    img = np.zeros((*SHAPE, 3), np.uint8)
    assert np.shares_memory(View((0, 0, 90, 60)).of(img), img)
    assert View((10, 5, 40, 25), Augmentation('hflip')).of(img).shape == (20, 30, 3)


def test_tiles_and_augmentations_together():
    found = predict(tile=32, tta=['plain', 'hflip', 'vflip'])
    assert sorted(found.bboxes.tolist()) == sorted(map(list, BBOXES))


def test_nms_keeps_the_best_of_a_class():
    first = instances([[0, 0, 10, 10], [50, 50, 60, 60]], [0.6, 0.9])
    second = instances([[1, 0, 11, 10], [50, 50, 60, 60]], [0.8, 0.5], [0, 1])
    fused = fuse_predictions([first, second], 'nms', 0.5)
    assert fused.scores.tolist() == pytest.approx([0.9, 0.8, 0.5])
    assert len(fuse_predictions([first, second], 'nms', 0.5, class_agnostic=True)) == 2


def test_weighted_box_fusion():
    """The example of two copies: the mean box by scores, the mean score; half of it where one copy found nothing."""
    first = instances([[0, 0, 10, 10], [50, 50, 60, 60]], [0.6, 0.9])
    second = instances([[2, 0, 12, 10]], [0.2])
    fused = fuse_predictions([first, second], 'wbf', 0.5)
    assert fused.scores.tolist() == pytest.approx([0.45, 0.4])
    assert fused.bboxes.tolist() == [[50, 50, 60, 60], pytest.approx([0.5, 0, 10.5, 10])]


def test_weighted_fusion_of_rotated_boxes_across_the_range_of_angles():
    """Two squares a few degrees either side of the end of the range, and a rectangle with its sides exchanged."""
    rows = [
        [[0, 0, 20, 10, -np.pi / 4 + 0.02], [0, 0, 20, 10, 3 * np.pi / 4 - 0.02]],
        [[0, 0, 20, 19.9, 0.0], [0, 0, 19.95, 19.9, np.pi / 2 - 0.04]],
    ]
    for a, b in rows:
        parts = [instances([[0, 0, 1, 1]], [0.5], rbboxes=torch.tensor([row], dtype=torch.float32)) for row in (a, b)]
        (rbbox,) = fuse_predictions(parts, 'wbf', 0.5).rbboxes.tolist()
        assert rbbox[2:4] == pytest.approx(a[2:4], abs=0.1)
        quarter = np.pi if a[2] != 20 or a[3] == 10 else np.pi / 2
        difference = abs(rbbox[4] - (a[4] + b[4] % quarter) / 2) % (quarter / 2)
        assert min(difference, quarter / 2 - difference) < 0.03


def test_weighted_masks_are_a_vote():
    def masks(x: int) -> InstanceMasks:
        return InstanceMasks([np.ones((10, 10), bool)], np.array([[x, 0]]), (20, 40))

    parts = [instances([[x, 0, x + 10, 10]], [score], masks=masks(x)) for x, score in ((0, 0.5), (2, 0.5), (4, 0.4))]
    fused = fuse_predictions(parts, 'wbf', 0.3)
    (mask,) = fused.masks.to_bool()
    assert np.flatnonzero(mask.any(0)).tolist() == list(range(2, 12)) and mask.sum() == 100


def test_scores_below_the_threshold_leave():
    img, colors = paint(SHAPE, BBOXES)

    class SeesOnce(ColorDetector):
        def run(self, batch):
            samples = super().run(batch)
            return samples if len(self.batches) == 1 else [empty_like(sample) for sample in samples]

    def empty_like(sample: DetDataSample) -> DetDataSample:
        sample.pred_instances = sample.pred_instances[:0]
        return sample

    for score_thr, count in ((0.25, 3), (0.35, 0)):
        detector = SeesOnce(colors)
        views = ViewPredictor(
            ViewOptions(tta=['plain', 'hflip'], tta_merge='wbf'), {'score_thr': score_thr}, {}, False, 1
        )
        assert len(views.predict(img, {}, detector.pack, detector.run).pred_instances) == count


def test_nothing_found():
    nothing = instances(np.zeros((0, 4)).tolist(), [])
    nothing.bboxes = nothing.bboxes.reshape(0, 4)
    for method in ('nms', 'wbf'):
        assert len(fuse_predictions([nothing, nothing], method, 0.5)) == 0


def test_names():
    for empty in ([], ()):
        with pytest.raises(ConfigError, match='names no augmentation: give True for plain, hflip, .* or False'):
            ViewOptions(tta=empty)
    assert parse_augmentations(False) == (Augmentation(),)
    assert len(parse_augmentations(True)) == len(DEFAULT_AUGMENTATIONS)
    assert parse_augmentations(['plain', 'hflip', 0.5, 'vflip@1.5', '2']) == (
        Augmentation(),
        Augmentation('hflip'),
        Augmentation('', 0.5),
        Augmentation('vflip', 1.5),
        Augmentation('', 2.0),
    )


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'tta': ['mirror']}, "tta has the entry 'mirror'"),
        ({'tta': 1}, 'tta is 1'),
        ({'tta': ['hflip', 'hflip@1.0']}, 'twice'),
        ({'tta': [0.01]}, 'scale by 0.1 to 4'),
        ({'tta': [True]}, 'tta has the entry True'),
        ({'tta_merge': 'mean'}, "tta_merge is 'mean', but must be one of 'nms', 'wbf'"),
    ],
)
def test_wrong_options(options: dict, message: str):
    with pytest.raises(ConfigError, match=message):
        ViewOptions(**options)
