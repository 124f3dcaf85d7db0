"""tools/analyze/compare.py, confusion_matrix.py, pr_curves.py and error_analysis.py from the command line."""

import re
from pathlib import Path

import pytest
import torch
from builders import CONFIGS
from small_models import NARROW, write_checkpoint
from tool_helpers import load_tool, modules_loaded_by_help, run_tool, write_yolo_set

from detkit.datasets.class_names import COCO80, DOTA15
from detkit.engine.checkpoint import load_checkpoint, save_checkpoint

FOLDER = CONFIGS / 'yolov8'
TOOLS = ('compare', 'confusion_matrix', 'pr_curves', 'error_analysis')
WEATHER = ('cloudy', 'rain', 'shine', 'sunrise')
# task: config, where its tiny data are, classes, what is matched
TASKS = {
    'det': (FOLDER / 'det_n_coco8.py', '.', COCO80, 'bbox'),
    'seg': (FOLDER / 'seg_n_coco8.py', '.', COCO80, 'segm'),
    'pose': (FOLDER / 'pose_n_coco8.py', 'pose', ('person',), 'keypoints'),
    'obb': (FOLDER / 'obb_n_dota8.py', 'obb', DOTA15, 'rbbox'),
    'cls': (FOLDER / 'cls_n_weather.py', 'weather', WEATHER, 'label'),
}


@pytest.fixture(scope='module')
def weights(tmp_path_factory: pytest.TempPathFactory):
    """``weights(task)``: a checkpoint of random weights that finds something; others by ``change`` of its tensors."""
    folder = tmp_path_factory.mktemp('weights')

    def get(task: str, name: str = '', change=None) -> Path:
        path = folder / f'{task}{name}.pth'
        if not path.exists():
            write_checkpoint(path, task, TASKS[task][2], narrow=True)
            if change is not None:
                content = load_checkpoint(path)
                change(content['state_dict'])
                save_checkpoint(content, path)
        return path

    return get


def disturb(state: dict) -> None:
    """Other predictions from the same network."""
    generator = torch.Generator().manual_seed(1)
    for name, tensor in state.items():
        if 'cls' in name and tensor.dim() > 1:
            tensor += tensor.std() * torch.randn(tensor.shape, generator=generator)


def silence(state: dict) -> None:
    for name, tensor in state.items():
        if re.search(r'cls_branches\.\d\.2\.', name):
            tensor.fill_(-30.0 if name.endswith('bias') else 0.0)


def options(root: Path, task: str = 'seg') -> list:
    return [
        '--device',
        'cpu',
        '--cfg-options',
        f'data_root={root / TASKS[task][1]}',
        'img_size=64',
        'num_workers=0',
        NARROW,
    ]


@pytest.mark.default_cases(1)
@pytest.mark.parametrize('task', TASKS)
def test_every_task_is_compared(task, tiny_data, weights, tmp_path, monkeypatch, capsys):
    config = TASKS[task][0]
    code = run_tool(
        monkeypatch,
        'analyze/compare',
        config,
        weights(task),
        config,
        weights(task, '-2', disturb),
        '--labels',
        'one',
        'two',
        '--replicates',
        30,
        '--out',
        tmp_path / 'page.html',
        '--score-thr',
        0,
        *options(tiny_data, task),
    )
    printed = capsys.readouterr()
    assert code == 0, printed.err
    figure = {'det': 'box mAP', 'seg': 'mask mAP', 'pose': 'keypoint mAP', 'obb': 'rotated box mAP', 'cls': 'top1'}
    assert f'| {figure[task]}' in printed.out or f' {figure[task]} |' in printed.out
    assert 'two - one' in printed.out and f'report in {tmp_path / "page.html"}' in printed.out
    page = (tmp_path / 'page.html').read_text()
    assert page.count('<h2>') >= 5 and 'How the configs differ' in page
    assert not re.search(r'(src|href)=[\'"]?http', page)


@pytest.mark.thorough
@pytest.mark.default_cases(1)
@pytest.mark.parametrize('task', TASKS)
def test_every_task_is_looked_into(task, tiny_data, weights, tmp_path, monkeypatch, capsys):
    config, _, _, kind = TASKS[task]
    files = {
        'confusion_matrix': {'confusion_matrix.png', 'confusion_matrix.csv'},
        'pr_curves': {'pr_curve.png', 'precision_curve.png', 'recall_curve.png', 'f1_curve.png', 'curves.csv'},
        'error_analysis': {'errors.png', 'errors.json'},
    }
    for name, written in files.items():
        out = tmp_path / name
        code = run_tool(monkeypatch, f'analyze/{name}', config, weights(task), '--out', out, *options(tiny_data, task))
        printed = capsys.readouterr()
        if task == 'cls' and name != 'confusion_matrix':
            assert code == 2 and 'is a classifier, which has no' in printed.err and not out.exists()
        else:
            assert code == 0, printed.err
            assert written <= {path.name for path in out.iterdir()} and f'in {out}' in printed.out


def test_voc_is_compared_by_coco_rules(tiny_data, tmp_path, monkeypatch, capsys):
    config = CONFIGS / 'yolov5' / 'det_voc.py'
    from detkit.engine import train_from_config

    own = [f'data_root={tiny_data / "voc"}', 'img_size=64', 'num_workers=0', NARROW, 'batch_size=2', 'val_batch_size=2']
    train_from_config(
        str(config),
        options=[*own, 'max_epochs=1', 'default_hooks.pictures=None'],
        work_dir=str(tmp_path / 'run'),
        device='cpu',
    )
    capsys.readouterr()
    # An untrained network is unsure of everything.
    code = run_tool(
        monkeypatch,
        'analyze/compare',
        tmp_path / 'run' / 'config.py',
        tmp_path / 'run' / 'last.pth',
        '--device',
        'cpu',
        '--cfg-options',
        'model.head.test_cfg.score_thr=1e-9',
    )
    printed = capsys.readouterr()
    assert code == 0, printed.err
    assert '| run ' in printed.out and 'box mAP50' in printed.out


@pytest.mark.parametrize('tool', TOOLS)
def test_help_needs_no_torch(tool):
    assert not modules_loaded_by_help(f'analyze/{tool}') & {'torch', 'cv2', 'mmengine', 'numpy', 'matplotlib'}


def test_every_model_has_a_checkpoint(monkeypatch, capsys):
    tool = load_tool('analyze/compare')
    with pytest.raises(SystemExit):
        tool.parse_args(['a.py', 'a.pth', 'b.py'])
    assert 'a config and a checkpoint for each model' in capsys.readouterr().err


def mistake(monkeypatch, capsys, *arguments: object) -> str:
    """What a tool says; it looks at no image before."""
    code = run_tool(monkeypatch, *arguments)
    printed = capsys.readouterr()
    assert code == 2 and printed.err.startswith('error: ') and 'images/s' not in printed.out
    return printed.err


@pytest.mark.parametrize('tool', TOOLS)
def test_the_checkpoint_of_another_model(tool, tiny_data, weights, monkeypatch, capsys):
    assert 'seg.pth' in mistake(
        monkeypatch, capsys, f'analyze/{tool}', TASKS['det'][0], weights('seg'), *options(tiny_data)
    )
    assert '4 classes, but tested on 80' in mistake(
        monkeypatch, capsys, f'analyze/{tool}', TASKS['det'][0], weights('cls'), *options(tiny_data)
    )


@pytest.mark.parametrize('tool', TOOLS)
def test_an_empty_data_set(tool, weights, tmp_path, monkeypatch, capsys):
    for kind in ('images', 'labels'):
        (tmp_path / kind / 'val').mkdir(parents=True)
    said = mistake(monkeypatch, capsys, f'analyze/{tool}', TASKS['det'][0], weights('det'), *options(tmp_path))
    assert str(tmp_path) in said


@pytest.mark.default_cases(1)
@pytest.mark.parametrize('tool', TOOLS)
def test_a_model_that_finds_nothing(tool, tiny_data, weights, monkeypatch, capsys):
    path = weights('det', '-silent', silence)
    code = run_tool(monkeypatch, f'analyze/{tool}', TASKS['det'][0], path, *options(tiny_data, 'det'))
    said = capsys.readouterr().err
    assert code == 2 and f'{path} finds nothing in any of 2 images' in said and 'score_thr' in said


def test_mixed_tasks(tiny_data, weights, monkeypatch, capsys):
    said = mistake(
        monkeypatch,
        capsys,
        'analyze/compare',
        TASKS['det'][0],
        weights('det'),
        TASKS['cls'][0],
        weights('cls'),
        *options(tiny_data),
        'test_dataloader.dataset.data_root=nowhere',
    )
    assert 'nowhere' in said  # data come first
    (tiny_data / 'mixed').mkdir(exist_ok=True)
    for name, target in (
        ('images', 'images'),
        ('labels', 'labels'),
        ('train', 'weather/train'),
        ('test', 'weather/test'),
    ):
        link = tiny_data / 'mixed' / name
        if not link.exists():
            link.symlink_to(tiny_data / target)
    said = mistake(
        monkeypatch,
        capsys,
        'analyze/compare',
        TASKS['det'][0],
        weights('det'),
        TASKS['cls'][0],
        weights('cls'),
        '--device',
        'cpu',
        '--cfg-options',
        f'data_root={tiny_data / "mixed"}',
        'img_size=64',
        NARROW,
        'num_workers=0',
    )
    assert 'different tasks' in said and 'det_n_coco8: bbox; cls_n_weather: label' in said


def test_boxes_of_a_segmenter_and_a_detector_are_compared(tiny_data, weights, monkeypatch, capsys):
    code = run_tool(
        monkeypatch,
        'analyze/compare',
        TASKS['seg'][0],
        weights('seg'),
        TASKS['det'][0],
        weights('det'),
        '--replicates',
        10,
        *options(tiny_data),
    )
    printed = capsys.readouterr().out
    assert code == 0 and 'box mAP' in printed and 'mask' not in printed


def test_other_images(weights, tmp_path, monkeypatch, capsys):
    pairs = []
    for name, count in (('whole', 2), ('part', 1)):
        root = write_yolo_set(tmp_path / name)
        if count == 1:
            (root / 'images' / 'val' / 'val0.png').unlink()
        config = tmp_path / f'{name}.py'
        config.write_text(
            f'_base_ = {str(TASKS["det"][0])!r}\n'
            f'val_dataloader = dict(dataset=dict(data_root={str(root)!r}))\n'
            'test_dataloader = val_dataloader\n'
        )
        pairs += [config, weights('det')]
    said = mistake(
        monkeypatch,
        capsys,
        'analyze/compare',
        *pairs,
        '--device',
        'cpu',
        '--cfg-options',
        'img_size=64',
        NARROW,
        'num_workers=0',
        'max_skipped=0.6',
    )
    assert 'whole is evaluated on 2 images and part on 1' in said


def test_what_cannot_be_asked(tiny_data, weights, monkeypatch, capsys):
    model = TASKS['det'][0], weights('det')
    for tool, arguments, said in (
        ('pr_curves', ('--kind', 'segm'), "evaluates bbox, not 'segm'"),
        ('compare', ('--labels', 'a', 'b'), '2 labels (a, b) for 1 models'),
    ):
        code = run_tool(monkeypatch, f'analyze/{tool}', *model, *arguments, *options(tiny_data))
        assert code == 2 and said in capsys.readouterr().err
