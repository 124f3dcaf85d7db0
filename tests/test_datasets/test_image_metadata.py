"""Metadata of images that would take more time and memory than their pixels."""

import struct
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from detkit.datasets.image_files import read_image_header, read_image_size
from detkit.datasets.image_metadata import MetadataError, _exif_size_of_jpeg, check_metadata
from detkit.datasets.transforms.loading import UnreadableImageError, convert_pillow_image, decode_image, read_image

PIXELS = np.random.default_rng(0).integers(0, 255, (8, 12, 3), np.uint8)


def exif(num_bytes: int, order: str = '<') -> bytes:
    """Return EXIF data that turn the image, with one tag that fills ``num_bytes``."""
    head = {'<': b'II*\0', '>': b'MM\0*'}[order] + struct.pack(f'{order}IH', 8, 2)
    turned = struct.pack(f'{order}HHIHH', 274, 3, 1, 6, 0)
    start = len(head) + 2 * 12 + 4
    filler = struct.pack(f'{order}HHII', 0xC000, 7, num_bytes - start, start)
    return head + turned + filler + bytes(4) + bytes(num_bytes - start)


def encoded(kind: str, **options) -> bytes:
    file = BytesIO()
    Image.fromarray(PIXELS).save(file, kind, **options)
    return file.getvalue()


def jpeg_with(data: bytes, size: int = 65_000) -> bytes:
    """Return a JPEG with EXIF data in as many segments as they need."""
    parts = [b'Exif\0\0' + data[start : start + size] for start in range(0, len(data), size)]
    jpeg = encoded('JPEG')
    return jpeg[:2] + b''.join(b'\xff\xe1' + struct.pack('>H', len(part) + 2) + part for part in parts) + jpeg[2:]


def tiff_with(num_tags: int, order: str = '<', is_big: bool = False) -> bytes:
    """Return a TIFF whose tags all refer to the same 200 kB."""
    side, size = ('Q', 20) if is_big else ('I', 12)
    basic = [(256, 12), (257, 8), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 8), (279, 96)]
    number = len(basic) + num_tags
    if is_big:
        head = {'<': b'II+\0', '>': b'MM\0+'}[order] + struct.pack(f'{order}HHQQ', 8, 0, 16, number)
    else:
        head = {'<': b'II*\0', '>': b'MM\0*'}[order] + struct.pack(f'{order}IH', 8, number)
    start = len(head) + size * number + 8
    tags = [(tag, 4, 1, value) for tag, value in basic] + [(1000 + i, 7, 200_000, start) for i in range(num_tags)]
    entries = b''.join(
        struct.pack(f'{order}HH{side}', tag, kind, count)
        + (
            struct.pack(f'{order}I', value).ljust(8, b'\0')
            if is_big and kind == 4
            else struct.pack(order + side, value)
        )
        for tag, kind, count, value in sorted(tags)
    )
    return head + entries + bytes(8 + 200_000)


COSTLY = {
    'jpg': lambda: jpeg_with(exif(26_000_000)),
    'pieces.jpg': lambda: jpeg_with(exif(1_000_000), size=1000),
    'png': lambda: encoded('PNG', exif=exif(26_000_000)),
    'webp': lambda: encoded('WEBP', exif=exif(26_000_000)),
    'little.tif': lambda: tiff_with(3000),
    'big.tif': lambda: tiff_with(3000, '>'),
    '64.tif': lambda: tiff_with(3000, is_big=True),
}


@pytest.mark.parametrize('name', COSTLY)
def test_costly_metadata_are_refused(tmp_path, monkeypatch, name):
    path = tmp_path / (name if '.' in name else f'x.{name}')
    data = COSTLY[name]()
    path.write_bytes(data)
    reason = 'its tags refer to 600' if 'tif' in name else 'bytes of EXIF data, more than 131,072; write the image anew'
    monkeypatch.setattr(Image.Exif, 'load', lambda *_: pytest.fail('they were parsed'))
    with pytest.raises(MetadataError, match=reason):
        read_image_size(str(path))
    with pytest.raises(UnreadableImageError, match=reason) as caught:
        read_image(str(path))
    assert caught.value.path == str(path)
    with pytest.raises(UnreadableImageError, match=reason):
        decode_image(data, 'image0')


def test_an_image_that_pillow_has_opened():
    with Image.open(BytesIO(COSTLY['png']())) as image, pytest.raises(UnreadableImageError, match='bytes of EXIF data'):
        convert_pillow_image(image, 'image0')


@pytest.mark.parametrize('order', ['<', '>'])
@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'WEBP'])
def test_usual_metadata_are_read(tmp_path, kind, order):
    """The most that one segment of a JPEG holds."""
    data = exif(65_000, order)
    file = jpeg_with(data) if kind == 'JPEG' else encoded(kind, exif=data)
    assert read_image_header(file) == (8, 12, 6)
    assert decode_image(file, 'image0').shape == (12, 8, 3)


def test_a_tiff_with_its_usual_tags_is_read():
    file = encoded('TIFF', compression='tiff_lzw', tiffinfo={270: 'a description' * 100})
    assert read_image_size(file) == (8, 12)
    assert np.array_equal(decode_image(file, 'image0'), PIXELS)


def test_segments_are_found_as_decoders_find_them():
    data = exif(40_000)
    jpeg = jpeg_with(data, size=10_000)
    sizes = 40_000 + 4 * 8
    assert _exif_size_of_jpeg(BytesIO(jpeg)) == sizes
    assert _exif_size_of_jpeg(BytesIO(jpeg[:2] + bytes(5000) + b'\xff' + jpeg[2:])) == sizes  # junk and a fill byte
    assert _exif_size_of_jpeg(BytesIO(jpeg[:2] + b'\xff\xd0' + jpeg[2:])) == sizes  # a marker without a length
    assert _exif_size_of_jpeg(BytesIO(encoded('JPEG') + jpeg[2:])) == 0  # behind the pixels


@pytest.mark.parametrize('file', [jpeg_with(exif(5000)), tiff_with(5), tiff_with(5, '>'), tiff_with(5, is_big=True)])
def test_files_that_end_early_or_are_damaged(file):
    rng = np.random.default_rng(0)
    for length in rng.integers(0, 300, 100):
        damaged = bytearray(file[:length] if length % 2 else file[:400])
        if damaged:
            damaged[rng.integers(len(damaged))] = rng.integers(256)
        try:
            check_metadata(BytesIO(damaged))
        except MetadataError as error:
            assert 'bytes' in str(error)
