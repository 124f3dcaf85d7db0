"""``BatchRenderer`` draws what ``Render`` draws, to a grey level."""

import math

import cv2
import numpy as np
import pytest
import torch

from detkit.datasets.batch_renderer import BatchRenderer, ImageStore, _send, area_weights, shift_hsv
from detkit.datasets.transforms.color import hsv_tables
from detkit.datasets.transforms.color import shift_hsv as shift_hsv_on_cpu
from detkit.datasets.transforms.drawing import Resampling, draw_tile, place_tile
from detkit.datasets.transforms.tile_drawings import describe_tile
from detkit.structures.annotations import Annotations
from detkit.structures.render_plan import CanvasDrawing, stack_plans
from detkit.structures.scene import Tile, scale_matrix, translation_matrix

SIZE = 96, 128
EXACT = int(cv2.__version__.split('.')[0]) >= 5  # earlier ones round positions to 1/32 of a pixel


def picture(height: int, width: int, seed: int) -> np.ndarray:
    """Noise of several scales, with sharp edges."""
    rng = np.random.default_rng(seed)
    img = cv2.resize(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
    cv2.rectangle(img, (width // 4, height // 4), (width // 2, height // 2), (255, 0, 30), -1)
    cv2.circle(img, (width // 2, height // 2), height // 4, (0, 250, 200), 2)
    return img


IMAGES = [picture(*shape, seed) for seed, shape in enumerate([(60, 80), (120, 90), (300, 420), (33, 47)])]


def turned(degrees: float, scale: float = 1.0) -> np.ndarray:
    angle = math.radians(degrees)
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1.0]])


def tile(index: int, matrix: np.ndarray, clip=None, **options) -> Tile:
    height, width = IMAGES[index].shape[:2]
    clip = clip or (0.0, 0.0, float(width), float(height))
    return Tile(IMAGES[index], Annotations(), matrix, clip, path=str(index), **options)


def draw_both(scenes, resampling=None, fill=114) -> tuple[np.ndarray, np.ndarray]:
    """Draw scenes, each a list of (index, tile), on a CPU tile by tile and by the batch: two of ``(B, H, W, 3)``."""
    resampling = resampling or Resampling(prefilter_above=2.0)
    expected, drawings = [], []
    for scene in scenes:
        layers, weights, own = {}, {}, []
        for _, one in scene:
            placement = place_tile(one, SIZE)
            canvas = layers.setdefault(one.layer, np.full((*SIZE, 3), fill, np.uint8))
            weights[one.layer] = one.weight
            mask = None
            if one.pasted:
                mask = np.zeros(SIZE, np.uint8)
                cv2.circle(mask, (60, 40), 25, 1, -1)
            draw_tile(canvas, one, placement, resampling, mask)
            own.append(describe_tile(one, placement, resampling, SIZE, mask))
        drawings.append(CanvasDrawing(SIZE, fill, tuple(drawing for drawing in own if drawing is not None)))
        images = list(layers.values())
        if len(images) == 2:
            (first, second), (share, other) = images, weights.values()
            images = [cv2.addWeighted(first, share, second, other, 0)]
        expected.append(images[0] if images else np.full((*SIZE, 3), fill, np.uint8))
    renderer = BatchRenderer(ImageStore({str(index): img for index, img in enumerate(IMAGES)}), chunk=2)
    drawn = renderer(stack_plans(drawings))
    assert drawn.shape == (len(scenes), 3, *SIZE) and drawn.dtype == torch.uint8
    assert drawn.is_contiguous(memory_format=torch.channels_last)
    return np.stack(expected), drawn.permute(0, 2, 3, 1).numpy()


def close(expected: np.ndarray, found: np.ndarray) -> bool:
    difference = np.abs(expected.astype(int) - found)
    return difference.max() <= (1 if EXACT else 5) and (difference > 1).mean() < 0.02


PLACES = {
    'unchanged': [(0, tile(0, np.eye(3)))],
    'letterbox': [(1, tile(1, translation_matrix(28, 0) @ scale_matrix(0.8, 0.8)))],
    'enlarged': [(3, tile(3, scale_matrix(2.5, 2.5)))],
    'enlarged by much, off the grid': [(3, tile(3, translation_matrix(3.3, 1.7) @ scale_matrix(3.3, 2.9)))],
    'shrunk': [(2, tile(2, scale_matrix(0.3, 0.3)))],
    'shrunk by a whole number': [(2, tile(2, scale_matrix(0.25, 0.25)))],
    'mirrored': [(0, tile(0, translation_matrix(100, 0) @ scale_matrix(-1.2, 1.1)))],
    'mirrored both ways, in part outside': [(0, tile(0, translation_matrix(60, 70) @ scale_matrix(-1, -1)))],
    'clipped': [(1, tile(1, translation_matrix(-10, -30), (20.0, 40.0, 77.0, 101.0)))],
    'turned': [(0, tile(0, translation_matrix(30, 10) @ turned(20, 1.1)))],
    'turned and clipped': [(1, tile(1, translation_matrix(60, -20) @ turned(-35), (20.0, 10.0, 70.0, 100.0)))],
    'turned and shrunk': [(2, tile(2, translation_matrix(30, 2) @ turned(10, 0.23)))],
    'tilted': [(0, tile(0, np.array([[1.1, 0.1, 3], [0.05, 1.2, 2], [0.001, 0.002, 1]])))],
    'outside': [(0, tile(0, translation_matrix(500, 0)))],
    'nothing': [],
    'four': [
        (0, tile(0, translation_matrix(-10, -10), (10.0, 10.0, 74.0, 58.0))),
        (1, tile(1, translation_matrix(64, -20), (0.0, 20.0, 64.0, 68.0))),
        (2, tile(2, translation_matrix(-80, 0) @ scale_matrix(0.5, 0.5), (160.0, 96.0, 288.0, 192.0))),
        (3, tile(3, translation_matrix(64, 48) @ scale_matrix(2, 2), (0.0, 0.0, 32.0, 24.0))),
    ],
    'pasted': [(0, tile(0, np.eye(3))), (1, tile(1, translation_matrix(10, 0) @ turned(5), pasted=True))],
    'mixed': [
        (0, tile(0, scale_matrix(1.5, 1.5), weight=0.3)),
        (1, tile(1, translation_matrix(30, -9) @ turned(9), layer=1, weight=0.7)),
    ],
}


@pytest.mark.parametrize('name', PLACES)
def test_a_scene_is_drawn_as_by_the_pipeline(name):
    assert close(*draw_both([PLACES[name]]))


def test_a_batch_is_drawn_as_its_scenes():
    expected, found = draw_both(list(PLACES.values()), fill=7)
    assert close(expected, found)
    assert len({image.tobytes() for image in found}) >= len(PLACES) - 1


def test_aligned_corners():
    scenes = [PLACES['letterbox'], PLACES['mirrored'], PLACES['shrunk']]
    assert close(*draw_both(scenes, Resampling(prefilter_above=2.0, align_corners=True)))
    assert close(*draw_both(scenes, Resampling(align_corners=True)))


def test_antialiasing_is_refused():
    one = tile(0, np.eye(3))
    with pytest.raises(NotImplementedError, match='antialias'):
        describe_tile(one, place_tile(one, SIZE, exact=True), Resampling(antialias=True), SIZE)


@pytest.mark.parametrize(('source', 'target'), [(7, 7), (8, 4), (9, 4), (5, 1), (100, 33)])
def test_area_weights_cover_each_pixel_once(source, target):
    weights = area_weights(source, target)
    assert weights.shape == (target, source)
    torch.testing.assert_close(weights.sum(1), torch.ones(target))
    torch.testing.assert_close(weights.sum(0), torch.full((source,), target / source))


@pytest.mark.parametrize('draws', [(0, 0, 0), (0.015, 0.6, -0.3), (-0.01, -0.5, 0.4), (0.4, 0.2, 0.1)])
def test_colours_shift_as_by_the_pipeline(draws):
    rng = np.random.default_rng(1)
    img = rng.integers(0, 256, (90, 100, 3), dtype=np.uint8)
    img[:30] = np.repeat(rng.integers(0, 256, (30, 100, 1)), 3, 2)  # greys have no hue
    tables = torch.from_numpy(hsv_tables(*draws))[None]
    found = shift_hsv(torch.from_numpy(img)[None], tables)[0].numpy()
    assert np.abs(found.astype(int) - shift_hsv_on_cpu(img, *draws)).max() <= 1


def test_images_are_sent_in_parts():
    parts = [torch.randint(256, (count, 3), dtype=torch.uint8) for count in (5, 12, 1, 8)]
    target = torch.zeros(28, 3, dtype=torch.uint8)
    _send([(0, parts[0]), (5, parts[1]), (17, parts[2]), (20, parts[3])], target, staged=4)
    assert torch.equal(target, torch.cat([*parts[:3], torch.zeros(2, 3, dtype=torch.uint8), parts[3]]))


@pytest.mark.gpu
def test_a_store_on_a_gpu_holds_the_images():
    images = {str(index): img for index, img in enumerate(IMAGES)}
    assert torch.equal(ImageStore(images, 'cuda').pixels.cpu(), ImageStore(images).pixels)
