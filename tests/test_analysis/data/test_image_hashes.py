"""Images that look the same."""

import cv2
import numpy as np
import pytest

from detkit.analysis.data.image_hashes import (
    ImageHashes,
    _near_pairs,
    find_near_duplicates,
    hamming_distances,
    hash_images,
    perceptual_hashes,
)
from detkit.analysis.data.orientations import ORIENTATION_NAMES, orient
from detkit.utils.errors import ConfigError


def picture(seed, shape=(240, 320)):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (12, 16, 3), np.uint8)
    return cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC)


def changed(img):
    """Ways in which a copy may differ."""
    darker = np.clip(img * 0.8, 0, 255).astype(np.uint8)
    return {
        'half': (cv2.resize(img, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), 90),
        'coarse': (img, 30),
        'darker': (darker, 90),
        'cropped': (img[3:, 3:], 90),
        'twice': (cv2.resize(img, None, fx=2, fy=2), 90),
    }


def upright(bits):
    """Hashes that are like no other in any other orientation."""
    others = np.random.default_rng(1).integers(0, 2**63, (len(bits), 7), dtype=np.uint64)
    return np.concatenate([bits[:, None], others], 1)


def groups(hashes, *max_distance):
    return [group.indices.tolist() for group in find_near_duplicates(hashes, *max_distance)]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('pictures')
    for seed in range(6):
        cv2.imwrite(str(folder / f'{seed}.jpg'), picture(seed))
    for name, (img, quality) in changed(picture(2)).items():
        cv2.imwrite(str(folder / f'2-{name}.jpg'), img, [cv2.IMWRITE_JPEG_QUALITY, quality])
    (folder / '9.jpg').write_bytes(b'no picture')
    return folder


def test_copies_are_found_and_others_are_not(folder):
    paths = sorted(map(str, folder.iterdir()))
    shapes = [None if path.endswith('9.jpg') else cv2.imread(path).shape[:2] for path in paths]
    hashes = hash_images(paths, shapes)
    assert hashes.readable.tolist() == [not path.endswith('9.jpg') for path in paths]
    (group,) = find_near_duplicates(hashes)
    assert [path for path in paths if '/2' in path] == [
        paths[i] for i in group.indices
    ] and not group.orientations.any()
    # Sizes only choose how small a picture is read.
    blind = hash_images(paths, [None] * len(paths))
    assert hamming_distances(hashes.bits[:, 0], blind.bits[:, 0])[hashes.readable].max() <= 4


def test_close_hashes_are_all_found():
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**63, 300, dtype=np.uint64)
    for index in range(100, 200):  # copies with a few bits turned
        bits = rng.choice(64, rng.integers(0, 9), replace=False)
        hashes[index] = hashes[index - 100] ^ np.uint64(sum(1 << int(bit) for bit in bits))
    first, second = np.triu_indices(len(hashes), 1)
    distances = hamming_distances(hashes[first], hashes[second])
    for most in (0, 3, 6, 15):
        found = {
            (a, b)
            for one, other in _near_pairs(hashes, hashes, most)
            for a, b in zip(one.tolist(), other.tolist(), strict=True)
            if a < b
        }
        near = distances <= most
        assert found == set(zip(first[near].tolist(), second[near].tolist(), strict=True)) and found


def test_hashes_alone_do_not_make_pictures_alike():
    rng = np.random.default_rng(0)
    thumbs = rng.integers(0, 256, (4, 16, 16)).astype(np.uint8)
    thumbs[1] = np.clip(thumbs[0] * 0.9 + 5, 0, 255)
    hashes = ImageHashes(upright(np.zeros(4, np.uint64)), thumbs, np.array([True, True, True, False]))
    assert groups(hashes) == [[0, 1]]
    # Flat pictures have no hash to speak of: their grey tells.
    flat = np.repeat(np.array([50, 51, 200, 90], np.uint8), 256).reshape(4, 16, 16)
    assert groups(ImageHashes(np.zeros((4, 8), np.uint64), flat, np.ones(4, bool))) == [[0, 1]]


@pytest.mark.parametrize('max_pairs', [0, 1_000_000])
def test_groups_are_chains(monkeypatch, max_pairs):
    monkeypatch.setattr('detkit.analysis.data.image_hashes._MAX_PAIRS', max_pairs)
    ones = np.uint64(0b111111)
    bits = np.array([0, ones, ones << np.uint64(6) | ones, 1 << 40], np.uint64)
    thumbs = np.tile(np.arange(256, dtype=np.uint8).reshape(16, 16), (4, 1, 1))
    thumbs[range(4), 0, range(4)] += 9  # no exact copies
    hashes = ImageHashes(upright(bits), thumbs, np.ones(4, bool))
    assert groups(hashes, 6) == [[0, 1, 2, 3]]
    assert groups(hashes, 1) == [[0, 3]]
    assert groups(hashes, 0) == []
    assert groups(ImageHashes(upright(bits[:0]), thumbs[:0], np.zeros(0, bool))) == []
    with pytest.raises(ConfigError, match='0 to 15'):
        find_near_duplicates(hashes, 16)


def turn(img, orientation):
    return np.ascontiguousarray(np.moveaxis(orient(np.moveaxis(img, 2, 0), orientation), 0, 2))


@pytest.mark.parametrize('orientation', range(8))
def test_a_turned_picture_has_the_hash_of_its_orientation(orientation):
    grey = picture(0)[..., 0]
    hashes = perceptual_hashes(grey)
    turned = perceptual_hashes(np.ascontiguousarray(orient(grey, orientation)))
    assert hamming_distances(turned[:1], hashes[[orientation]])[0] <= 2  # rounding, at the median
    assert len(set(hashes.tolist())) == 8


def test_turned_copies_are_found_with_their_orientations(tmp_path):
    """Eight pictures, each with a copy in one orientation, changed in another way, too."""
    for seed in range(8):
        img = picture(seed)
        cv2.imwrite(str(tmp_path / f'{seed}.jpg'), img)
        changed_img, quality = list(changed(img).values())[seed % 5]
        cv2.imwrite(str(tmp_path / f'{seed}-copy.jpg'), turn(changed_img, seed), [cv2.IMWRITE_JPEG_QUALITY, quality])
    paths = [str(tmp_path / f'{seed}{suffix}.jpg') for suffix in ('', '-copy') for seed in range(8)]
    found = find_near_duplicates(hash_images(paths, [None] * len(paths)))
    assert [group.indices.tolist() for group in found] == [[seed, seed + 8] for seed in range(8)]
    assert [group.orientations.tolist() for group in found] == [[0, seed] for seed in range(8)]


@pytest.mark.parametrize('max_pairs', [0, 1_000_000])
def test_orientations_add_up_along_a_chain(monkeypatch, max_pairs):
    """All eight orientations of a picture, in any order, are one group whose orientations are the first one's."""
    monkeypatch.setattr('detkit.analysis.data.image_hashes._MAX_PAIRS', max_pairs)
    grey = cv2.resize(picture(3)[..., 0], (64, 64))
    order = [5, 0, 7, 2, 6, 1, 4, 3]
    pictures = [np.ascontiguousarray(orient(grey, orientation)) for orientation in order]
    thumbs = np.stack([cv2.resize(img, (16, 16), interpolation=cv2.INTER_AREA) for img in pictures])
    hashes = ImageHashes(np.stack([perceptual_hashes(img) for img in pictures]), thumbs, np.ones(8, bool))
    (group,) = find_near_duplicates(hashes)
    for index, orientation in zip(group.indices, group.orientations, strict=True):
        assert np.array_equal(orient(thumbs[0], orientation), thumbs[index]), ORIENTATION_NAMES[orientation]


def test_a_picture_that_is_its_own_mirror_image_is_a_copy_as_it_is():
    half = picture(1, (64, 32))[..., 0]
    grey = np.concatenate([half, half[:, ::-1]], 1)
    thumbs = np.stack([cv2.resize(grey, (16, 16), interpolation=cv2.INTER_AREA)] * 2)
    thumbs[1, 0, 0] ^= 1
    (group,) = find_near_duplicates(ImageHashes(np.stack([perceptual_hashes(grey)] * 2), thumbs, np.ones(2, bool)))
    assert group.orientations.tolist() == [0, 0]
