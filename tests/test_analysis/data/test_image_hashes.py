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
)
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
    assert [path for path in paths if '/2' in path] == [paths[i] for i in group]
    # Sizes only choose how small a picture is read.
    blind = hash_images(paths, [None] * len(paths))
    assert hamming_distances(hashes.bits, blind.bits)[hashes.readable].max() <= 4


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
            (min(a, b), max(a, b))
            for one, other in _near_pairs(hashes, most)
            for a, b in zip(one.tolist(), other.tolist(), strict=True)
        }
        near = distances <= most
        assert found == set(zip(first[near].tolist(), second[near].tolist(), strict=True)) and found


def test_hashes_alone_do_not_make_pictures_alike():
    rng = np.random.default_rng(0)
    thumbs = rng.integers(0, 256, (4, 16, 16)).astype(np.uint8)
    thumbs[1] = np.clip(thumbs[0] * 0.9 + 5, 0, 255)
    hashes = ImageHashes(np.zeros(4, np.uint64), thumbs, np.array([True, True, True, False]))
    assert [group.tolist() for group in find_near_duplicates(hashes)] == [[0, 1]]
    # Flat pictures have no hash to speak of: their grey tells.
    flat = np.repeat(np.array([50, 51, 200, 90], np.uint8), 256).reshape(4, 16, 16)
    assert [group.tolist() for group in find_near_duplicates(ImageHashes(hashes.bits, flat, np.ones(4, bool)))] == [
        [0, 1]
    ]


@pytest.mark.parametrize('max_pairs', [0, 1_000_000])
def test_groups_are_chains(monkeypatch, max_pairs):
    monkeypatch.setattr('detkit.analysis.data.image_hashes._MAX_PAIRS', max_pairs)
    ones = np.uint64(0b111111)
    bits = np.array([0, ones, ones << np.uint64(6) | ones, 1 << 40], np.uint64)
    thumbs = np.broadcast_to(np.arange(256, dtype=np.uint8).reshape(16, 16), (4, 16, 16))
    hashes = ImageHashes(bits, thumbs, np.ones(4, bool))
    assert [group.tolist() for group in find_near_duplicates(hashes, 6)] == [[0, 1, 2, 3]]
    assert [group.tolist() for group in find_near_duplicates(hashes, 1)] == [[0, 3]]
    assert find_near_duplicates(hashes, 0) == []
    assert find_near_duplicates(ImageHashes(bits[:0], thumbs[:0], np.zeros(0, bool))) == []
    with pytest.raises(ConfigError, match='0 to 15'):
        find_near_duplicates(hashes, 16)
