"""DETR's resizing, cropping and choosing, and its whole training pipeline."""

from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from scene_helpers import annotations_of, run, sample_of, shapes_scene
from torchvision.models.detection.transform import _resize_image_and_masks

from detkit.config import load_config
from detkit.datasets.collate import collate
from detkit.datasets.transforms import RandomChoice, RandomCrop, RandomFlip, Render, ResizeShortestEdge
from detkit.datasets.transforms.choice import nested_transforms
from detkit.datasets.transforms.cropping import short_side_shape
from detkit.registry import TRANSFORMS
from detkit.structures import Annotations, Record, Scene
from detkit.utils.rng import keyed_rng

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'

# What DETR's validation makes of images of COCO (published transforms, short side 800, long side at most 1333).
VALIDATION_SHAPES = {
    (480, 640): (800, 1066),
    (640, 480): (1066, 800),
    (427, 640): (800, 1199),
    (333, 500): (800, 1201),
    (375, 640): (781, 1332),
    (640, 250): (1333, 521),
    (51, 640): (106, 1330),
    (800, 800): (800, 800),
    (1600, 1200): (1066, 800),
}


@pytest.mark.parametrize('shape', VALIDATION_SHAPES)
def test_validation_size(shape):
    assert short_side_shape(shape, 800, 1333) == VALIDATION_SHAPES[shape]


@pytest.mark.parametrize('shape', [*VALIDATION_SHAPES, (385, 640), (720, 1280)])
def test_rounding_down_is_torchvision_s(shape):
    image = torch.zeros(1, *shape)
    expected, _ = _resize_image_and_masks(image, 80, 133)
    assert short_side_shape(shape, 80, 133, 'down') == tuple(expected.shape[1:])


@pytest.mark.parametrize('shape', [(60, 80), (90, 47), (33, 200)])
def test_validation_image_equals_pillow(shape):
    img = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    results = sample_of(Scene.of_image(img, Annotations()))
    ours = Render(antialias=True)(ResizeShortestEdge(72, 120)(results)).img
    height, width = short_side_shape(shape, 72, 120)
    assert (ours == np.asarray(Image.fromarray(img).resize((width, height), Image.Resampling.BILINEAR))).all()


def test_one_of_several_sizes_is_drawn():
    resize = ResizeShortestEdge([48, 64, 80], max_size=110)
    scene = shapes_scene()
    shapes = Counter(resize(sample_of(scene, position=i)).scene.size for i in range(300))
    assert set(shapes) == {(48, 64), (64, 85), (80, 106)} and min(shapes.values()) > 70
    assert len({resize(sample_of(scene, position=7)).scene.size for _ in range(3)}) == 1


def test_crops_keep_their_promises():
    crop = RandomCrop(30, 60)
    rects = np.array([crop.draw_rect(keyed_rng(0, 0, i), (100, 200)) for i in range(2000)])
    left, top, right, bottom = rects.T
    assert left.min() == 0 and top.min() == 0 and right.max() == 200 and bottom.max() == 100
    widths, heights = right - left, bottom - top
    for sides in (widths, heights):
        assert np.bincount(sides, minlength=61)[30:].min() > 20 and sides.min() == 30 and sides.max() == 60
    assert abs(np.corrcoef(widths, heights)[0, 1]) < 0.1
    small = np.array([crop.draw_rect(keyed_rng(0, 0, i), (20, 40)) for i in range(50)])
    assert (small[:, 3] - small[:, 1] == 20).all() and set(small[:, 2] - small[:, 0]) <= set(range(30, 41))


@pytest.mark.parametrize('position', range(6))
def test_crop_is_what_a_slice_gives(position):
    """Boxes and masks too: those of the outlines cut at the crop's edge."""
    scene = shapes_scene()
    whole = Render(with_masks=True, mask_stride=1, overlap_mask=False)(sample_of(scene))
    x0, y0, x1, y1 = RandomCrop(50, 90).draw_rect(keyed_rng(0, 0, position), scene.size)
    keep_all = dict(min_size=0, max_aspect=None, min_area_ratio=0, min_outline_area_ratio=0)
    cropped = Render(with_masks=True, mask_stride=1, overlap_mask=False, **keep_all)(
        RandomCrop(50, 90)(sample_of(scene, position=position))
    )
    assert (cropped.img == whole.img[y0:y1, x0:x1]).all()
    labels = cropped.annotations.labels
    assert set(labels) == {label for label in range(3) if whole.masks[label, y0:y1, x0:x1].any()}
    for label, bbox, mask in zip(labels, cropped.annotations.bboxes, cropped.masks, strict=True):
        sliced = whole.masks[label, y0:y1, x0:x1]
        assert (mask != sliced).mean() < 0.01
        rows, columns = np.flatnonzero(sliced.any(1)), np.flatnonzero(sliced.any(0))
        np.testing.assert_allclose(bbox, [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], atol=1.5)


def test_choice_runs_one_branch():
    mark = [partial(_marked, name=name) for name in 'abc']
    scene = shapes_scene()

    def way(choice, position):
        return run(choice, sample_of(scene, position=position, skip_reason='')).skip_reason

    choice = RandomChoice([[mark[0], mark[1]], [], [mark[2]]], prob=[0.5, 0.2, 0.3])
    ways = Counter(way(choice, i) for i in range(2000))
    assert set(ways) == {'ab', '', 'c'}
    shares = [abs(ways[name] / 2000 - share) for name, share in (('ab', 0.5), ('', 0.2), ('c', 0.3))]
    assert max(shares) < 0.04
    even = RandomChoice([[mark[0]], [mark[1]]])
    assert 400 < sum(way(even, i) == 'a' for i in range(1000)) < 600
    assert way(RandomChoice([[mark[0]], [mark[1]]], prob=[0, 1]), 0) == 'b'


def _marked(sample, name):
    return replace(sample, skip_reason=sample.skip_reason + name)


@pytest.mark.parametrize(
    ('build', 'message'),
    [
        (lambda: RandomChoice([]), 'at least one'),
        (lambda: RandomChoice([[], []], prob=[0.5]), '2 probabilities'),
        (lambda: RandomChoice([[], []], prob=[0.5, 0.6]), 'sum up to 1'),
        (lambda: RandomChoice([[], []], prob=[1.5, -0.5]), 'sum up to 1'),
        (lambda: ResizeShortestEdge([]), 'at least 1'),
        (lambda: ResizeShortestEdge(0), 'at least 1'),
        (lambda: ResizeShortestEdge([480, 800], max_size=600), 'at least the short side'),
        (lambda: ResizeShortestEdge(rounding='up'), "expected 'nearest' or 'down'"),
        (lambda: RandomCrop(0, 10), '0 < min_size'),
        (lambda: RandomCrop(20, 10), 'min_size <= max_size'),
    ],
)
def test_mistakes_are_told(build, message):
    with pytest.raises(ValueError, match=message):
        build()


# -- the recipe ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def recipe():
    return load_config(CONFIGS / 'detr' / 'det_coco.py')


def test_recipe_has_the_published_sizes(recipe):
    assert recipe.short_sides == [480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800]
    assert recipe.max_size == 1333
    assert recipe.sides_before_crop == [400, 500, 600] and recipe.crop_sides == (384, 600)


def test_recipe_draws_both_ways(recipe):
    steps = [TRANSFORMS.build(step) for step in recipe.train_pipeline[1:4]]
    matrices, cropped, scene = [], 0, shapes_scene(480, 640)
    for position in range(200):
        results = sample_of(scene, position=position)
        for step in steps:
            results = run(step, results)
        (tile,) = results.scene.tiles
        height, width = results.scene.size
        assert min(height, width) in range(480, 801, 32) or max(height, width) > 1200
        assert max(height, width) <= 1334
        cropped += tile.clip != (0, 0, 640, 480)
        matrices.append(tile.matrix)
    assert 70 < cropped < 130
    assert 70 < sum(matrix[0, 0] < 0 for matrix in matrices) < 130


@pytest.mark.parametrize('position', range(8))
def test_recipe_keeps_boxes_on_what_is_drawn(recipe, position):
    scene = shapes_scene(240, 320)
    results = sample_of(scene, position=position)
    for step in recipe.train_pipeline[1:4]:
        results = run(TRANSFORMS.build(step), results)
    results = TRANSFORMS.build({**recipe.render, 'fill': 0})(results)
    green = results.img[..., 1] > 127
    assert green.any()
    for x0, y0, x1, y1 in results.annotations.bboxes:
        x0, y0, x1, y1 = (int(round(float(v))) for v in (x0, y0, x1, y1))
        edge = 3
        grown = green[max(y0 - edge, 0) : y1 + edge, max(x0 - edge, 0) : x1 + edge]
        # Paint ends within a few pixels of each side: nothing else stands so near.
        rows, columns = np.flatnonzero(grown.any(1)), np.flatnonzero(grown.any(0))
        assert abs(len(rows) - (y1 - y0)) <= 2 * edge and abs(columns[-1] + 1 - columns[0] - (x1 - x0)) <= 2 * edge


def test_slivers_stay_and_a_batch_is_padded_to_its_largest(recipe):
    thin = annotations_of([[[10, 10], [11, 10], [11, 300], [10, 300]], [[0, 0], [0.5, 0], [0.5, 0.5], [0, 0.5]]])
    render, pack = TRANSFORMS.build(recipe.render), TRANSFORMS.build(dict(type='PackInputs'))
    packed = []
    for shape in ((320, 20), (16, 300)):
        scene = Scene.of_image(np.full((*shape, 3), 7, np.uint8), thin)
        record = Record('x.jpg', 0, shape, thin)
        results = RandomFlip(0.0)(sample_of(scene, record=record, ori_shape=shape))
        packed.append(pack(render(results)))
    batch = collate(packed)
    assert batch['inputs'].shape == (2, 3, 320, 300) and batch['gt'].img_shapes.tolist() == [[320, 20], [16, 300]]
    assert batch['gt'].labels.tolist() == [[0, 1], [0, 1]]
    assert len(TRANSFORMS.build(dict(type='Render'))(results).annotations) == 0
    assert cv2.countNonZero((batch['inputs'][0, 0].numpy() == 7).astype(np.uint8)) == 320 * 20


def test_mosaics_inside_a_choice_are_found():
    mosaic, mixup = (TRANSFORMS.build(dict(type=name)) for name in ('Mosaic', 'MixUp'))
    flip, inner = RandomFlip(), RandomChoice([[mosaic], []])
    outer = RandomChoice([[inner, mixup]])
    assert list(nested_transforms([flip, outer])) == [flip, outer, inner, mosaic, mixup]
