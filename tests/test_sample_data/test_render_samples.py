from collections import Counter

import cv2
import numpy as np
import pytest
from scipy.ndimage import binary_fill_holes

from detkit.datasets.class_names import COCO80
from detkit.sample_data import coco8
from detkit.sample_data.coco8 import label_lines, render_coco8_seg, render_scenes, training_images
from detkit.sample_data.rendering import (
    DRAWERS,
    Backdrop,
    Canvas,
    Placement,
    Sprite,
    Zone,
    compose,
    join,
    populate,
    trace,
)
from detkit.utils.rng import keyed_rng


@pytest.fixture(scope='module')
def scenes():
    return {split: list(render_scenes(split, count)) for split, count in (('train', 4), ('val', 5))}


@pytest.fixture(scope='module')
def root(scenes, tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'coco8-seg'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coco8, 'render_scenes', lambda split, count, seed: scenes[split][:count])
        render_coco8_seg(root)
    return root


def read_labels(root, split):
    """Per image, its (class, (K, 2) normalised polygon) pairs, parsed without the package's reader."""
    found = {}
    for path in sorted((root / 'labels' / split).iterdir()):
        rows = [line.split() for line in path.read_text().splitlines()]
        found[path.stem] = [(int(row[0]), np.array(row[1:], float).reshape(-1, 2)) for row in rows]
    return found


def area(polygon):
    x, y = np.asarray(polygon, float).T
    return abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def square(size, value=200.0):
    alpha = np.ones((size, size), np.float32)
    return Sprite(np.full((size, size, 3), value, np.float32), alpha, np.eye(2, 3))


@pytest.mark.thorough
def test_training_images_are_drawn_once(scenes, scenes_drawn_once):
    images = training_images()
    assert training_images() is images and not any(image.flags.writeable for image in images)
    assert all(np.array_equal(image, scene.image) for image, scene in zip(images, scenes['train'], strict=False))


def test_layout(root):
    for split in ('train', 'val'):
        images = sorted(path.name for path in (root / 'images' / split).iterdir())
        labels = sorted(path.name for path in (root / 'labels' / split).iterdir())
        assert len(images) == 4
        assert [name[:-4] for name in images] == [name[:-4] for name in labels]
        assert all(name.endswith('.jpg') for name in images)
        for name in images:
            image = cv2.imread(str(root / 'images' / split / name))
            assert max(image.shape[:2]) == 640
            assert image.std() > 30  # not a blank sheet
    stems = {split: {p.stem for p in (root / 'images' / split).iterdir()} for split in ('train', 'val')}
    assert not stems['train'] & stems['val']


def test_files_are_the_same_every_time(root, tmp_path):
    before = np.random.get_state()[1].copy()
    render_coco8_seg(tmp_path, num_train=2, num_val=1)
    assert (np.random.get_state()[1] == before).all()
    again = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob('*') if path.is_file())
    assert len(again) == 6
    for path in again:
        if path.parts[1] == 'train':
            assert (tmp_path / path).read_bytes() == (root / path).read_bytes(), path
    # a validation file is numbered on from the training files, so its name differs here
    (image,), (label,) = ((tmp_path / kind / 'val').iterdir() for kind in ('images', 'labels'))
    assert image.read_bytes() == (root / 'images/val/000000000005.jpg').read_bytes()
    assert label.read_bytes() == (root / 'labels/val/000000000005.txt').read_bytes()


def test_another_seed_gives_other_pictures(scenes):
    other = next(render_scenes('train', 1, seed=1))
    assert (other.image != scenes['train'][0].image).mean() > 0.5
    assert label_lines(other) != label_lines(scenes['train'][0])


def test_more_scenes_than_places(scenes):
    fifth = scenes['val'][4]
    assert len(fifth.objects) >= 5


def test_labels_are_valid(root):
    for split in ('train', 'val'):
        for stem, objects in read_labels(root, split).items():
            assert 8 <= len(objects) <= 16, stem
            for label, polygon in objects:
                assert 0 <= label < 80
                assert len(polygon) >= 3
                assert polygon.min() >= 0 and polygon.max() <= 1
                assert (np.ptp(polygon, axis=0) > 0.01).all()
                assert area(polygon) > 1e-4


def test_every_val_class_can_be_learnt_from_train(root):
    counts = {split: Counter() for split in ('train', 'val')}
    pictures = Counter()
    for split, count in counts.items():
        for objects in read_labels(root, split).values():
            count.update(label for label, _ in objects)
            pictures.update({label for label, _ in objects} if split == 'train' else ())
    assert len(counts['val']) >= 6
    for label in counts['val']:
        assert counts['train'][label] >= 3 and pictures[label] >= 2, COCO80[label]
    assert {'stop sign', 'sports ball', 'kite', 'clock', 'donut', 'umbrella'} <= {COCO80[c] for c in counts['val']}


def test_small_medium_and_large_objects(scenes):
    for split in ('train', 'val'):
        areas = np.array([instance.coverage.sum() for scene in scenes[split] for instance in scene.objects])
        assert (areas < 32**2).any() and (areas > 96**2).any()
        assert ((areas > 32**2) & (areas < 96**2)).sum() > 10


def test_polygons_hug_what_is_seen(scenes):
    zoom = 4
    for scene in scenes['train'] + scenes['val']:
        h, w = scene.image.shape[:2]
        for instance in scene.objects:
            x0, y0 = np.maximum(instance.polygon.min(0).astype(int) - 4, 0)
            x1, y1 = np.minimum(instance.polygon.max(0).astype(int) + 5, (w, h))
            seen = cv2.resize(instance.coverage[y0:y1, x0:x1], None, fx=zoom, fy=zoom) > 0.5
            seen = binary_fill_holes(seen)
            drawn = np.zeros(seen.shape, np.uint8)
            points = np.rint((instance.polygon - (x0, y0)) * zoom * 16 - 8).astype(np.int32)
            cv2.fillPoly(drawn, [points], 1, cv2.LINE_8, 4)
            drawn = drawn.astype(bool)
            iou = (seen & drawn).sum() / (seen | drawn).sum()
            assert iou > 0.95, (COCO80[instance.label], instance.coverage.sum(), iou)
            ys, xs = np.nonzero(instance.coverage > 0.5)
            low, high = instance.polygon.min(0), instance.polygon.max(0)
            # a piece of less than four square pixels isn't outlined, so this holds but for such crumbs
            assert (
                np.abs(low - (xs.min(), ys.min())).max() < 3 and np.abs(high - (xs.max() + 1, ys.max() + 1)).max() < 3
            )


def test_most_of_each_object_is_seen_and_some_are_partly_hidden(scenes):
    pieces = []
    for scene in scenes['train'] + scenes['val']:
        for instance in scene.objects:
            pieces.append(len(trace(instance.coverage)))
    assert np.mean(np.array(pieces) == 1) > 0.8
    boxes = [(s.objects[i].polygon, s.objects[j].polygon) for s in scenes['train'] for j in range(12) for i in range(j)]
    meet = [(a.min(0) < b.max(0)).all() and (b.min(0) < a.max(0)).all() for a, b in boxes]
    assert sum(meet) >= 4


def test_trace_is_subpixel_accurate():
    y, x = np.mgrid[:80, :90] + 0.5
    for cx, cy, radius in ((40.3, 38.7, 25.0), (44.9, 40.1, 8.4)):
        distance = np.hypot(x - cx, y - cy)
        (polygon,) = trace(np.clip(radius - distance + 0.5, 0, 1).astype(np.float32))
        from_centre = np.hypot(*(polygon - (cx, cy)).T)
        assert np.abs(from_centre - radius).max() < 0.25
        assert area(polygon) == pytest.approx(np.pi * radius**2, rel=0.01)


def test_trace_reaches_the_border_and_handles_nothing():
    assert trace(np.zeros((10, 12), np.float32)) == []
    coverage = np.zeros((20, 30), np.float32)
    coverage[5:, :10] = 1
    (polygon,) = trace(coverage)
    np.testing.assert_allclose(polygon.min(0), (0, 5), atol=0.15)
    np.testing.assert_allclose(polygon.max(0), (10, 20), atol=0.15)


def test_join_keeps_the_area_and_all_vertices():
    first = np.array([(0, 0), (10, 0), (10, 10), (0, 10)], float)
    pieces = [first, first + (14, 3), first + (3, 30)]
    joined = join(pieces)
    assert area(joined) == pytest.approx(300)
    assert {tuple(p) for piece in pieces for p in piece} == {tuple(p) for p in joined}


def test_compose_hides_what_is_behind_and_skips_props():
    backdrop = np.full((60, 80, 3), 100, np.float32)
    behind, prop, front = Placement(square(30), 10, 10, 3), Placement(square(6), 0, 0), Placement(square(20), 30, 10, 7)
    scene = compose(backdrop, [behind, prop, front], keyed_rng(0))
    assert scene.image.shape == (60, 80, 3) and scene.image.dtype == np.uint8
    assert [instance.label for instance in scene.objects] == [3, 7]
    assert area(scene.objects[0].polygon) == pytest.approx(30 * 30 - 10 * 20, rel=0.02)
    np.testing.assert_allclose(scene.objects[1].polygon.min(0), (30, 10), atol=0.2)
    np.testing.assert_allclose(scene.objects[1].polygon.max(0), (50, 30), atol=0.2)
    assert (backdrop == 100).all()


def test_compose_drops_what_is_hidden_or_outside_and_clips_the_rest():
    backdrop = np.full((60, 80, 3), 100, np.float32)
    hidden, cover = Placement(square(10), 20, 20, 1), Placement(square(30), 10, 10, 2)
    outside, clipped = Placement(square(10), 100, 0, 4), Placement(square(20), -8, 45, 5)
    scene = compose(backdrop, [hidden, cover, outside, clipped], keyed_rng(0))
    assert [instance.label for instance in scene.objects] == [2, 5]
    np.testing.assert_allclose(scene.objects[1].polygon.min(0), (0, 45), atol=0.2)
    np.testing.assert_allclose(scene.objects[1].polygon.max(0), (12, 60), atol=0.2)


@pytest.mark.parametrize('name', DRAWERS)
def test_drawers(name):
    sprites = [DRAWERS[name](keyed_rng(3), size, angle, variant) for size, angle, variant in ((90, 0, 0), (40, 70, 4))]
    for sprite, size in zip(sprites, (90, 40), strict=True):
        x0, y0, x1, y1 = sprite.bounds()
        assert 0.75 * size < max(x1 - x0, y1 - y0) < 1.75 * size
        assert sprite.alpha.min() >= 0 and sprite.alpha.max() <= 1
        assert sprite.rgb.min() >= 0 and (sprite.rgb <= 255 * sprite.alpha[..., None] + 1).all()
        # shaded or patterned, never one flat colour
        assert sprite.rgb[sprite.alpha > 0.99].std(0).max() > 12
        # nothing of the drawing is cut off by the sprite's border
        assert max(sprite.alpha[0].max(), sprite.alpha[-1].max()) < 0.1
        assert max(sprite.alpha[:, 0].max(), sprite.alpha[:, -1].max()) < 0.1


def test_canvas_maps_its_coordinates_and_keeps_the_light():
    canvas = Canvas((-1, -1, 1, 1), 20, angle=90)
    canvas.paint(canvas.box(0.75, 0, 0.2, 0.2), (255, 0, 0))
    sprite = canvas.finish()
    x0, y0, x1, y1 = sprite.bounds()
    centre = sprite.matrix @ (0.75, 0, 1)
    np.testing.assert_allclose(centre, ((x0 + x1) / 2, (y0 + y1) / 2), atol=0.6)
    assert centre[1] > sprite.shape[0] * 0.75  # +x turned a quarter clockwise points down
    upright = Canvas((-1, -1, 1, 1), 20)
    turn = np.array([[0, -1], [1, 0]])
    np.testing.assert_allclose(turn @ canvas.light[:2], upright.light[:2], atol=1e-12)


def test_populate_with_own_drawers_counts_and_keeps_in_the_picture():
    def draw_patch(rng, size, angle, variant):
        canvas = Canvas((-1, -1, 1, 1), size / 2, angle)
        canvas.paint(canvas.ellipse(0, 0, 0.98), (40 * variant, 90, 160))
        return canvas.finish()

    place = Backdrop(np.full((200, 300, 3), 120, np.float32), [Zone(('a', 'b'), (0, 0, 300, 200), (20, 40), 6)])
    drawn = Counter()
    scene = populate(place, {'a': 0, 'b': 5}, keyed_rng(1), drawn, {'a': draw_patch, 'b': draw_patch})
    assert drawn == {0: 3, 5: 3}
    assert Counter(instance.label for instance in scene.objects) == drawn
    for instance in scene.objects:
        assert (instance.polygon.min(0) > 0).all() and (instance.polygon.max(0) < (300, 200)).all()
        centre = instance.matrix[:, 2]
        assert cv2.pointPolygonTest(instance.polygon.astype(np.float32), tuple(map(float, centre)), True) > -12
