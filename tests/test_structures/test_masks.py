import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData
from pycocotools import mask as coco_mask
from scipy.ndimage import binary_fill_holes

from detkit.structures import masks as masks_module
from detkit.structures.masks import InstanceMasks


def random_frames(rng: np.random.Generator, count: int, height: int, width: int) -> np.ndarray:
    """Noise, blobs and thin lines of many densities, so that runs of all lengths occur."""
    frames = np.zeros((count, height, width), bool)
    for i in range(count):
        y0, y1 = np.sort(rng.integers(0, height + 1, 2))
        x0, x1 = np.sort(rng.integers(0, width + 1, 2))
        frames[i, y0:y1, x0:x1] = rng.random((y1 - y0, x1 - x0)) < rng.choice([0.02, 0.5, 0.98, 1.0])
    return frames


def special_frames(height: int, width: int) -> np.ndarray:
    frames = np.zeros((9, height, width), bool)
    frames[1] = True
    frames[2, :, 2:4] = True  # full columns: runs join across them
    frames[3, 0] = True
    frames[4, -1] = True
    frames[5, 0, 0] = True
    frames[6, -1, -1] = True
    frames[7, ::2, ::2] = True
    frames[8, -2:, 1:3] = True
    frames[8, :1, 2:4] = True
    return frames


@pytest.mark.parametrize('shape', [(1, 1), (7, 5), (40, 61), (333, 480)])
def test_rle_equals_pycocotools(shape):
    rng = np.random.default_rng(0)
    frames = random_frames(rng, 30, *shape)
    if min(shape) >= 5:
        frames = np.concatenate([frames, special_frames(*shape)])
    expected = coco_mask.encode(np.asfortranarray(frames.transpose(1, 2, 0).astype(np.uint8)))
    for masks in (InstanceMasks.from_bool(frames), InstanceMasks(frames, np.zeros((len(frames), 2), int), shape)):
        assert masks.to_rle() == [{'size': list(shape), 'counts': rle['counts']} for rle in expected]
        assert (masks.to_bool() == frames).all()
        assert (masks.areas == frames.sum((1, 2))).all()


def test_rle_in_chunks(monkeypatch):
    frames = random_frames(np.random.default_rng(1), 20, 30, 30)
    masks = InstanceMasks.from_bool(frames)
    whole = masks.to_rle()
    monkeypatch.setattr(masks_module, '_CHUNK_PIXELS', 300)
    assert masks.to_rle() == whole


def test_rle_of_long_runs():
    masks = InstanceMasks([np.ones((3000, 1), bool)], [[3999, 1000]], (4000, 5000))
    frame = np.zeros((4000, 5000), np.uint8, order='F')
    frame[1000:, 3999] = 1
    assert masks.to_rle()[0]['counts'] == coco_mask.encode(frame)['counts']


def test_polygons_cover_the_mask():
    rng = np.random.default_rng(2)
    frames = np.zeros((12, 50, 60), bool)
    for frame in frames:
        for _ in range(4):
            x, y, w, h = rng.integers([0, 0, 1, 1], [40, 30, 20, 20])
            frame[y : y + h, x : x + w] = True
    frames[0] = False
    frames[1] = False
    frames[1, 4, 7] = True
    frames[1, 5, 8] = True
    polygons = InstanceMasks.from_bool(frames).to_polygons()
    assert polygons[0] == []
    for frame, rings in zip(frames[1:], polygons[1:], strict=True):
        parts = coco_mask.frPyObjects([ring.ravel().tolist() for ring in rings], 50, 60)
        filled = coco_mask.decode(coco_mask.merge(parts)).astype(bool)
        assert (filled == binary_fill_holes(frame)).all()
        area = sum(abs(np.dot(r[:, 0], np.roll(r[:, 1], 1)) - np.dot(r[:, 1], np.roll(r[:, 0], 1))) / 2 for r in rings)
        assert area == filled.sum()


def test_polygons_of_a_rectangle():
    frames = np.zeros((1, 9, 9), bool)
    frames[0, 2:5, 3:8] = True
    ((ring,),) = InstanceMasks.from_bool(frames).to_polygons()
    assert sorted(map(tuple, ring.tolist())) == [(3, 2), (3, 5), (8, 2), (8, 5)]


def test_simplified_polygons_have_fewer_points():
    yy, xx = np.mgrid[:80, :80]
    masks = InstanceMasks.from_bool(((yy - 40) ** 2 + (xx - 40) ** 2 < 900)[None])
    exact, rough = masks.to_polygons()[0][0], masks.to_polygons(1.0)[0][0]
    assert 4 < len(rough) < len(exact) / 3


@pytest.mark.parametrize(
    'index',
    [
        1,
        -1,
        slice(1, None),
        [0, 2],
        [],
        np.array([True, False, True]),
        torch.tensor([2, 0]),
        torch.tensor([False, True, True]),
    ],
)
def test_indexing(index):
    frames = random_frames(np.random.default_rng(3), 3, 20, 20)
    chosen = InstanceMasks.from_bool(frames)[index]
    expected = frames[
        np.atleast_1d(np.arange(3)[np.asarray(index, None if len(np.atleast_1d(index)) else int)])
        if not isinstance(index, slice)
        else index
    ]
    assert isinstance(chosen, InstanceMasks) and (chosen.to_bool() == expected).all()


def test_inside_instance_data():
    frames = random_frames(np.random.default_rng(4), 4, 20, 20)
    instances = InstanceData(scores=torch.tensor([0.9, 0.1, 0.8, 0.3]), masks=InstanceMasks.from_bool(frames))
    for index in (instances.scores > 0.2, instances.scores.argsort(), slice(0, 2), 1):
        picked = instances[index]
        wanted = frames[index.numpy() if torch.is_tensor(index) else index].reshape(-1, 20, 20)
        assert (picked.masks.to_bool() == wanted).all()
    assert len(instances[instances.scores > 2].masks) == 0
    assert len(InstanceData.cat([instances, instances]).masks) == 8


def test_no_masks():
    masks = InstanceMasks([], np.zeros((0, 2)), (10, 12))
    assert len(masks) == 0 and masks.to_rle() == [] and masks.to_polygons() == []
    assert masks.to_bool().shape == (0, 10, 12)


def test_rejects_what_is_no_mask_of_the_image():
    with pytest.raises(ValueError, match='beyond the image'):
        InstanceMasks([np.ones((5, 5), bool)], [[6, 0]], (10, 10))
    with pytest.raises(ValueError, match='2 offsets'):
        InstanceMasks([np.ones((5, 5), bool)], [[1, 0], [0, 0]], (10, 10))
    with pytest.raises(ValueError, match='different shapes'):
        InstanceMasks.cat([InstanceMasks([], [], (3, 3)), InstanceMasks([], [], (4, 3))])
