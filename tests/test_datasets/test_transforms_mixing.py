"""Mosaic, mixup and copy-paste: which image lands where, and whose objects stay."""

import numpy as np
import pytest
from scene_helpers import annotations_of, paint, run, sample_of, shapes_scene

from detkit.datasets.transforms import (
    CenterCrop,
    CopyPaste,
    GridMosaic,
    MixUp,
    Mosaic,
    RandomAffine,
    RandomChoice,
    Render,
    ScaledMixUp,
)
from detkit.structures import Annotations, Scene


def flat(height, width, value, label=0):
    """A single-coloured image that is one object from edge to edge."""
    annotations = annotations_of([[[0, 0], [width, 0], [width, height], [0, height]]], [label])
    return Scene.of_image(np.full((height, width, 3), value, np.uint8), annotations)


@pytest.mark.parametrize('position', range(6))
def test_mosaic_puts_four_images_round_a_point(position):
    scenes = [flat(64, 64, 40, 0), flat(32, 64, 80, 1), flat(64, 32, 160, 2), flat(128, 128, 200, 3)]
    results = run(Mosaic(64), sample_of(scenes[0], position=position), scenes[1:])
    assert results.scene.size == (128, 128)
    rendered = Render()(results)
    img, bboxes = rendered.img[..., 0], rendered.annotations.bboxes
    boxes = dict(zip(rendered.annotations.labels.tolist(), bboxes, strict=True))
    x, y = boxes[0][2:]  # the first image's bottom right corner is the meeting point
    assert 32 <= x <= 96 and 32 <= y <= 96
    assert boxes[1][[0, 3]].tolist() == boxes[2][[2, 1]].tolist() == boxes[3][:2].tolist() == [x, y]
    assert boxes[0].tolist() == [max(x - 64, 0), max(y - 64, 0), x, y]
    assert boxes[3].tolist() == [x, y, min(x + 64, 128), min(y + 64, 128)]
    for label, value in enumerate((40, 80, 160, 200)):
        x0, y0, x1, y1 = boxes[label].astype(int)
        assert (img[y0:y1, x0:x1] == value).all()
    drawn = sum(int((box[2] - box[0]) * (box[3] - box[1])) for box in bboxes)
    assert (img == 114).sum() == 128 * 128 - drawn


@pytest.mark.parametrize('position', range(6))
@pytest.mark.parametrize('degrees', [0, 30])
def test_mosaic_behind_an_affine_keeps_objects_in_their_tiles(position, degrees):
    """The masks of tiles that are objects from edge to edge are the tiles as drawn."""
    scenes = [flat(96, 128, 40), flat(90, 64, 80, 1), flat(64, 80, 160, 2), flat(128, 128, 200, 3)]
    results = run(Mosaic(128), sample_of(scenes[0], position=position), scenes[1:])
    results = Render(with_masks=True, mask_stride=1, min_size=0)(RandomAffine(128, degrees=degrees)(results))
    labels = results.annotations.labels
    values = np.array([114, *np.array([40, 80, 160, 200])[labels]])
    differs = values[results.masks] != results.img[..., 0]
    # Pixels on the edges, of up to four tiles, may fall to either neighbour.
    assert differs.sum() <= (900 if degrees else 4 * 128)
    inner = ~differs[1:-1, 1:-1]
    assert inner.mean() > 0.94


@pytest.mark.parametrize('mosaic', [Mosaic(32), GridMosaic(32)])
def test_what_lies_beside_a_sample_does_not_cover_the_others_of_a_mosaic(mosaic):
    """Each image is cropped to its middle, an object; the rest of a later image would be drawn over it."""
    scenes = [
        run(CenterCrop(32), sample_of(Scene.of_image(np.full((96, 96, 3), value, np.uint8), whole(label)))).scene
        for label, value in enumerate((40, 80, 120, 160))
    ]
    rendered = Render()(run(mosaic, sample_of(scenes[0]), scenes[1:]))
    assert rendered.annotations.labels.tolist() == [0, 1, 2, 3]
    for label, (x0, y0, x1, y1) in enumerate(rendered.annotations.bboxes.round().astype(int)):
        assert (rendered.img[y0:y1, x0:x1] == 40 * (label + 1)).all()


def whole(label: int) -> Annotations:
    return annotations_of([[[32, 32], [64, 32], [64, 64], [32, 64]]], [label])


def test_no_mosaic_is_a_letterbox():
    scene = shapes_scene(60, 80)
    for transform, own in (
        (Mosaic(64, prob=0.0), sample_of(scene)),
        (Mosaic(64), sample_of(scene, inactive={'Mosaic'})),
    ):
        left = run(transform, own, [scene] * 3)
        assert left.scene.size == (64, 64) and len(left.scene.tiles) == 1
        np.testing.assert_allclose(left.scene.tiles[0].matrix, [[0.8, 0, 0], [0, 0.8, 8], [0, 0, 1]])
    assert len(run(Mosaic(64), sample_of(scene), [scene] * 3).scene.tiles) > 1


def test_mixup_averages_and_keeps_both():
    results = run(MixUp(1.0), sample_of(flat(32, 32, 200, 0)), [flat(32, 32, 100, 1)])
    share = results.scene.tiles[0].weight
    assert 0 < share < 1 and results.scene.tiles[1].weight == pytest.approx(1 - share)
    rendered = Render()(results)
    assert np.abs(rendered.img - (share * 200 + (1 - share) * 100)).max() <= 1
    assert rendered.annotations.labels.tolist() == [0, 1]


def test_mixup_averages_the_grey_of_both_layers():
    own = run(Mosaic(32), sample_of(flat(32, 32, 200)), [flat(32, 32, 200)] * 3).scene
    other = run(Mosaic(32), sample_of(flat(16, 32, 0), position=1), [flat(16, 32, 0)] * 3).scene
    mixed = run(MixUp(1.0), sample_of(own), [other]).scene
    share = mixed.tiles[0].weight
    alone = [Render()(sample_of(scene)).img.astype(float) for scene in (own, other)]
    expected = share * alone[0] + (1 - share) * alone[1]
    assert np.abs(Render()(sample_of(mixed)).img - expected).max() <= 1


def test_mixup_twice_is_an_average_of_three():
    first = run(MixUp(1.0), sample_of(flat(8, 8, 0)), [flat(8, 8, 120)])
    second = run(MixUp(1.0), first, [flat(8, 8, 240)])
    weights = [tile.weight for tile in second.scene.tiles]
    assert sum(weights) == pytest.approx(1) and len(weights) == 3
    assert np.abs(Render()(second).img - (weights[1] * 120 + weights[2] * 240)).max() <= 1


def test_mixup_of_different_sizes_is_an_error():
    with pytest.raises(ValueError, match='one size'):
        run(MixUp(1.0), sample_of(flat(8, 8, 0)), [flat(8, 9, 0)])


@pytest.mark.parametrize('factor', [0.5, 1.0, 1.5])
def test_the_image_that_is_averaged_may_be_scaled(factor):
    """A mark in its middle shows where it comes to lie."""
    img = np.full((80, 80, 3), 100, np.uint8)
    img[35:45, 30:50] = 200
    other = Scene.of_image(img, annotations_of([[[30, 35], [50, 35], [50, 45], [30, 45]]]))
    own = sample_of(flat(64, 64, 0))
    transform = ScaledMixUp(scale=(factor, factor), flip_prob=0.0)
    mixed = run(transform, own, [other])
    assert [tile.weight for tile in mixed.scene.tiles] == [0.5, 0.5]
    matrix = mixed.scene.tiles[1].matrix
    assert matrix[0, 0] == pytest.approx(0.8 * factor) and matrix[1, 1] == pytest.approx(0.8 * factor)
    assert -64 * max(factor - 1, 0) <= matrix[0, 2] <= 0 and -64 * max(factor - 1, 0) <= matrix[1, 2] <= 0
    assert (matrix[0, 2] < 0) == (factor > 1)
    rendered = Render(min_size=0, min_area_ratio=0, min_outline_area_ratio=0)(mixed)
    x0, y0, x1, y1 = np.clip(np.array([30, 35, 50, 45]) * 0.8 * factor + np.tile(matrix[:2, 2], 2), 0, 64)
    inner = rendered.img[int(np.ceil(y0)) + 1 : int(y1) - 1, int(np.ceil(x0)) + 1 : int(x1) - 1, 0]
    assert (np.abs(inner.astype(int) - 100) <= 1).all()
    # It lands on whole pixels.
    np.testing.assert_allclose(rendered.annotations.bboxes[-1], [x0, y0, x1, y1], atol=0.5)


def test_the_image_that_is_averaged_may_be_mirrored():
    other = Scene.of_image(np.full((64, 64, 3), 90, np.uint8), annotations_of([[[0, 0], [8, 0], [8, 8], [0, 8]]]))
    mixed = run(ScaledMixUp(scale=(1.0, 1.0), flip_prob=1.0), sample_of(flat(64, 64, 0)), [other])
    assert Render()(mixed).annotations.bboxes[-1].tolist() == [56, 0, 64, 8]


def test_a_plain_image_is_averaged_with_a_mosaic():
    scenes = [flat(32, 32, value) for value in (40, 80, 120, 160)]
    steps = [Mosaic(32), RandomAffine(32), ScaledMixUp(scale=(1.0, 1.0))]
    mixed = run(RandomChoice([steps]), sample_of(scenes[0]), scenes[1:])
    layers = [tile.layer for tile in mixed.scene.tiles]
    assert layers == [0, 0, 0, 0, 1] and mixed.scene.size == (32, 32)
    late = sample_of(scenes[0], inactive={'Mosaic', 'ScaledMixUp'})
    assert run(RandomChoice([steps, []], [0.9, 0.1]), late) is late


@pytest.mark.parametrize('options', [dict(scale=(0, 1)), dict(scale=(2, 1)), dict(share=1.5)])
def test_odd_arguments_of_scaled_mixup_are_refused(options):
    with pytest.raises(ValueError, match='expected'):
        ScaledMixUp(**options)


def test_mixing_stops_where_asked():
    late = sample_of(shapes_scene(), inactive={'MixUp', 'CopyPaste', 'ScaledMixUp'})
    for transform in (MixUp(1.0), CopyPaste(1.0), ScaledMixUp(1.0)):
        assert run(transform, late) is late
    for transform in (MixUp(0.0), CopyPaste(0.0), ScaledMixUp(0.0)):
        own = sample_of(shapes_scene())
        assert run(transform, own) is own


def test_copies_are_mirrored_objects_where_there_is_room():
    height, width = 100, 200
    ring = np.array([[10, 20], [60, 20], [60, 70], [10, 50]], float)
    scene = Scene.of_image(paint(height, width, [ring]), annotations_of([ring], [7]))
    results = Render(with_masks=True, mask_stride=1)(CopyPaste(1.0)(sample_of(scene)))
    assert results.annotations.labels.tolist() == [7, 7]
    np.testing.assert_allclose(results.annotations.bboxes, [[10, 20, 60, 70], [140, 20, 190, 70]], atol=1e-4)
    green = results.img[..., 1]
    assert np.abs(green.astype(int) - np.maximum(green, green[:, ::-1])).mean() < 1  # its own mirror image
    assert (green[30:45, 145:185] > 250).all()
    assert ((results.masks == 2) != (green > 127))[:, 100:].sum() < 120


def test_copies_that_would_hide_something_are_not_made():
    ring = np.array([[80, 20], [120, 20], [120, 70], [80, 70]], float)  # its own mirror image
    scene = Scene.of_image(paint(100, 200, [ring]), annotations_of([ring]))
    assert len(CopyPaste(1.0)(sample_of(scene)).scene.tiles) == 1
    ignored = annotations_of([ring - [70, 0]], ignored=np.array([True]))
    assert len(CopyPaste(1.0)(sample_of(Scene.of_image(scene.tiles[0].img, ignored))).scene.tiles) == 1
    boxes_only = Annotations(np.zeros(1, np.int64), np.array([[10, 20, 50, 70]], np.float32))
    assert len(CopyPaste(1.0)(sample_of(Scene.of_image(scene.tiles[0].img, boxes_only))).scene.tiles) == 1
    assert len(CopyPaste(1.0)(sample_of(Scene.of_image(scene.tiles[0].img, Annotations()))).scene.tiles) == 1


def test_copy_paste_takes_what_covers_least_first():
    """Mirrored, the first object and the last cover 0.12 of each other, the third 0.07 of the last, the second none."""
    lefts_tops = [(2, 8), (40, 0), (3, 9), (84, 0)]
    rings = [np.array([[x, y], [x + 10, y], [x + 10, y + 10], [x, y + 10]], float) for x, y in lefts_tops]
    scene = Scene.of_image(np.zeros((100, 100, 3), np.uint8), annotations_of(rings, [0, 1, 2, 3]))

    def pasted(prob: float, order: str, position: int = 0) -> list[int]:
        tiles = CopyPaste(prob, order=order)(sample_of(scene, position=position)).scene.tiles[1:]
        return sorted(label for tile in tiles for label in tile.annotations.labels.tolist())

    assert [pasted(prob, 'least_covered') for prob in (0.25, 0.5)] == [[1], [1, 2]]
    assert len({tuple(pasted(0.25, 'random', position)) for position in range(20)}) > 1
    with pytest.raises(ValueError, match=r"order='best'\): expected 'random' or 'least_covered'"):
        CopyPaste(order='best')


def test_copies_in_a_mosaic_follow_the_affine():
    scenes = [shapes_scene(120, 160) for _ in range(4)]
    results = sample_of(scenes[0], position=2)
    for transform in (Mosaic(160), CopyPaste(1.0, max_covered=0.9), RandomAffine(160, degrees=20)):
        results = run(transform, results, scenes[1:])
    assert any(tile.pasted for tile in results.scene.tiles)
    rendered = Render(with_masks=True, mask_stride=1, fill=0)(results)
    green = rendered.img[..., 1] > 127
    assert ((rendered.masks > 0) != green).mean() < 0.03
    assert green.any()
