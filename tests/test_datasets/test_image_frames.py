"""Animations and documents of several pages: the first one is read, and a line says so."""

import io

import numpy as np
import pytest
from PIL import Image
from scene_helpers import ListDataset
from small_models import write_checkpoint

from detkit.datasets import image_frames
from detkit.datasets.image_frames import has_further_frames
from detkit.datasets.transforms.loading import decode_image, read_image
from detkit.inference import Predictor
from detkit.structures.annotations import Annotations, Record

COLOURS = ((250, 10, 10), (10, 250, 10), (10, 10, 250))
SUFFIXES = ('.gif', '.apng', '.png', '.webp', '.tif', '.tiff')


def frames(count: int) -> list[Image.Image]:
    """Return pictures of noise below a bar of one colour, so that their data are longer than a block."""
    noise = np.random.default_rng(0).integers(0, 256, (40, 64, 3), dtype=np.uint8)
    pictures = []
    for colour in COLOURS[:count]:
        noise = np.roll(noise, 3, 0)
        noise[:20] = colour
        pictures.append(Image.fromarray(noise))
    return pictures


def contents(suffix: str, count: int) -> bytes:
    first, *others = frames(count)
    file = io.BytesIO()
    kind = {'.apng': 'PNG', '.tif': 'TIFF'}.get(suffix, suffix[1:].upper())
    options = dict(save_all=True, append_images=others) if count > 1 else {}
    first.save(file, kind, **options, **({'lossless': True} if suffix == '.webp' else {}))
    return file.getvalue()


@pytest.fixture(autouse=True)
def nothing_noted(monkeypatch):
    monkeypatch.setattr(image_frames, '_noted', [])
    # The logger may be one that an earlier test made for its own output.
    monkeypatch.setattr(image_frames, 'print_log', lambda text, logger: print(text))


@pytest.mark.parametrize('suffix', SUFFIXES)
def test_files_of_several_frames_are_recognised(suffix):
    one, several = (contents(suffix, count) for count in (1, 3))
    assert has_further_frames(memoryview(several)) and not has_further_frames(memoryview(one))
    for length in range(0, len(several), 7):  # cut anywhere, it is an answer all the same
        has_further_frames(memoryview(several[:length]))


def test_what_is_no_second_page():
    """A preview or a mask of a TIFF's first page, and other formats."""
    first, second = frames(2)
    for kind, expected in ((1, False), (4, False), (2, True)):
        file = io.BytesIO()
        second.encoderinfo = {'tiffinfo': {254: kind}}
        first.save(file, 'TIFF', save_all=True, append_images=[second])
        assert has_further_frames(memoryview(file.getvalue())) == expected
    for kind in ('JPEG', 'BMP', 'PPM'):
        file = io.BytesIO()
        first.save(file, kind)
        assert not has_further_frames(memoryview(file.getvalue()))


@pytest.mark.parametrize('suffix', SUFFIXES)
def test_the_first_frame_is_read_and_one_line_says_so(suffix, tmp_path, capfd):
    path = tmp_path / f'a{suffix}'
    path.write_bytes(contents(suffix, 3))
    for img in (read_image(str(path)), decode_image(path.read_bytes(), 'b')):
        assert np.abs(img[:15].astype(int) - COLOURS[0]).max() < 40
    printed = ''.join(capfd.readouterr())
    assert printed.count('has several frames or pages, of which the first is read') == 1 and f'a{suffix}' in printed
    read_image(str(_single(tmp_path, suffix)))
    assert not ''.join(capfd.readouterr())


def _single(folder, suffix):
    path = folder / f'single{suffix}'
    path.write_bytes(contents(suffix, 1))
    return path


def test_a_dataset_lists_them(tmp_path):
    records = []
    for number, suffix in enumerate(('.gif', '.webp', '.tif', '.tiff', '.apng')):
        path = tmp_path / f'{number}{suffix}'
        path.write_bytes(contents(suffix, 1 if suffix == '.tiff' else 2))
        records.append(Record(str(path), number, (40, 64), Annotations()))
    (tmp_path / 'empty.gif').write_bytes(b'')
    dataset = ListDataset([*records, Record(str(tmp_path / 'empty.gif'), 9, (40, 64), Annotations())], test_mode=True)
    assert [skip.path.rsplit('/', 1)[1] for skip in dataset.unused] == ['0.gif', '1.webp', '2.tif', '4.apng']
    assert {skip.reason for skip in dataset.unused} == {'the further frames or pages of an image, whose first is read'}


def test_predictions_are_of_the_first(tmp_path, capfd):
    write_checkpoint(tmp_path / 'det.pth')
    (tmp_path / 'a.gif').write_bytes(contents('.gif', 3))
    (sample,) = Predictor(None, tmp_path / 'det.pth', device='cpu').predict(str(tmp_path / 'a.gif'))
    assert sample.ori_shape[:2] == (40, 64)
    assert 'a.gif has several frames or pages' in ''.join(capfd.readouterr())
