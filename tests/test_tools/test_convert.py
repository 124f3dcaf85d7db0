from pathlib import Path

import pytest
from small_models import write_images
from tool_helpers import load_tool, modules_loaded_by_help, run_tool
from ultralytics_files import read_recorded, seeded_tensors, write_pt


@pytest.fixture(scope='module')
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    layout = read_recorded()['layouts']['seg_n']
    return write_pt(tmp_path_factory.mktemp('weights') / 'seg.pt', layout, 'seg', seeded_tensors(layout, 3))


def test_converts_and_what_it_prints_works(source: Path, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)  # the commands hold wherever they are given
    target = tmp_path / 'made' / 'seg.pth'
    assert run_tool(monkeypatch, 'convert', 'ultralytics', source, target) == 0
    printed = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert list(printed) == ['read', 'licence', 'wrote', 'config', 'predict', 'train']
    assert 'YOLOv8n segmentation, 3 classes (cat, dog, bird)' in printed['read']

    write_images(tmp_path / 'images', 1)
    command, name, *arguments = printed['predict'].replace('photo.jpg', str(tmp_path / 'images')).split()
    assert (command, name) == ('detkit', 'predict')
    assert run_tool(monkeypatch, 'predict', *arguments, '--out-dir', tmp_path / 'out', '--img-size', 64) == 0
    assert (tmp_path / 'out' / 'predictions.json').is_file()


def test_a_mistake_is_one_sentence(tmp_path: Path, monkeypatch, capsys):
    text = tmp_path / 'notes.pt'
    text.write_text('no weights')
    assert run_tool(monkeypatch, 'convert', 'ultralytics', text, tmp_path / 'out.pth') == 2
    error = capsys.readouterr().err
    assert error.startswith(f'error: {text} is no file that PyTorch') and error.count('\n') == 1
    assert not (tmp_path / 'out.pth').exists()


@pytest.mark.parametrize('name', ['out.onnx', 'OUT.XML', 'out.ncnn.param', 'out.weights', 'out.safetensors', 'out.py'])
def test_a_name_that_other_commands_take_for_another_file_is_refused(
    name: str, source: Path, tmp_path, monkeypatch, capsys
):
    target = tmp_path / name
    assert run_tool(monkeypatch, 'convert', 'ultralytics', source, target) == 2
    error = capsys.readouterr().err
    assert f'{target} would be a checkpoint, but' in error and f"write '{target.with_suffix('.pth')}'" in error
    assert ('detkit export --format' in error) == (name.lower().endswith(('.onnx', '.xml', '.param')))
    assert not target.exists()


def test_an_unknown_project_is_told_the_known_ones(capsys):
    with pytest.raises(SystemExit):
        load_tool('convert').parse_args(['tensorflow', 'a', 'b'])
    assert 'ultralytics' in capsys.readouterr().err


def test_help_is_light():
    assert modules_loaded_by_help('convert').isdisjoint({'torch', 'mmengine', 'cv2', 'numpy'})
