"""Damaged images of all kinds: decoded, or refused with a sentence; their headers raise an OSError at most."""

from io import BytesIO

import cv2
import numpy as np
import pytest
from fuzz_strategies import AMOUNTS, damaged, run_fuzz
from hypothesis import strategies as st
from PIL import Image

from detkit.datasets.image_files import read_image_header
from detkit.datasets.image_headers import stated_size
from detkit.datasets.transforms.loading import read_image
from detkit.datasets.transforms.segments import read_segments
from detkit.structures.annotations import SegmentFile
from detkit.structures.panoptic import rgb_to_ids

SHAPE = (20, 24, 3)
PIXELS = np.random.default_rng(0).integers(0, 256, SHAPE, np.uint8)


def encoded(suffix: str) -> bytes:
    if suffix in ('gif', 'exif.jpg'):
        file, exif = BytesIO(), Image.Exif()
        exif[274] = 6
        Image.fromarray(PIXELS).save(file, 'GIF' if suffix == 'gif' else 'JPEG', exif=exif)
        return file.getvalue()
    img = PIXELS.astype(np.float32) / 255 if suffix in ('hdr', 'pfm') else PIXELS
    return cv2.imencode(f'.{suffix}', img)[1].tobytes()


FILES = [encoded(name) for name in 'jpg exif.jpg png webp bmp tif gif ppm pfm hdr ras'.split()]


@pytest.mark.parametrize('cases', AMOUNTS)
@pytest.mark.filterwarnings('ignore::UserWarning')  # Pillow's, of damaged tags
def test_images(tmp_path, cases):
    path = tmp_path / 'x.jpg'
    start = st.sampled_from(FILES)
    # Most of a header lies in the first bytes, so that damage there tells more.
    headers = st.builds(lambda head, data: head + data[60:], damaged(start.map(lambda data: data[:60])), start)

    def check(data: bytes) -> None:
        path.write_bytes(data)
        size = stated_size(memoryview(data))
        assert size is None or min(size) >= 0
        try:
            height, width, orientation = read_image_header(str(path))
            assert min(height, width) >= 0 and isinstance(orientation, int)
        except OSError:
            pass  # no image: reading it says so, too
        img = read_image(str(path), max_pixels=100_000)
        assert img.dtype == np.uint8 and img.shape[2] == 3 and img.size <= 300_000

    run_fuzz(cases, damaged(start) | headers, check)


@pytest.mark.parametrize('cases', AMOUNTS)
@pytest.mark.filterwarnings('ignore::UserWarning')
def test_bitmaps_of_segments(tmp_path, cases):
    path = tmp_path / 'x.png'
    ids = np.unique(rgb_to_ids(PIXELS[..., ::-1]))[:3]  # OpenCV writes BGR
    segments = SegmentFile(str(path), ids)

    def check(data: bytes) -> None:
        path.write_bytes(data)
        assert len(read_segments(segments, SHAPE[:2])) == 3

    lossless = st.sampled_from([encoded('png'), encoded('bmp'), cv2.imencode('.png', PIXELS[:9])[1].tobytes()])
    run_fuzz(cases, damaged(lossless.map(bytes)), check)
