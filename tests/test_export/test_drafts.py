"""Exports write into a hidden folder of their own: two do not meet, and neither errors nor kills leave anything."""

import os
import time
from functools import partial

import pytest
import torch
from disks import full_disk
from small_models import write_shallow_checkpoint
from torch import nn

from detkit.export import ExportSettings, export_detector, exporting
from detkit.export.format import find_format
from detkit.inference import init_detector
from detkit.utils.errors import CheckpointError
from detkit.utils.files import draft_folder

DAY = 24 * 3600


@pytest.fixture(scope='module')
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp('models')
    return [
        init_detector(None, write_shallow_checkpoint(folder / f'{task}.pth', task), 'cpu') for task in ('det', 'seg')
    ]


@pytest.mark.parametrize('name', ['onnx', pytest.param('openvino', marks=pytest.mark.slow)])
def test_an_export_that_ends_within_another_to_the_same_path(name, models, tmp_path):
    fmt, settings = find_format(name), ExportSettings(name, img_size=64)
    for package in {**fmt.packages, **fmt.converters}:
        pytest.importorskip(package)
    path, tasks = tmp_path / f'model{fmt.suffix}', []

    def export_the_other(line: str) -> None:
        if not tasks:
            export_detector(models[1], path, settings)
            tasks.append(init_detector(None, path).info.config['task'])

    export_detector(models[0], path, settings, log=export_the_other)
    tasks.append(init_detector(None, path).info.config['task'])
    assert tasks == ['seg', 'det']
    assert sorted(tmp_path.iterdir()) == sorted(fmt.files(path))


def test_an_error_leaves_nothing(models, tmp_path, monkeypatch):
    fmt = type(find_format('onnx'))
    pytest.importorskip('onnxruntime')

    def write_a_part(self, network, description, path):
        path.write_bytes(b'a part')
        raise OSError(28, 'No space left on device', str(path))

    monkeypatch.setattr(fmt, 'write', write_a_part)
    with pytest.raises(OSError, match='No space left'):
        export_detector(models[0], tmp_path / 'model.onnx', ExportSettings(img_size=64))
    assert list(tmp_path.iterdir()) == []


def network_of(name: str) -> object:
    """A small network as a format writes it."""
    layer, x = nn.Linear(100, 100), torch.zeros(1, 100)
    if name == 'torchscript':
        return torch.jit.trace(layer, x)
    if name == 'torch_export':
        return torch.export.export(layer, (x,))
    opset = pytest.importorskip('openvino.opset13')
    value = opset.parameter([1, 100])
    return pytest.importorskip('openvino').Model([opset.relu(value)], [value]), False


@pytest.mark.parametrize('name', ['torchscript', 'torch_export', 'openvino'])
def test_a_full_disk_is_named_whatever_a_library_says(name, tmp_path):
    network, fmt = network_of(name), find_format(name)
    with full_disk(10), pytest.raises(OSError, match='File too large') as caught, draft_folder(tmp_path) as folder:
        exporting._write(fmt, network, '{}', folder / f'model{fmt.suffix}')
    assert caught.value.filename.startswith(str(tmp_path))


def test_other_errors_of_a_library_are_its_own(tmp_path):
    class Failing:
        def write(self, *_: object) -> None:
            raise RuntimeError('no such operation')

    with pytest.raises(RuntimeError, match='no such operation'):
        exporting._write(Failing(), None, '', tmp_path / 'model')


def run_onnx_by(monkeypatch, change) -> None:
    """Let ``change(session, inputs)`` run files of ONNX."""
    fmt = type(find_format('onnx'))
    pytest.importorskip('onnxruntime')
    opened = fmt.open

    def changed(self, path, device, threads):
        session = opened(self, path, device, threads)
        run = partial(change, session)
        run.runtime = session.runtime
        return run

    monkeypatch.setattr(fmt, 'open', changed)


def test_a_file_that_does_not_run_with_smaller_images_says_what_to_do(models, tmp_path, monkeypatch):
    def run(session, inputs):
        if inputs['images'].shape[-1] < 64:
            raise CheckpointError('the runtime cannot run the exported network: at least 64')
        return session(inputs)

    run_onnx_by(monkeypatch, run)
    text = 'at least 64; it runs with images of 64 px, but not with those of 32 px.*larger img_size, such as 128'
    with pytest.raises(CheckpointError, match=text):
        export_detector(models[0], tmp_path / 'model.onnx', ExportSettings(img_size=64, dynamic=True))
    export_detector(models[0], tmp_path / 'model.onnx', ExportSettings(img_size=64, dynamic=('batch',)))


def test_a_file_that_is_wrong_for_larger_images_is_refused(models, tmp_path, monkeypatch):
    def run(session, inputs):
        share = 1.0 if inputs['images'].shape[-1] <= 64 else 1.5  # as of what was fixed when the file was made
        return {name: value * share for name, value in session(inputs).items()}

    run_onnx_by(monkeypatch, run)
    with pytest.raises(exporting.ExportError, match='differs from PyTorch'):
        export_detector(models[0], tmp_path / 'model.onnx', ExportSettings(img_size=64, dynamic=True))
    done = export_detector(models[0], tmp_path / 'model.onnx', ExportSettings(img_size=64, dynamic=('batch',)))
    assert {side for _, *sides in done.differences.batches for side in sides} == {64}


def test_what_was_left_long_ago_is_removed(tmp_path):
    for name, age in (('.detkit-draft-old', 2 * DAY), ('.detkit-draft-new', DAY / 2), ('.draft-own', 2 * DAY)):
        (tmp_path / name).mkdir()
        (tmp_path / name / 'file').write_text('a part')
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    (tmp_path / '.detkit-draft-file').write_text('no folder')
    os.utime(tmp_path / '.detkit-draft-file', (0, 0))
    with draft_folder(tmp_path) as first, draft_folder(tmp_path) as second:
        assert first != second and first.parent == second.parent == tmp_path
    names = {'.detkit-draft-new', '.draft-own', '.detkit-draft-file'}
    assert {path.name for path in tmp_path.iterdir()} == names


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere') as caught, draft_folder(tmp_path / 'nowhere'):
        raise AssertionError
    assert caught.value.filename == str(tmp_path / 'nowhere')


def test_torchscript_says_nothing_of_its_age(models, tmp_path, recwarn):
    """PyTorch's warning that TorchScript is old is for programmers, none of whom chose a call of it here."""
    path = tmp_path / 'model.torchscript'
    export_detector(models[0], path, ExportSettings('torchscript', img_size=64))
    init_detector(None, path, runtime='torchscript')
    assert [str(warning.message) for warning in recwarn if 'torch.jit' in str(warning.message)] == []
