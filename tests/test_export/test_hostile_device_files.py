"""Files for small devices that are damaged or foreign: a sentence, or the right to read on, but never another error."""

import numpy as np
import pytest
from every_task import write_task
from small_models import write_images

from detkit.api import Detector
from detkit.export import open_exported
from detkit.export.format import find_format
from detkit.utils.errors import CheckpointError, DetkitError

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module', params=['litert', 'ncnn', 'executorch'])
def exported(request, tmp_path_factory):
    """A classifier in the format, and the format."""
    fmt = find_format(request.param)
    for package in {**fmt.packages, **fmt.converters}:
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp(fmt.name)
    detector = Detector(write_task(folder / 'cls.pth', 'yolov8 cls', 64), device='cpu')
    return detector.export(fmt.name, img_size=64, images=write_images(folder / 'images', 1)), fmt


def copied(path, fmt, folder):
    for source in fmt.files(path):
        (folder / source.name).write_bytes(source.read_bytes())
    return folder / path.name


@pytest.mark.parametrize('share', [0, 0.001, 0.3, 0.9])
def test_a_truncated_file(share, exported, tmp_path):
    path = copied(*exported, tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CheckpointError):
        open_exported(path, runtime=exported[1].name)


@pytest.mark.parametrize('content', [b'', b'PK\x03\x04', b'\x80\x02}.', bytes(range(256)) * 40])
def test_another_file_of_that_name(content, exported, tmp_path):
    path = copied(*exported, tmp_path)
    path.write_bytes(content)
    with pytest.raises(CheckpointError):
        open_exported(path, runtime=exported[1].name)


def test_a_file_whose_runtime_is_not_named(exported):
    with pytest.raises(CheckpointError, match='may run code'):
        open_exported(exported[0])


def test_damage_in_the_description_is_a_sentence_or_does_no_harm(exported, tmp_path):
    path = copied(*exported, tmp_path)
    target = exported[1].files(path)[0]
    content, rng, refused = target.read_bytes(), np.random.default_rng(0), 0
    for _ in range(20):
        damaged = bytearray(content)
        for index in len(content) - 1 - rng.integers(0, 3000, 3):
            damaged[index] = rng.integers(0, 256)
        target.write_bytes(damaged)
        try:
            list(Detector(path, runtime=exported[1].name)(np.zeros((64, 64, 3), np.uint8)))
        except DetkitError:
            refused += 1
    assert refused > 0
