"""Images that are no files: all that looks at pixels has them from a reader of a user's own."""

import json

import cv2
import numpy as np
import pytest
from format_helpers import write_image
from PIL import Image
from scene_helpers import ListDataset

from detkit.analysis.data.image_hashes import hash_images
from detkit.datasets.image_files import read_image_size
from detkit.datasets.transforms.loading import UnreadableImageError, read_image
from detkit.datasets.writers import convert_dataset
from detkit.inference.sources import find_images
from detkit.registry import IMAGE_READERS
from detkit.structures.annotations import Annotations, Record
from detkit.utils.errors import ComponentError, DataError

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 20, 3), np.uint8)


@pytest.fixture
def images(monkeypatch):
    """The images of the scheme 'mem', by the names that its reader is given."""
    monkeypatch.setattr(IMAGE_READERS, '_module_dict', dict(IMAGE_READERS.module_dict))
    known = {'pixels': PIXELS, 'file.png': cv2.imencode('.png', PIXELS[..., ::-1])[1].tobytes()}

    @IMAGE_READERS.register_module(name='mem')
    def read(name):
        return known[name]

    return known


@pytest.mark.parametrize('name', ['mem://pixels', 'mem://file.png'])
def test_pixels_and_contents_are_read(images, name):
    assert (read_image(name) == PIXELS).all() and read_image_size(name) == (12, 20)
    (source,) = find_images(name)
    assert (source.read() == PIXELS).all() and (source.read_reduced(lambda shape: 8).img == PIXELS).all()
    dataset = ListDataset([Record(name, 1, (12, 20), Annotations())], cache='ram')
    assert (dataset.cached_images[name] == PIXELS).all()


def test_contents_are_turned_upright(images, tmp_path):
    image = Image.fromarray(PIXELS)
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / 'turned.png', exif=exif)
    images['turned.png'] = (tmp_path / 'turned.png').read_bytes()
    assert read_image_size('mem://turned.png') == (20, 12)
    assert (read_image('mem://turned.png') == np.rot90(PIXELS, -1)).all()


def test_hashes_are_those_of_files(images, tmp_path):
    img = cv2.resize(PIXELS, (80, 48))
    images['large'] = img
    cv2.imwrite(str(tmp_path / 'large.png'), img[..., ::-1])
    hashes = hash_images([str(tmp_path / 'large.png'), 'mem://large'], [(48, 80)] * 2)
    first, second = hashes.thumbs.astype(int)
    assert hashes.readable.all() and abs(first - second).max() <= 1  # grey is rounded by the file's decoder, or here


def test_a_missing_image_is_unreadable_and_a_wrong_reader_is_named(images):
    with pytest.raises(UnreadableImageError, match=r"the image reader 'mem' \(.*read\) raises KeyError: 'gone'"):
        read_image('mem://gone')
    with pytest.raises(DataError, match="raises KeyError: 'gone'"):
        find_images('mem://gone')[0].read()
    with pytest.raises(UnreadableImageError, match='has 20x12 pixels, more than max_pixels=100'):
        read_image('mem://pixels', 100)
    images['broken.png'] = images['file.png'][:40]
    with pytest.raises(UnreadableImageError, match='truncated'):
        read_image('mem://broken.png')
    for name, value in dict(none=None, grey=PIXELS[..., 0], floats=PIXELS / 255, empty=PIXELS[:0]).items():
        images[name] = value
        with pytest.raises(ComponentError, match=rf"'mem' .* returns .* for '{name}', but must return an array of"):
            read_image(f'mem://{name}')


def test_a_scheme_without_a_reader_says_what_is_missing():
    with pytest.raises(UnreadableImageError, match="registered as 'zarr' in IMAGE_READERS"):
        read_image('zarr://a/b')
    with pytest.raises(DataError, match="registered as 'zarr' in IMAGE_READERS, in a module that custom_imports names"):
        find_images('zarr://a/b')


def test_a_conversion_writes_them(images, tmp_path):
    write_image(tmp_path / 'plain.png', 20, 12)
    box = Annotations(np.zeros(1, np.int64), np.array([[2, 3, 12, 9]], np.float32))
    records = [
        Record(name, name, (12, 20), box) for name in ('mem://pixels', 'mem://file.png', str(tmp_path / 'plain.png'))
    ]
    records.append(Record('mem://gone', 'gone', (12, 20), box))
    convert_dataset({'train': ListDataset(records)}, tmp_path / 'coco', 'coco')
    written = json.loads((tmp_path / 'coco/annotations/instances_train.json').read_text())
    assert sorted(image['file_name'] for image in written['images']) == ['file.png', 'pixels.png', 'plain.png']
    for name in ('file.png', 'pixels.png'):
        assert (read_image(str(tmp_path / 'coco/train' / name)) == PIXELS).all()
