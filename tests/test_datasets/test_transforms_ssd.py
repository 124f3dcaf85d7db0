"""SSD's augmentation, with which RT-DETR and its kin train, and switching it off by epochs."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from scene_helpers import ListDataset, annotations_of, paint, run, sample_of, shape_rings, shapes_scene
from torchvision import tv_tensors
from torchvision.transforms import v2

from detkit.config import load_config
from detkit.datasets.transforms import (
    MixUp,
    RandomFlip,
    RandomIoUCrop,
    RandomPhotometricDistort,
    RandomZoomOut,
    Render,
)
from detkit.engine.hooks import CloseTransformsHook
from detkit.registry import HOOKS
from detkit.structures import Annotations, Scene
from detkit.structures.bboxes import pairwise_iou
from detkit.utils.errors import ConfigError

SIZE = 120, 160


def bboxes_of(scene: Scene) -> np.ndarray:
    return Render(min_size=0, min_area_ratio=0, max_aspect=None)(sample_of(scene)).annotations.bboxes


# ---- zoom-out


def test_zooming_out_moves_pixels_and_objects_alike():
    factors = []
    for position in range(40):
        scene = RandomZoomOut(prob=1.0)(sample_of(shapes_scene(*SIZE), position=position)).scene
        (matrix,) = (tile.matrix for tile in scene.tiles)
        left, top = matrix[:2, 2]
        assert matrix[0, 0] == matrix[1, 1] == 1 and left == int(left) and top == int(top)
        assert 0 <= left <= scene.size[1] - SIZE[1] and 0 <= top <= scene.size[0] - SIZE[0]
        factors.append(scene.size[0] / SIZE[0])
        assert abs(scene.size[1] / SIZE[1] - factors[-1]) < 0.02
    assert 1 <= min(factors) < 1.4 and 3.5 < max(factors) < 4
    sample = Render(fill=0)(sample_of(scene))
    inner = sample.img[int(top) : int(top) + SIZE[0], int(left) : int(left) + SIZE[1]]
    assert (inner == shapes_scene(*SIZE).tiles[0].img).all() and sample.img.sum() == inner.sum()
    np.testing.assert_allclose(
        sample.annotations.bboxes, bboxes_of(shapes_scene(*SIZE)) + [left, top, left, top], atol=1e-3
    )


def test_zooming_out_happens_as_often_as_asked():
    done = [RandomZoomOut(0.3)(sample_of(shapes_scene(), position=i)).scene.size != SIZE for i in range(400)]
    assert 0.2 < np.mean(done) < 0.4
    with pytest.raises(ValueError, match='1 <= lowest <= highest'):
        RandomZoomOut(ratio=(0.5, 2.0))


# ---- crops by IoU


@pytest.mark.parametrize('min_iou', [0.0, 0.2, 0.4])
def test_crops_overlap_with_an_object_and_keep_those_with_their_centre_inside(min_iou):
    scene, cropped = shapes_scene(*SIZE), 0
    before = bboxes_of(scene)
    centres = (before[:, :2] + before[:, 2:]) / 2
    for position in range(60):
        crop = RandomIoUCrop(1.0, min_ious=(min_iou, min_iou, min_iou, 1.0), scale=(0.2, 1.0))
        after = run(crop, sample_of(scene, position=position)).scene
        if after.size == SIZE:
            continue
        cropped += 1
        (tile,) = after.tiles
        x0, y0, x1, y1 = tile.clip
        assert (y1 - y0, x1 - x0) == after.size and 0.5 <= after.size[1] / after.size[0] <= 2
        inside = ((centres > [x0, y0]) & (centres < [x1, y1])).all(1)
        assert tile.annotations.labels.tolist() == np.flatnonzero(inside).tolist() != []
        assert pairwise_iou(np.array([[x0, y0, x1, y1]]), before[inside]).max() >= min_iou
        found = bboxes_of(after)
        expected = (before[inside].clip([x0, y0] * 2, [x1, y1] * 2)) - [x0, y0] * 2
        # A box that is derived from a cut outline may be smaller than the box cut.
        assert (found[:, :2] >= expected[:, :2] - 0.01).all() and (found[:, 2:] <= expected[:, 2:] + 0.01).all()
    assert cropped > 10


@pytest.mark.thorough
def test_crops_are_distributed_as_torchvisions():
    scene = shapes_scene(*SIZE)
    bboxes = torch.from_numpy(bboxes_of(scene))
    torch.manual_seed(0)
    crop = v2.RandomIoUCrop()
    data = dict(
        image=tv_tensors.Image(torch.zeros(3, *SIZE, dtype=torch.uint8)),
        boxes=tv_tensors.BoundingBoxes(bboxes, format='XYXY', canvas_size=SIZE),
    )
    theirs = np.array([crop(data)['image'].shape[-2:] for _ in range(400)])
    ours = np.array([RandomIoUCrop(1.0)(sample_of(scene, position=i)).scene.size for i in range(400)])
    assert abs((theirs == SIZE).all(1).mean() - (ours == SIZE).all(1).mean()) < 0.08
    assert np.abs(theirs.mean(0) - ours.mean(0)).max() < 6
    assert np.abs(theirs.std(0) - ours.std(0)).max() < 4


def test_what_has_no_objects_is_not_cropped():
    scene = Scene.of_image(np.zeros((*SIZE, 3), np.uint8), Annotations())
    for position in range(20):
        assert RandomIoUCrop(1.0)(sample_of(scene, position=position)).scene is scene


def test_ignored_objects_are_no_reason_to_crop_and_stay():
    rings = shape_rings(*SIZE)
    ignored = np.array([True, False, True])
    scene = Scene.of_image(paint(*SIZE, rings), annotations_of(rings, ignored=ignored))
    sizes = set()
    for position in range(30):
        after = RandomIoUCrop(1.0)(sample_of(scene, position=position)).scene
        sizes.add(after.size)
        assert {0, 2} <= set(after.tiles[0].annotations.labels.tolist())
        assert 1 in after.tiles[0].annotations.labels
    assert len(sizes) > 5


@pytest.mark.parametrize(
    'arguments, text',
    [
        (dict(scale=(0.0, 1.0)), 'scale'),
        (dict(ratio=(2.0, 1.0)), 'ratio'),
        (dict(min_ious=(0.1, 0.9)), 'one of at least 1'),
    ],
)
def test_crops_without_an_end_are_refused(arguments, text):
    with pytest.raises(ValueError, match=text):
        RandomIoUCrop(**arguments)


# ---- colour


def test_photometric_distortion_draws_each_change_apart():
    img = np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)
    sample = sample_of(Scene.of_image(img, Annotations()))
    distorted = [
        RandomPhotometricDistort()(replace(sample, img=img, rng=np.random.default_rng(i))).img for i in range(200)
    ]
    assert all(result.dtype == np.uint8 and result.shape == img.shape for result in distorted)
    unchanged = np.mean([(result == img).all() for result in distorted])
    assert 0.01 < unchanged < 0.1  # one in 32, and permutations that change nothing
    again = RandomPhotometricDistort()(replace(sample, img=img, rng=np.random.default_rng(7))).img
    assert (again == distorted[7]).all() and (img == sample.scene.tiles[0].img).all()
    none = RandomPhotometricDistort(prob=0.0)(replace(sample, img=img)).img
    assert none is img


def test_photometric_distortion_of_one_kind():
    img = np.full((4, 4, 3), (100, 150, 200), np.uint8)
    sample = replace(sample_of(Scene.of_image(img, Annotations())), img=img)
    same = dict(brightness=(1, 1), contrast=(1, 1), saturation=(1, 1), hue=0.0)
    halved = RandomPhotometricDistort(1.0, **same | dict(brightness=(0.5, 0.5)))(sample).img
    assert sorted(halved[0, 0].tolist()) == [50, 75, 100]  # the channels are exchanged
    grey = RandomPhotometricDistort(1.0, **same | dict(saturation=(0, 0)))(sample).img
    assert np.ptp(grey) <= 1 and abs(int(grey[0, 0, 0]) - 141) <= 1
    for mistake in (dict(contrast=(1.5, 0.5)), dict(hue=0.6)):
        with pytest.raises(ValueError, match='RandomPhotometricDistort'):
            RandomPhotometricDistort(**mistake)


# ---- switching off


def test_named_transforms_run_in_their_epochs_only():
    scene = shapes_scene()
    pipeline = [RandomZoomOut(1.0), RandomFlip(1.0)]
    dataset = ListDataset([sample_of(scene).record], pipeline=pipeline)
    CloseTransformsHook(2, ['RandomZoomOut']).close(dataset, max_epochs=6)
    CloseTransformsHook(0, ['RandomFlip'], start_epoch=3).close(dataset, max_epochs=6)
    CloseTransformsHook(2).close(dataset, max_epochs=6)  # nothing mixes here
    assert dataset.active_epochs == {'RandomZoomOut': (0, 4), 'RandomFlip': (3, None)}
    acts = []
    for epoch in range(6):
        sample = sample_of(scene, inactive=dataset._inactive(epoch))
        results = [run(step, sample) is not sample for step in pipeline]
        acts.append(''.join('x' if result else '.' for result in results))
    assert acts == ['x.', 'x.', 'x.', 'xx', '.x', '.x']


def test_a_config_names_the_transforms(repo):
    hook = dict(type='CloseTransformsHook', num_epochs=2, names=['RandomFlip'], start_epoch=1)
    config = load_config(repo / 'configs/yolov8/det_coco128.py', {'custom_hooks': [hook]})
    assert HOOKS.build(config.custom_hooks[0]).names == ('RandomFlip',)


def test_a_transform_to_close_must_exist():
    with pytest.raises(ConfigError, match="'RandomZoomout', which is no registered.*Did you mean 'RandomZoomOut'"):
        CloseTransformsHook(2, ['RandomZoomout'])


def test_mixup_with_a_range_of_shares():
    shares = []
    for position in range(50):
        mixed = run(MixUp(1.0, share=(0.45, 0.55)), sample_of(shapes_scene(), position=position), [shapes_scene()])
        shares.append(mixed.scene.tiles[0].weight)
    assert 0.45 <= min(shares) < 0.47 and 0.53 < max(shares) <= 0.55
    assert len(Counter(shares)) == 50
    with pytest.raises(ValueError, match='share'):
        MixUp(share=(0.5, 1.5))
