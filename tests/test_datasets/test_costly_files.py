"""Small files that ask for much, and files that never end: refused at once, with a sentence."""

import json
import os
import resource
import signal
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import cache, partial
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from format_helpers import write_image
from PIL import Image

from detkit.analysis.data.image_hashes import hash_images
from detkit.analysis.runs.run_logs import read_results
from detkit.config import load_config
from detkit.converters.darknet import read_stream
from detkit.converters.detr_file import read_detr
from detkit.converters.inert_pickle import TorchArchive
from detkit.datasets import CocoDataset
from detkit.datasets.formats.crowdhuman import CrowdHumanDataset
from detkit.datasets.formats.data_yaml import read_data_yaml
from detkit.datasets.formats.shapes import EntryError, crop_to_rle, rings_to_rle
from detkit.datasets.image_files import read_image_size
from detkit.datasets.image_headers import stated_size
from detkit.datasets.transforms.loading import UnreadableImageError, read_image
from detkit.engine.checkpoint import load_checkpoint
from detkit.utils import text_files
from detkit.utils.errors import CheckpointError, ConfigError, DataError
from detkit.utils.json_files import read_json
from detkit.utils.limits import MAX_LINE
from detkit.utils.text_files import open_text, read_lines, read_text
from detkit.utils.variables import number_in_variable
from detkit.utils.xml_files import read_xml

SIDE = 32_000


@pytest.fixture(autouse=True)
def bounded() -> Iterator[None]:
    """An alarm, which a test that hangs runs into, and a limit on what it may allocate."""

    def stop(*_: object) -> None:
        raise TimeoutError('it waits, or takes too long')

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(60)
    used = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize() if os.name == 'posix' else 0
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30), hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@cache
def empty_rows() -> bytes:
    """Return the compressed rows of a black picture."""
    return zlib.compress(bytes((SIDE // 8 + 1) * SIDE), 9)


def large_png(damaged: bool = False) -> bytes:
    """Return a file of 124 kB with a picture of 32000x32000; Pillow does not read the damaged one."""
    header = struct.pack('>IIBBBBB', SIDE, SIDE, 1, 0, 0, 0, 0)
    data = b'\x89PNG\r\n\x1a\n'
    for kind, content in ((b'IHDR', header), (b'IDAT', empty_rows()), (b'IEND', b'')):
        data += (
            struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content) ^ damaged)
        )
    return data


def large_tiff(order: str) -> bytes:
    tags = [(256, SIDE), (257, SIDE), (258, 32), (259, 1), (262, 2), (277, 3), (339, 3)]
    entries = b''.join(struct.pack(f'{order}HHII', tag, 4, 1, value) for tag, value in tags)
    return {'<': b'II*\0', '>': b'MM\0*'}[order] + struct.pack(f'{order}IH', 8, len(tags)) + entries + bytes(4)


LARGE = {
    'png': large_png,
    'damaged.png': partial(large_png, damaged=True),
    'hdr': lambda: f'#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y {SIDE} +X {SIDE}\n'.encode() + bytes(100),
    'pfm': lambda: f'PF\n{SIDE} {SIDE}\n-1.0\n'.encode() + bytes(100),
    'pam': lambda: (
        f'P7\nWIDTH {SIDE}\nHEIGHT {SIDE}\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n'.encode() + bytes(100)
    ),
    'ppm': lambda: f'P6 # a comment\n{SIDE} {SIDE}\n255\n'.encode() + bytes(100),
    'little.tif': partial(large_tiff, '<'),
    'big.tif': partial(large_tiff, '>'),
    'bmp': lambda: (
        b'BM' + struct.pack('<IIIIiiHHIIIIII', 254, 0, 54, 40, SIDE, -SIDE, 1, 24, 0, 0, 0, 0, 0, 0) + bytes(200)
    ),
    'gif': lambda: b'GIF89a' + struct.pack('<HHBBB', SIDE, SIDE, 0, 0, 0) + bytes(100),
    'sun.ras': lambda: struct.pack('>IIIIIIII', 0x59A66A95, SIDE, SIDE, 24, 0, 1, 0, 0) + bytes(100),
}


@pytest.mark.parametrize('name', LARGE)
def test_large_images_of_small_files_are_not_decoded(tmp_path, monkeypatch, name):
    monkeypatch.setattr(cv2, 'imdecode', lambda *_: pytest.fail('it was decoded'))
    path = tmp_path / (name if '.' in name else f'x.{name}')
    data = LARGE[name]()
    path.write_bytes(data)
    assert stated_size(memoryview(data)) == (SIDE, SIDE)
    assert len(data) < 150_000 and read_image_size(str(path)) == (SIDE, SIDE)
    with pytest.raises(UnreadableImageError, match=f'{SIDE}x{SIDE} pixels, more than max_pixels.*DETKIT_MAX_PIXELS'):
        read_image(str(path))
    assert not hash_images([str(path)], [(SIDE, SIDE)]).readable.any()


@pytest.mark.parametrize('suffix', ['jpg', 'jp2', 'gif', 'bmp', 'tif', 'png', 'ppm', 'pfm', 'hdr', 'ras'])
def test_the_size_in_a_header_is_the_images(suffix):
    shape = (63, 90, 3)  # JPEG 2000 takes none that is smaller
    img = np.zeros(shape, np.float32 if suffix in ('pfm', 'hdr') else np.uint8)
    if suffix == 'gif':
        file = BytesIO()
        Image.fromarray(img).save(file, 'GIF')
        data = file.getvalue()
    else:
        data = cv2.imencode(f'.{suffix}', img)[1].tobytes()
    assert stated_size(memoryview(data)) == shape[:2]
    for length in range(min(len(data), 200)):
        assert stated_size(memoryview(data[:length])) in (None, shape[:2])


READERS: dict[str, Callable[[Path], object]] = {
    'x.jpg': lambda path: read_image(str(path)),
    'x.txt': lambda path: read_text(path),
    'x.csv': lambda path: open_text(path),
    'x.xml': lambda path: read_xml(path),
    'x.json': lambda path: read_json(path),
    'coco.json': lambda path: CocoDataset(ann_file=str(path), img_prefix=''),
    'x.odgt': lambda path: CrowdHumanDataset(ann_file=str(path), images=''),
    'data.yaml': lambda path: read_data_yaml(path),
    'x.pth': lambda path: load_checkpoint(path),
    'x.pt': lambda path: TorchArchive(path),
    'x.weights': lambda path: read_stream(path),
    'x.safetensors': lambda path: read_detr(path),
    'x.py': lambda path: load_config(path),
    'results.csv': lambda path: read_results(path),
    'hash.png': lambda path: hash_images([str(path)], [(9, 9)]).readable.any() or _refuse(),
}


@pytest.mark.parametrize('kind', ['pipe', 'device', 'folder'])
@pytest.mark.parametrize('name', READERS)
def test_nothing_waits_for_what_is_no_file(tmp_path, name, kind):
    path = tmp_path / name
    {'pipe': os.mkfifo, 'device': lambda of: of.symlink_to('/dev/zero'), 'folder': os.mkdir}[kind](path)
    with pytest.raises((DataError, CheckpointError, ConfigError)):
        READERS[name](path)


def _refuse() -> None:
    raise DataError('no hash')


@pytest.mark.parametrize('name', ['x.txt', 'x.xml', 'x.json', 'x.odgt', 'data.yaml', 'results.csv', 'x.jpg'])
def test_endless_files_are_refused_before_they_are_read(tmp_path, name):
    path = tmp_path / name
    with open(path, 'wb') as file:
        file.truncate(4 << 30)  # takes no space on the disk
    with pytest.raises(DataError, match='bytes'):
        READERS[name](path)


def test_an_endless_line_is_refused(tmp_path):
    (tmp_path / 'x.csv').write_text('a,b\n' + 'x' * (2 * MAX_LINE))
    with open_text(tmp_path / 'x.csv') as file, pytest.raises(DataError, match=r'x\.csv.* has a line of more than'):
        list(read_lines(file, tmp_path / 'x.csv'))


def test_the_limit_is_raised_by_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv('DETKIT_MAX_PIXELS', '77')
    assert number_in_variable('DETKIT_MAX_PIXELS', 5, 1) == 77 and number_in_variable('DETKIT_NONE', 5, 1) == 5
    for text in ('x', '-3', '0', '1.5', '9' * 400, '٣'):
        monkeypatch.setenv('DETKIT_MAX_PIXELS', text)
        with pytest.raises(ConfigError, match='DETKIT_MAX_PIXELS is .*, but should be a whole number above 0'):
            number_in_variable('DETKIT_MAX_PIXELS', 5, 1)
    (tmp_path / 'x.txt').write_text('four')
    with pytest.raises(DataError, match=r'has 4 bytes, more than 3'):
        text_files.read_text(tmp_path / 'x.txt', max_bytes=3)


def test_nested_and_repeated_entries_end_early(tmp_path):
    depth = 100_000
    (tmp_path / 'x.json').write_text('[' * depth + ']' * depth)
    (tmp_path / 'x.xml').write_text('<a>' * depth + '</a>' * depth)
    (tmp_path / 'coco.json').write_text('{"images": ' + '[' * depth + ']' * depth + '}')
    (tmp_path / 'data.yaml').write_text('names: ' + '[' * 5000 + ']' * 5000)
    for name in ('x.json', 'x.xml', 'coco.json', 'data.yaml'):
        with pytest.raises(DataError):
            READERS[name](tmp_path / name)
    laughs = 'a0: &a0 [x, x]\n' + ''.join(f'a{i}: &a{i} [{", ".join([f"*a{i - 1}"] * 9)}]\n' for i in range(1, 30))
    for key in ('names', 'train', 'nc', 'path', 'kpt_shape'):
        (tmp_path / 'data.yaml').write_text(f'{laughs}train: x\n{key}: *a29\n'.replace('train: x\ntrain', 'train'))
        with pytest.raises(DataError, match=key):
            read_data_yaml(tmp_path / 'data.yaml')


def test_bitmaps_that_no_image_has(tmp_path):
    for draw in (
        lambda: crop_to_rle(np.ones((2, 2), bool), 0, 0, (10**6, 10**6)),
        lambda: rings_to_rle([np.array([[0, 0], [9, 0], [9, 9]])], (10**6, 10**6)),
    ):
        with pytest.raises(EntryError, match='1000000x1000000 pixels, more than'):
            draw()
    write_image(tmp_path / 'a.png', 9, 9)
    image = dict(id=1, file_name='a.png', height=10**9, width=10**9)
    for segmentation in (
        dict(size=[10**9, 10**9], counts=[0, 10**18]),
        dict(size=[10**9, 10**9], counts='0000000000000000000o' * 3),
        dict(size=[9, 9], counts=[10**18]),
        dict(size=[-1, 10**400], counts=[1]),
    ):
        content = dict(
            images=[image],
            categories=[dict(id=1, name='a')],
            annotations=[dict(id=1, image_id=1, category_id=1, bbox=[0, 0, 5, 5], area=9, segmentation=segmentation)],
        )
        (tmp_path / 'a.json').write_text(json.dumps(content))
        dataset = CocoDataset(ann_file=str(tmp_path / 'a.json'), img_prefix=str(tmp_path), pipeline=[], max_skipped=1.0)
        assert len(dataset.skipped)


def test_a_size_behind_long_comments(tmp_path, monkeypatch):
    """Where no size is found, nothing is decoded."""
    monkeypatch.setattr(cv2, 'imdecode', lambda *_: pytest.fail('it was decoded'))
    path = tmp_path / 'x.hdr'
    head, size = LARGE['hdr']().split(b'\n\n')
    for length, reason in ((5000, f'{SIDE}x{SIDE} pixels, more than max_pixels'), (70000, 'is no image that')):
        path.write_bytes(head + b'\n#' + b'x' * length + b'\n\n' + size)
        with pytest.raises(UnreadableImageError, match=reason):
            read_image(str(path))
