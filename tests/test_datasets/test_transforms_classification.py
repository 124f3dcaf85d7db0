"""Transforms of whole images: crops, RandAugment, colour jitter, erasing."""

from collections import Counter
from dataclasses import replace
from functools import partial

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from builders import CONFIGS
from PIL import Image, ImageEnhance, ImageOps
from scene_helpers import sample_of

from detkit.config import load_config
from detkit.datasets.transforms import photometry
from detkit.datasets.transforms.photometry import apply_operation
from detkit.datasets.transforms.rand_augment import RandAugment, about_centre, motion
from detkit.registry import TRANSFORMS
from detkit.structures.annotations import Annotations
from detkit.structures.sample import PixelOperation, Sample
from detkit.structures.scene import Scene
from detkit.utils.errors import ConfigError
from detkit.utils.rng import keyed_rng


def photo(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Smooth colours with a few hard edges."""
    rng = np.random.default_rng(seed)
    img = cv2.resize(rng.integers(0, 256, (5, 7, 3), np.uint8), shape[::-1], interpolation=cv2.INTER_CUBIC)
    for _ in range(6):
        x, y = rng.integers(shape[1]), rng.integers(shape[0])
        cv2.rectangle(img, (int(x), int(y)), (int(x) + 40, int(y) + 25), rng.integers(0, 256, 3).tolist(), -1)
    return img


def run(steps: list[dict], img: np.ndarray, position: int = 0) -> Sample:
    sample = sample_of(Scene.of_image(img, Annotations()), position=position)
    for step in steps:
        sample = TRANSFORMS.build(step)(sample)
    return sample


VAL = [dict(type='ResizeShortestEdge', size=64), dict(type='CenterCrop', size=64)]
SHAPES = [(480, 640), (333, 517), (97, 64), (64, 64), (50, 71), (1080, 401)]


@pytest.mark.parametrize('shape', SHAPES)
def test_test_transform_equals_torchvision(shape):
    transforms = pytest.importorskip('torchvision.transforms')
    img = photo(shape)
    ours = run([*VAL, dict(type='Render', antialias=True)], img).img
    theirs = transforms.Compose([transforms.Resize(64), transforms.CenterCrop(64)])(Image.fromarray(img))
    assert np.abs(ours.astype(int) - np.asarray(theirs)).max() <= 1


@pytest.mark.parametrize('shape', SHAPES)
def test_test_transform_equals_pillow(shape):
    """The same without torchvision: the resize of the whole image, then the crop."""
    img = photo(shape)
    height, width = shape
    scaled = (64, int(64 * width / height)) if height <= width else (int(64 * height / width), 64)
    whole = np.asarray(Image.fromarray(img).resize(scaled[::-1], Image.Resampling.BILINEAR))
    top, left = (round((side - 64) / 2) for side in scaled)
    ours = run([*VAL, dict(type='Render', antialias=True)], img)
    assert np.abs(ours.img.astype(int) - whole[top : top + 64, left : left + 64]).max() <= 1
    expected = np.array([[scaled[1] / width, 0, -left], [0, scaled[0] / height, -top], [0, 0, 1]])
    np.testing.assert_allclose(ours.matrix, expected, atol=1e-9)
    coarse = run([*VAL, dict(type='Render')], img).img  # OpenCV's filter, a little off
    assert np.abs(coarse.astype(int) - whole[top : top + 64, left : left + 64]).mean() < 12


def test_antialiased_mirror_and_padding():
    img = photo((40, 60))
    plain = run([dict(type='CenterCrop', size=80), dict(type='Render', antialias=True)], img).img
    assert (plain[20:60, 10:70] == img).all() and (plain[:20] == 114).all() and (plain[:, 70:] == 114).all()
    flips = [dict(type='RandomFlip', prob=1.0), dict(type='RandomFlip', prob=1.0, direction='vertical')]
    mirrored = run([*flips, dict(type='Render', antialias=True)], img).img
    assert (mirrored == img[::-1, ::-1]).all()


def test_random_crops_keep_their_promises():
    crop = TRANSFORMS.build(dict(type='RandomResizedCrop', size=32, scale=(0.2, 0.6), ratio=(0.5, 2.0)))
    rects = [crop.draw_rect(keyed_rng(0, 0, i), (100, 200)) for i in range(400)]
    lefts, tops, widths, heights = np.array(rects).T
    assert (lefts >= 0).all() and (tops >= 0).all() and (lefts + widths <= 200).all() and (tops + heights <= 100).all()
    areas, ratios = widths * heights / 20000, widths / heights
    assert 0.19 < areas.min() < 0.25 and 0.55 < areas.max() < 0.61
    assert 0.48 < ratios.min() and ratios.max() < 2.05 and len(set(rects)) > 390


def test_a_crop_that_never_fits_takes_the_middle():
    crop = TRANSFORMS.build(dict(type='RandomResizedCrop', size=32, scale=(0.9, 1.0)))
    assert crop.draw_rect(keyed_rng(0), (10, 1000)) == (493, 0, 13, 10)
    assert crop.draw_rect(keyed_rng(0), (1000, 10)) == (0, 493, 10, 13)
    assert crop.draw_rect(keyed_rng(0), (1, 1)) == (0, 0, 1, 1)


def test_random_crop_is_drawn_as_cropped_and_resized():
    img = photo((120, 160))
    results = run([dict(type='RandomResizedCrop', size=48, scale=(0.3, 0.5)), dict(type='Render', antialias=True)], img)
    crop = TRANSFORMS.build(dict(type='RandomResizedCrop', size=48, scale=(0.3, 0.5)))
    left, top, width, height = crop.draw_rect(keyed_rng(0, 0, 0), (120, 160))
    box = (left, top, left + width, top + height)
    expected = Image.fromarray(img).resize((48, 48), Image.Resampling.BILINEAR, box)
    assert np.abs(results.img.astype(int) - np.asarray(expected)).max() <= 1


# name -> (ours, Pillow's, largest difference)
PIL_CHANGES = {
    'bright': (partial(photometry.scale_brightness, factor=1.4), lambda i: ImageEnhance.Brightness(i).enhance(1.4), 1),
    'dark': (
        partial(photometry.scale_brightness, factor=0.3),
        lambda img: ImageEnhance.Brightness(img).enhance(0.3),
        1,
    ),
    'contrast': (partial(photometry.scale_contrast, factor=1.6), lambda i: ImageEnhance.Contrast(i).enhance(1.6), 2),
    'pale': (partial(photometry.scale_saturation, factor=0.4), lambda img: ImageEnhance.Color(img).enhance(0.4), 2),
    'vivid': (partial(photometry.scale_saturation, factor=1.7), lambda img: ImageEnhance.Color(img).enhance(1.7), 2),
    'sharp': (partial(photometry.sharpen, factor=1.8), lambda img: ImageEnhance.Sharpness(img).enhance(1.8), 2),
    'smooth': (partial(photometry.sharpen, factor=0.1), lambda img: ImageEnhance.Sharpness(img).enhance(0.1), 2),
    'posterize': (partial(photometry.posterize, bits=3), lambda img: ImageOps.posterize(img, 3), 0),
    'posterize none': (partial(photometry.posterize, bits=8), lambda img: img, 0),
    'solarize': (partial(photometry.solarize, threshold=100), lambda img: ImageOps.solarize(img, 100), 0),
    'autocontrast': (photometry.autocontrast, ImageOps.autocontrast, 1),
    'equalize': (photometry.equalize, ImageOps.equalize, 0),
}


@pytest.mark.parametrize('name', PIL_CHANGES)
@pytest.mark.parametrize('kind', ['photo', 'dull', 'flat', 'tiny'])
def test_changes_of_colour_equal_pillow(name, kind):
    img = {
        'photo': photo((60, 80)),
        'dull': photo((60, 80)) // 3 + 50,
        'flat': np.full((9, 9, 3), 77, np.uint8),
        'tiny': photo((3, 4)),
    }[kind]
    before = img.copy()
    ours, theirs, tolerance = PIL_CHANGES[name]
    expected = np.asarray(theirs(Image.fromarray(img)))
    assert np.abs(ours(img).astype(int) - expected).max() <= tolerance
    assert (img == before).all()


def test_rand_augment_draws_all_kinds_and_leaves_the_sampling_to_render():
    img = photo((60, 80))
    kinds = Counter()
    for position in range(300):
        results = run([dict(type='RandAugment', num_ops=1, magnitude=15)], img, position)
        moved = not np.array_equal(results.scene.tiles[0].matrix, np.eye(3))
        assert len(results.pixel_operations) + moved <= 1 and results.scene.size == (60, 80)
        kinds['moved' if moved else 'coloured' if results.pixel_operations else 'as it was'] += 1
    assert 70 < kinds['moved'] < 145 and 130 < kinds['coloured'] < 215 and 5 < kinds['as it was'] < 45


def test_rand_augment_of_strength_0_changes_no_geometry_and_prob_0_nothing():
    img = photo((60, 80))
    for position in range(30):
        results = run([dict(type='RandAugment', num_ops=3, magnitude=0)], img, position)
        np.testing.assert_allclose(results.scene.tiles[0].matrix, np.eye(3), atol=1e-12)
        assert run([dict(type='RandAugment', prob=0.0)], img, position).pixel_operations == ()
    for name in ('brightness', 'saturation', 'contrast', 'sharpness', 'posterize'):
        assert np.abs(apply_operation(img, PixelOperation(name, 0.0)).astype(int) - img).max() <= 0


def test_render_applies_what_was_drawn_in_order():
    img = np.full((8, 8, 3), 100, np.uint8)
    operations = PixelOperation('solarize', 1.0), PixelOperation('brightness', -0.5)  # 255 - i, then times .55
    for order, expected in ((operations, 85), (operations[::-1], 200)):
        sample = sample_of(Scene.of_image(img, Annotations()), pixel_operations=order)
        assert (TRANSFORMS.build(dict(type='Render'))(sample).img == expected).all() and (img == 100).all()
    with pytest.raises(ValueError, match="no pixel operation 'blur'"):
        apply_operation(img, PixelOperation('blur', 1.0))


@pytest.mark.parametrize(
    'name, corner',
    [
        ('rotate', (50 - 40 * np.cos(np.pi / 6) + 30 * 0.5, 40 - 40 * 0.5 - 30 * np.cos(np.pi / 6))),
        ('shear_x', (10 - 9, 10)),
        ('shear_y', (10, 10 - 12)),
        ('translate_x', (10 + 100 * 150 / 331, 10)),
        ('translate_y', (10, 10 + 80 * 150 / 331)),
    ],
)
def test_motions_at_full_strength(name, corner):
    """Where the point (10, 10) of an image 100 wide and 80 high goes."""
    matrix = about_centre(motion(name, 1.0, (80, 100)), (80, 100))
    np.testing.assert_allclose((matrix @ [10, 10, 1])[:2], corner)
    back = about_centre(motion(name, -1.0, (80, 100)), (80, 100))
    assert not np.allclose(back, matrix)


def test_a_rotation_behind_a_crop_brings_in_what_was_cropped():
    img = np.full((100, 100, 3), 200, np.uint8)
    results = run([dict(type='CenterCrop', size=40)], img)
    scene = results.scene.moved(about_centre(motion('rotate', 1.0, (40, 40)), (40, 40)))
    rendered = TRANSFORMS.build(dict(type='Render'))(replace(results, scene=scene)).img
    assert (rendered == 200).all()


def test_color_jitter():
    img = photo((40, 50))
    same = dict(type='ColorJitter', brightness=0, contrast=0, saturation=0, hue=0)
    results = sample_of(Scene.of_image(img, Annotations()), img=img, rng=keyed_rng(1))
    assert TRANSFORMS.build(same)(results).img is img
    jitter = TRANSFORMS.build(dict(type='ColorJitter', brightness=0.5, contrast=0.5, saturation=0.5, hue=0.1))
    changed = [jitter(sample_of(Scene.of_image(img, Annotations()), img=img, rng=keyed_rng(i))).img for i in range(8)]
    assert all(other.shape == img.shape and other.dtype == np.uint8 for other in changed)
    means = {round(float(other.mean()), 3) for other in changed}
    assert len(means) == 8 and min(means) < img.mean() < max(means)
    brightness = TRANSFORMS.build({**same, 'brightness': 0.5})
    ratios = [
        brightness(replace(results, img=img // 3, rng=keyed_rng(i))).img.mean() / (img // 3).mean() for i in range(50)
    ]
    assert 0.49 < min(ratios) < 0.65 and 1.35 < max(ratios) < 1.51


def test_erasing():
    img = np.full((50, 80, 3), 200, np.uint8)
    erase = TRANSFORMS.build(dict(type='RandomErasing', prob=0.4, scale=(0.1, 0.3), fill=7))
    areas = []
    for i in range(200):
        changed = erase(sample_of(Scene.of_image(img, Annotations()), img=img, rng=keyed_rng(i))).img
        hidden = (changed == 7).all(2)
        if not hidden.any():
            continue
        rows, columns = np.flatnonzero(hidden.any(1)), np.flatnonzero(hidden.any(0))
        assert hidden.sum() == len(rows) * len(columns) == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
        areas.append(hidden.mean())
    assert 55 < len(areas) < 105 and 0.09 < min(areas) < 0.15 and 0.2 < max(areas) < 0.31
    assert (img == 200).all()


@pytest.mark.parametrize(
    'step',
    [
        dict(type='RandomResizedCrop', scale=(0.0, 1.0)),
        dict(type='RandomResizedCrop', ratio=(2.0, 1.0)),
        dict(type='RandAugment', magnitude=31),
        dict(type='ColorJitter', hue=0.6),
        dict(type='ColorJitter', contrast=-1),
        dict(type='RandomErasing', scale=(0.5, 0.2)),
    ],
)
def test_values_that_make_no_sense(step):
    with pytest.raises(ConfigError, match='expected'):
        TRANSFORMS.build(step)


def test_the_same_key_gives_the_same_sample():
    img = photo((120, 160))
    steps = [
        dict(type='RandomResizedCrop', size=64),
        dict(type='RandomFlip'),
        dict(type='RandAugment'),
        dict(type='Render'),
        dict(type='ColorJitter'),
        dict(type='RandomErasing'),
    ]
    first, again, other = (run(steps, img, position).img for position in (3, 3, 4))
    assert (first == again).all() and (first != other).any()
    assert isinstance(TRANSFORMS.build(steps[2]), RandAugment)


@pytest.mark.parametrize('shape', SHAPES)
def test_stretching_fills_the_size(shape):
    results = run([dict(type='Resize', size=(60, 44)), dict(type='Render', antialias=True)], photo(shape))
    assert results.img.shape == (60, 44, 3)
    expected = cv2.resize(photo(shape), (44, 60), interpolation=cv2.INTER_AREA)
    assert np.abs(results.img.astype(int) - expected).mean() < 4


@pytest.mark.parametrize('task', ['det', 'seg'])
def test_images_of_rfdetr_are_not_smoothed(task):
    """transformers 5.24 and the authors' package resize without antialiasing."""
    config = load_config(CONFIGS / 'rfdetr' / f'{task}_coco.py', need_classes=False)
    img = np.random.default_rng(0).integers(0, 256, (90, 1201, 3), np.uint8)
    drawn = run(config.val_dataloader.dataset.pipeline[1:3], img).img
    pixels = torch.from_numpy(img).permute(2, 0, 1)[None].float()  # (1, 3, h, w)
    expected = F.interpolate(pixels, (config.img_size,) * 2, mode='bilinear')[0].permute(1, 2, 0).numpy()
    assert abs(drawn - expected).max() < 1
