import json
from pathlib import Path

import pytest
from builders import read_pictures
from pycocotools import mask as coco_mask
from small_models import write_checkpoint, write_images
from tool_helpers import assert_drawn_on, modules_loaded_by_help, run_predict, run_tool


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp('weights') / 'seg.pth')


def test_writes_pictures_and_json(checkpoint: Path, tmp_path: Path, monkeypatch, capsys):
    images = write_images(tmp_path / 'images', 2)
    out = tmp_path / 'out'
    assert run_predict(monkeypatch, checkpoint, tmp_path / 'images', out, '--max-det', 4, '--score-thr', 0.3) == 0
    assert {path.name for path in out.iterdir()} == {'0.jpg', '1.jpg', 'predictions.json'}
    assert_drawn_on(read_pictures(out), images)
    entries = json.loads((out / 'predictions.json').read_text())
    assert {entry['image_id'] for entry in entries} == {0, 1} and 2 <= len(entries) <= 8
    for entry in entries:
        x, y, w, h = entry['bbox']
        assert entry['score'] >= 0.3 and 0 <= x <= x + w <= 90.01 and 0 <= y <= y + h <= 60.01
        assert ('cat', 'dog', 'bird')[entry['category_id']] == entry['category_name']
        assert entry['file_name'] == str(images[entry['image_id']])
        assert coco_mask.decode(entry['segmentation']).shape == (60, 90)
    printed = capsys.readouterr().out
    assert str(images[0]) in printed and f'2 images, {len(entries)} objects' in printed


def test_without_files(checkpoint: Path, tmp_path: Path, monkeypatch, capsys):
    images = write_images(tmp_path / 'images', 1)
    code = run_tool(
        monkeypatch,
        'predict',
        '-',
        checkpoint,
        *images,
        '--out-dir',
        tmp_path / 'out',
        '--img-size',
        64,
        '--no-pictures',
        '--no-save-json',
        '--score-thr',
        1,
    )
    assert code == 0 and list((tmp_path / 'out').iterdir()) == []
    assert 'nothing found' in capsys.readouterr().out


def test_unreadable_image_is_reported(checkpoint: Path, tmp_path: Path, monkeypatch, capsys):
    good, broken = write_images(tmp_path / 'images', 2)
    broken.write_bytes(b'\x89PNG\r\n\x1a\n' + bytes(50))
    code = run_predict(monkeypatch, checkpoint, tmp_path / 'images', tmp_path / 'out')
    printed = capsys.readouterr().out
    assert code == 0 and f'skipped: {broken} ' in printed and '1 image, 1 could not be read' in printed
    assert_drawn_on(read_pictures(tmp_path / 'out'), [good])
    good.write_bytes(b'')
    code = run_predict(monkeypatch, checkpoint, tmp_path / 'images', tmp_path / 'none')
    assert code == 2 and 'no image and no video could be read' in capsys.readouterr().err


@pytest.mark.parametrize(('source', 'text'), [('nothing.jpg', 'does not exist'), ('.', 'holds no image')])
def test_source_without_image(checkpoint: Path, tmp_path: Path, monkeypatch, capsys, source: str, text: str):
    code = run_tool(monkeypatch, 'predict', '-', checkpoint, tmp_path / source, '--out-dir', tmp_path / 'out')
    error = capsys.readouterr().err
    assert code == 2 and error.startswith('error: ') and text in error and 'Traceback' not in error
    assert not (tmp_path / 'out').exists()


def test_mistakes_end_in_a_sentence(checkpoint: Path, tmp_path: Path, monkeypatch, capsys):
    (image,) = write_images(tmp_path / 'images', 1)
    for arguments, text in (
        (('-', tmp_path / 'none.pth', image), 'does not exist'),
        ((tmp_path / 'none.py', checkpoint, image), 'none.py'),
        (('-', checkpoint, image, '--classes', 'horse'), 'no class'),
        (('-', checkpoint, image, '--device', 'gpu7'), 'gpu7'),
    ):
        assert run_tool(monkeypatch, 'predict', *arguments) == 2
        error = capsys.readouterr().err
        assert error.startswith('error: ') and text in error and len(error.splitlines()) == 1


def test_help_needs_no_torch():
    assert not modules_loaded_by_help('predict') & {'torch', 'numpy', 'cv2', 'mmengine'}
