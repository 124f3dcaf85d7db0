"""Exported files wherever a checkpoint is taken: tiles and augmented copies, tracks, counts, tests."""

import numpy as np
import pytest
from every_task import write_task
from small_models import write_images

from detkit import Detector
from detkit.cli.command import run_command
from detkit.cli.main import find_command

pytest.importorskip('onnxruntime')
# Small steps of one size, so that the static file takes every view.
OPTIONS = dict(max_per_img=15, batch_size=2)
VIEWS = {
    'tiles': dict(tile=48, tile_overlap=0.25),
    'flips': dict(tta=['plain', 'hflip', 'vflip']),
    'both': dict(tile=64, tta=['plain', 'hflip']),
}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A checkpoint, pictures, and the checkpoint as ONNX for one image of 64 pixels and for any."""
    folder = tmp_path_factory.mktemp('uses')
    detector = Detector(write_task(folder / 'model.pth', 'yolov8 det', 64), device='cpu')
    write_images(folder / 'images', 3, (100, 130))
    detector.export(path=folder / 'static.onnx', img_size=64, images=folder / 'images')
    detector.export(path=folder / 'any.onnx', img_size=64, dynamic=True, images=folder / 'images')
    return folder


def run(name, *words):
    return run_command(lambda: find_command(name).main([str(word) for word in words]))


def matched(ours, theirs) -> bool:
    """Return whether two results are the same objects."""
    order, other = (np.lexsort((*np.round(each.bboxes, 0).T, np.round(each.scores, 3))) for each in (ours, theirs))
    return (
        len(ours) == len(theirs) > 3
        and np.allclose(ours.scores[order], theirs.scores[other], atol=2e-3)
        and np.allclose(ours.bboxes[order], theirs.bboxes[other], atol=0.1)
    )


@pytest.mark.thorough
@pytest.mark.default_cases(1)
@pytest.mark.parametrize('views', list(VIEWS))
def test_views_of_a_file_are_those_of_the_checkpoint(views, folder):
    native = Detector(folder / 'model.pth', device='cpu')(folder / 'images', img_size=64, **OPTIONS, **VIEWS[views])
    for name, options in (('static.onnx', {}), ('any.onnx', dict(img_size=64))):
        found = Detector(folder / name)(folder / 'images', **options, **OPTIONS, **VIEWS[views])
        if name == 'any.onnx' or views != 'flips':  # a static file pads what is no square, which the network sees
            assert all(matched(*pair) for pair in zip(found, native, strict=True)), name
        assert all(len(result) for result in found)


def test_scaled_copies_need_a_file_of_dynamic_size(folder, capsys):
    scaled = dict(tta=['plain', 'hflip', 0.5], **OPTIONS)
    native = Detector(folder / 'model.pth', device='cpu')(folder / 'images', img_size=64, **scaled)
    found = Detector(folder / 'any.onnx')(folder / 'images', img_size=64, **scaled)
    assert all(matched(*pair) for pair in zip(found, native, strict=True))
    words = ['predict', '-', folder / 'static.onnx', folder / 'images', '--tta', 'plain', '0.5']
    assert run(*words, '--out-dir', folder / 'out') == 2
    assert 'images cannot be scaled by tta: give flips alone, or export with dynamic size' in capsys.readouterr().err


def test_a_file_is_tested_on_views(folder, tmp_path, monkeypatch, capsys):
    from test_export_command import write_data

    root = write_data(tmp_path / 'data')
    monkeypatch.chdir(tmp_path)
    options = dict(img_size=64, num_workers=0, tile=64, tta=['plain', 'hflip'])
    expected, *found = (
        Detector(folder / name, device='cpu').val(root / 'data.yaml', **options)
        for name in ('model.pth', 'any.onnx', 'static.onnx')
    )
    for metrics in found:
        assert metrics == pytest.approx(expected, abs=1e-3)
    words = ['test', 'yolov8/det_custom', folder / 'static.onnx', '--tta', 'plain', '1.5', '--cfg-options']
    assert run(*words, f'data_yaml={root / "data.yaml"}', 'img_size=64', 'num_workers=0') == 2
    assert 'images cannot be scaled by tta' in capsys.readouterr().err


@pytest.mark.default_cases(1)
@pytest.mark.parametrize('name', ['model.pth', 'static.onnx', 'any.onnx'])
def test_tracks_and_counts_take_a_file(name, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('DETKIT_CACHE', str(tmp_path / 'cache'))
    pytest.importorskip('av')
    pytest.importorskip('trackers')
    from videos import write_video

    clip = write_video(tmp_path / 'clip.mp4', 6)
    words = [folder / name, clip, '--out-dir', tmp_path / 'out', '--device', 'cpu', '--img-size', 64, '--no-pictures']
    assert run('track', *words, '--runtime', 'onnx') == 0, capsys.readouterr().err
    lines = (tmp_path / 'out' / 'clip.txt').read_text().splitlines()
    assert len({line.split(',')[0] for line in lines}) > 3
    assert run('count', *words, '--line', 'gate', '0.5,0', '0.5,1') == 0, capsys.readouterr().err
