"""Boxes, polygons, masks and keypoints stay on what is drawn, whatever matrices were composed."""

from dataclasses import replace

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from scene_helpers import annotations_of, paint, run, sample_of, shape_rings, shapes_scene

from detkit.datasets.transforms import LetterBox, Mosaic, RandomAffine, RandomFlip, RandomHSV, Render
from detkit.structures import Annotations, Polygons, Scene
from detkit.structures.scene import scale_matrix, translation_matrix

AFFINES = {
    'scale': dict(degrees=0),
    'turn': dict(degrees=90),
    'shear': dict(shear=20),
    'tilt': dict(perspective=0.001),
    'all': dict(degrees=45, shear=10, perspective=0.0005),
}


def visible_box(img):
    """The box of what is at least half green."""
    green = (img[..., 1] > 127) & (img[..., 0] < 60)
    rows, columns = np.flatnonzero(green.any(1)), np.flatnonzero(green.any(0))
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


def one_object_scene(number, height=120, width=160):
    rings = [shape_rings(height, width)[number]]
    return Scene.of_image(paint(height, width, rings), annotations_of(rings))


@pytest.mark.parametrize('affine', AFFINES)
@pytest.mark.parametrize('number', range(3))
def test_boxes_hug_what_is_drawn(affine, number):
    found = 0
    for position in range(4):
        scene = one_object_scene(number)
        results = RandomAffine(size=(150, 130), scale=0.3, **AFFINES[affine])(sample_of(scene, position=position))
        results = Render(fill=0)(results)
        for bbox in results.annotations.bboxes:
            np.testing.assert_allclose(bbox, visible_box(results.img), atol=1.01)
            found += 1
    assert found >= 2


@pytest.mark.parametrize('affine', AFFINES)
@pytest.mark.parametrize('stride', [1, 4])
def test_masks_cover_what_is_drawn(affine, stride):
    for position in range(3):
        scene = shapes_scene(240, 320)
        results = RandomAffine(size=(240, 240), scale=0.3, **AFFINES[affine])(sample_of(scene, position=position))
        results = Render(with_masks=True, mask_stride=stride, fill=0)(results)
        drawn = results.img[stride // 2 :: stride, stride // 2 :: stride, 1] > 127
        differs = (results.masks > 0) != drawn
        # Edges may differ by a pixel; areas not.
        assert differs.sum() <= 0.12 * stride * drawn.sum() / 2
        inner = drawn & ~_grown(~drawn)
        assert (results.masks > 0)[inner].all()
        assert (results.masks > 0)[~_grown(drawn)].sum() <= 2  # tips of sharp corners


def _grown(mask):
    padded = np.pad(mask, 1)
    height, width = mask.shape
    return np.any([padded[y : y + height, x : x + width] for y in range(3) for x in range(3)], axis=0)


@pytest.mark.parametrize('position', range(4))
def test_enlarged_images_are_drawn_at_their_exact_place(position):
    scene = one_object_scene(position % 3, 30, 40)
    results = RandomAffine(160, scale=0.3)(LetterBox(160)(sample_of(scene, position=position)))
    assert abs(results.scene.tiles[0].matrix[0, 0]) > 2
    rendered = Render(fill=0)(results)
    assert rendered.matrix.tolist() == results.scene.tiles[0].matrix.tolist()
    np.testing.assert_allclose(rendered.annotations.bboxes[0], visible_box(rendered.img), atol=3)


def test_strong_perspective_turns_nothing_inside_out():
    for position in range(10):
        own = sample_of(shapes_scene(240, 320), position=position)
        scene = run(Mosaic(320), own, [shapes_scene(240, 320)] * 3)
        scene = RandomAffine(320, perspective=0.1)(scene).scene
        for tile in scene.tiles:
            x0, y0, x1, y1 = tile.clip
            corners = np.array([[x0, y0, 1], [x1, y0, 1], [x1, y1, 1], [x0, y1, 1]])
            assert (corners @ tile.matrix[2] > 0.2).all()


def test_composition_equals_the_chain():
    """Composed matrices, drawn once, equal the moves made one by one."""
    scene = shapes_scene()
    moves = [
        (translation_matrix(30, -10), (130, 170)),
        (np.array([[0, -1, 130], [1, 0, 0], [0, 0, 1]], float), (170, 130)),  # a quarter turn
        (translation_matrix(130, 0) @ scale_matrix(-1, 1), (170, 130)),
    ]
    lazy, eager = scene, scene
    for matrix, size in moves:
        lazy = lazy.moved(matrix, size)
        drawn = Render(min_size=0, min_outline_area_ratio=-1, fill=0)(sample_of(eager.moved(matrix, size)))
        eager = Scene.of_image(drawn.img, drawn.annotations)
    once = Render(min_size=0, min_outline_area_ratio=-1, fill=0)(sample_of(lazy))
    assert np.abs(once.img.astype(int) - eager.tiles[0].img).max() <= 1
    np.testing.assert_allclose(once.annotations.bboxes, eager.tiles[0].annotations.bboxes, atol=1e-3)


def test_affine_matrix_centres_and_scales():
    affine = RandomAffine(translate=0, scale=0, degrees=0)
    matrix = affine.draw_matrix(sample_of(shapes_scene()).rng, (200, 100), (100, 50))
    assert (matrix @ [50, 100, 1]).tolist() == [25, 50, 1]
    for position in range(20):
        rng = sample_of(shapes_scene(), position=position).rng
        matrix = RandomAffine(translate=0.1, scale=0.5).draw_matrix(rng, (200, 200), (100, 100))
        assert 0.5 <= matrix[0, 0] == matrix[1, 1] <= 1.5
        assert (np.abs((matrix @ [100, 100, 1])[:2] - 50) <= 10).all()


@pytest.mark.parametrize('direction', ['horizontal', 'vertical'])
def test_flip_twice_is_nothing(direction):
    flip = RandomFlip(1.0, direction)
    once = flip(sample_of(shapes_scene()))
    rendered, original = Render()(once), Render()(sample_of(shapes_scene()))
    axis = 1 if direction == 'horizontal' else 0
    assert (rendered.img == np.flip(original.img, axis)).all()
    twice = Render()(flip(once))
    assert (twice.img == original.img).all()
    np.testing.assert_allclose(twice.annotations.bboxes, original.annotations.bboxes, atol=1e-4)
    assert RandomFlip(0.0)(once) is once


def test_flip_swaps_sides_of_keypoints():
    keypoints = np.array([[[10, 20, 2], [30, 20, 2], [500, 5, 2]]], np.float32)
    annotations = annotations_of([[[5, 5], [50, 5], [50, 50]]], keypoints=keypoints)
    scene = Scene.of_image(np.zeros((100, 100, 3), np.uint8), annotations)
    results = Render()(RandomFlip(1.0)(sample_of(scene, flip_pairs=((0, 1),))))
    moved = results.annotations.keypoints[0]
    assert moved[:2].tolist() == [[70, 20, 2], [90, 20, 2]]
    assert moved[2, 2] == 0  # outside
    assert (keypoints[0, :2] == [[10, 20, 2], [30, 20, 2]]).all()  # shared with every other sample of this image
    upside_down = Render()(RandomFlip(1.0, 'vertical')(sample_of(scene, flip_pairs=((0, 1),))))
    assert upside_down.annotations.keypoints[0, :2].tolist() == [[30, 80, 2], [10, 80, 2]]
    unpaired = Render()(RandomFlip(1.0)(sample_of(scene, flip_pairs=())))
    assert unpaired.annotations.keypoints[0, :2].tolist() == [[90, 20, 2], [70, 20, 2]]
    unknown = sample_of(scene, flip_pairs=None)
    assert RandomFlip(1.0)(unknown) is unknown


def test_rbboxes_move_with_the_image():
    annotations = annotations_of([[[5, 5], [50, 5], [50, 50]]], rbboxes=np.array([[30, 20, 20, 8, 0.3]], np.float32))
    scene = Scene.of_image(np.zeros((100, 100, 3), np.uint8), annotations)
    results = Render()(RandomFlip(1.0)(sample_of(scene)))
    np.testing.assert_allclose(results.annotations.rbboxes, [[70, 20, 20, 8, -0.3]], atol=1e-4)


def test_nothing_annotated():
    scene = Scene.of_image(np.zeros((40, 60, 3), np.uint8), Annotations())
    results = sample_of(scene)
    for transform in (Mosaic(64), RandomAffine(64, degrees=10), RandomFlip(1.0), Render(with_masks=True), RandomHSV()):
        results = run(transform, results, [scene] * 3)
    assert len(results.annotations) == 0 and results.annotations.bboxes.shape == (0, 4)
    assert results.img.shape == (64, 64, 3) and results.masks.shape == (16, 16) and not results.masks.any()
    separate = Render(with_masks=True, overlap_mask=False)(sample_of(scene))
    assert separate.masks.shape == (0, 10, 15)


def test_scene_without_tiles():
    results = Render(fill=9)(sample_of(Scene((4, 6), ())))
    assert (results.img == 9).all() and len(results.annotations) == 0


def test_what_is_dropped():
    bboxes = np.array(
        [
            [10, 10, 12, 30],  # no wider than 2
            [0, 40, 101 * 2.5, 42.5],  # too long
            [-95, 10, 5, 30],  # only 5 % in the frame
            [-85, 10, 15, 30],
            [300, 300, 320, 320],  # outside
        ],
        np.float32,
    )
    annotations = Annotations(np.arange(5), bboxes)
    frame = Scene.of_image(np.zeros((100, 400, 3), np.uint8), annotations)
    wide = Scene((100, 400), tuple(_uncut(tile) for tile in frame.tiles))
    assert Render()(sample_of(wide)).annotations.labels.tolist() == [3]
    with_rings = Annotations(np.arange(5), bboxes, polygons=_box_rings(bboxes))
    wide = Scene((100, 400), tuple(_uncut(tile, with_rings) for tile in frame.tiles))
    assert Render()(sample_of(wide)).annotations.labels.tolist() == [2, 3]
    assert Render(min_outline_area_ratio=0.1)(sample_of(wide)).annotations.labels.tolist() == [3]


def _uncut(tile, annotations=None):
    """A tile whose clip lets objects reach beyond the frame, as those of an affine do."""
    return replace(tile, clip=(-1000.0, -1000.0, 1000.0, 1000.0), annotations=annotations or tile.annotations)


def _box_rings(bboxes):
    corners = bboxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 2)
    return Polygons(corners, np.full(len(bboxes), 4), np.arange(len(bboxes)))


def test_ignored_objects_do_not_enter():
    rings = shape_rings(120, 160)
    annotations = annotations_of(rings, ignored=np.array([False, True, False]))
    scene = Scene.of_image(paint(120, 160, rings), annotations)
    results = Render(with_masks=True, mask_stride=1)(sample_of(scene))
    assert results.annotations.labels.tolist() == [0, 2]
    assert np.unique(results.masks).tolist() == [0, 1, 2]


def test_smaller_objects_lie_on_top_under_the_number_of_their_box():
    small, large = [[20, 20], [40, 20], [40, 40], [20, 40]], [[0, 0], [80, 0], [80, 80], [0, 80]]
    for rings in ([small, large], [large, small]):
        scene = Scene.of_image(np.zeros((80, 80, 3), np.uint8), annotations_of(rings))
        results = Render(with_masks=True)(sample_of(scene))
        index_of_small = rings.index(small) + 1
        assert (results.masks[5:10, 5:10] == index_of_small).all()
        assert (results.masks == index_of_small).sum() == 25
        separate = Render(with_masks=True, overlap_mask=False)(sample_of(scene)).masks
        assert separate.sum((1, 2)).tolist() == [25 if ring is small else 400 for ring in rings]


def test_more_objects_than_a_byte_counts():
    rings = [np.array([[0, 0], [3, 0], [3, 3], [0, 3]]) + [4 * (i % 30), 4 * (i // 30)] for i in range(300)]
    scene = Scene.of_image(np.zeros((40, 120, 3), np.uint8), annotations_of(rings))
    masks = Render(with_masks=True, mask_stride=1)(sample_of(scene)).masks
    assert masks.dtype == np.int16 and masks.max() == 300


def test_bitmaps_of_objects_of_which_none_is_left():
    """As in an image of crowds alone, which have bitmaps and are not learnt."""
    ring = shape_rings(120, 160)[0]
    given = annotations_of([ring], ignored=np.array([True]))
    bitmap = np.zeros((120, 160), np.uint8, order='F')
    annotations = Annotations(given.labels, given.bboxes, ignored=given.ignored, rles=[coco_mask.encode(bitmap)])
    scene = Scene.of_image(paint(120, 160, [ring]), annotations)
    results = Render(with_masks=True, mask_stride=4, overlap_mask=False)(sample_of(scene))
    assert results.masks.shape == (0, 30, 40) and not len(results.annotations)


@pytest.mark.parametrize('affine', AFFINES)
def test_bitmaps_move_as_their_polygons_would(affine):
    height, width = 120, 160
    ring = shape_rings(height, width)[0]
    bitmap = np.asfortranarray(paint(height, width, [ring])[..., 1] > 127).astype(np.uint8, order='F')
    given = annotations_of([ring])
    by_bitmap = Annotations(given.labels, given.bboxes, rles=[coco_mask.encode(bitmap)])
    rendered = []
    for annotations in (given, by_bitmap):
        scene = Scene.of_image(np.zeros((height, width, 3), np.uint8), annotations)
        results = RandomAffine(size=(150, 170), scale=0.3, **AFFINES[affine])(sample_of(scene, position=3))
        rendered.append(Render(with_masks=True, mask_stride=1)(results))
    (polygon, bitmap) = rendered
    np.testing.assert_allclose(polygon.annotations.bboxes, bitmap.annotations.bboxes, atol=2)
    differs = (polygon.masks != bitmap.masks).sum()
    assert differs < 0.1 * (polygon.masks > 0).sum()


def test_rings_of_one_object_are_united():
    rings = [[[10, 10], [30, 10], [30, 30], [10, 30]], [[20, 10], [50, 10], [50, 30], [20, 30]]]
    polygons = Polygons(np.concatenate(rings).astype(np.float32), np.array([4, 4]), np.array([0, 0]))
    annotations = Annotations(np.zeros(1, np.int64), polygons.bboxes(1), polygons=polygons)
    scene = Scene.of_image(np.zeros((40, 60, 3), np.uint8), annotations)
    results = Render(with_masks=True, mask_stride=2)(sample_of(scene))
    assert (results.masks > 0).sum() == 20 * 10
    assert results.annotations.bboxes.tolist() == [[10, 10, 50, 30]]


def test_hsv_changes_colours_only():
    img = np.stack(np.meshgrid(np.arange(0, 250, 10), np.arange(0, 250, 10)), -1)
    img = np.concatenate([img, img[..., :1] // 2], 2).astype(np.uint8)
    results = sample_of(shapes_scene(), img=img)
    assert RandomHSV(0, 0, 0)(results) is results
    changed = RandomHSV()(results).img
    assert changed.shape == img.shape and (changed != img).any()
    grey = RandomHSV(hue=0.1, saturation=0.5, value=0)(replace(results, img=np.full((4, 4, 3), 90, np.uint8))).img
    assert (grey == 90).all()


def test_hsv_may_be_shifted_by_shares_of_the_range():
    grey = np.full((4, 4, 3), 90, np.uint8)
    values = set()
    for position in range(40):
        own = sample_of(shapes_scene(), position=position, img=grey)
        changed = RandomHSV(hue=0, saturation=0, value=30 / 255, additive=True, prob=0.5)(own).img
        assert len(np.unique(changed)) == 1
        values.add(int(changed[0, 0, 0]) - 90)
    assert min(values) >= -30 and max(values) <= 30 and max(values) - min(values) > 40
    assert 0 in values  # of those that are left alone, half of them


@pytest.mark.parametrize(('scale', 'lowest', 'highest'), [(0.5, 0.5, 1.5), ((0.1, 2.0), 0.1, 2.0)])
def test_affine_draws_factors_from_its_range(scale, lowest, highest):
    transform = RandomAffine(64, scale=scale)
    rng = np.random.default_rng(0)
    factors = [transform.draw_matrix(rng, (64, 64), (64, 64))[0, 0] for _ in range(300)]
    assert lowest <= min(factors) < lowest + 0.05 and highest - 0.05 < max(factors) <= highest
    unchanged = RandomAffine(64, scale=scale, prob=0.0).draw_matrix(rng, (64, 64), (64, 64))
    assert unchanged.tolist() == np.eye(3).tolist()


@pytest.mark.parametrize('scale', [1.0, -0.1, (0.0, 1.0), (2.0, 1.0), (1.0,)])
def test_affine_refuses_odd_ranges(scale):
    with pytest.raises(ValueError, match='the lowest and highest factor'):
        RandomAffine(64, scale=scale)


def test_letterbox_then_affine_keeps_hold():
    results = RandomAffine(64, degrees=20)(LetterBox(64)(sample_of(one_object_scene(0))))
    results = Render(fill=0)(results)
    np.testing.assert_allclose(results.annotations.bboxes[0], visible_box(results.img), atol=1.01)
