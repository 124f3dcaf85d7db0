"""tools/train.py and tools/dist_train.sh from the command line."""

import importlib.util
import subprocess
import sys

import pytest
from builders import read_pictures

from detkit.cli.command import run_command


@pytest.fixture
def train(repo, monkeypatch, capsys, tmp_path):
    """Runs tools/train.py in this process, in an empty folder; returns exit code, stdout and stderr."""
    spec = importlib.util.spec_from_file_location('train_tool', repo / 'tools' / 'train.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.chdir(tmp_path)

    def run(*args):
        monkeypatch.setattr(sys, 'argv', ['train.py', *map(str, args)])
        code = run_command(module.main)
        return code, *capsys.readouterr()

    return run


def small(data, **options):
    given = dict(data_root=data, img_size=64, num_workers=0, batch_size=2, repeat_times=1, max_epochs=1)
    options = dict(given, widen_factor=0.0625) | options
    return ['--cfg-options', *(f'{key}={value}' for key, value in options.items())]


WITHOUT_PICTURES = {'default_hooks.pictures': None}


def test_a_run_and_going_on_with_it(train, repo, tiny_data, tmp_path):
    config = repo / 'configs/yolov8/seg_n_coco8.py'
    code, out, err = train(config, '--work-dir', 'run', '--seed', 3, '--device', 'cpu', '--no-amp', *small(tiny_data))
    assert code == 0, err
    written = {path.name for path in (tmp_path / 'run').iterdir()}
    assert len(read_pictures(tmp_path / 'run')) >= 7
    assert {
        'config.py',
        'train.log',
        'scalars.json',
        'results.csv',
        'last.pth',
        'best.pth',
        'train_batch0.jpg',
        'val_batch0.jpg',
        'results.png',
        'labels.png',
        'confusion_matrix.png',
        'pr_curve.png',
        'f1_curve.png',
    } <= written
    before_first_epoch = out.split('1/1 ')[0]
    assert len(before_first_epoch.splitlines()) <= 12
    assert 'seed 3' in out

    code, out, err = train(config, '--work-dir', 'run', '--resume', '--device', 'cpu', *small(tiny_data, max_epochs=2))
    assert code == 0, err
    assert 'resume' in out and 'epoch 2, iteration 1' in out
    assert len((tmp_path / 'run' / 'results.csv').read_text().splitlines()) == 3  # a header, two epochs


@pytest.mark.thorough
def test_the_same_command_resumes_whatever_variables_it_gives(train, repo, tiny_data, tmp_path):
    """A run's own config holds its variables, of the base configs too, with the values that the options gave them."""
    config = repo / 'configs' / 'yolov8' / 'seg_n_coco8.py'
    command = [config, '--work-dir', 'run', '--resume', '--device', 'cpu', *small(tiny_data, **WITHOUT_PICTURES)]
    code, out, err = train(*command, 'mixup_prob=0.3', 'degrees=10')
    assert code == 0, err
    own = (tmp_path / 'run' / 'config.py').read_text().splitlines()
    assert 'mixup_prob = 0.3' in own
    longer = [*command, 'max_epochs=2', 'degrees=10']
    code, out, err = train(*longer, 'mixup_prob=0.3')
    assert code == 0, err
    assert 'epoch 2, iteration 1' in out
    assert len((tmp_path / 'run' / 'results.csv').read_text().splitlines()) == 3  # a header, two epochs
    code, _, err = train(*command, 'max_epochs=3', 'mixup_prob=0.4')
    assert code == 0, err
    assert 'mixup_prob = 0.4' in (tmp_path / 'run' / 'config.py').read_text().splitlines()


@pytest.mark.thorough
def test_a_variable_that_a_run_s_config_cannot_hold_keeps_its_value(train, repo, tiny_data, tmp_path):
    base = repo / 'configs' / 'yolov8' / 'seg_n_coco8.py'
    config = tmp_path / 'own.py'
    lines = [
        'import math',
        f'_base_ = {str(base)!r}',
        'factor = 4',
        'optim_wrapper = dict(optimizer=dict(lr=0.01 / math.sqrt(factor)))',
    ]
    config.write_text('\n'.join(lines))
    command = [config, '--work-dir', 'run', '--resume', '--device', 'cpu', *small(tiny_data, **WITHOUT_PICTURES)]
    code, _, err = train(*command, 'factor=9')
    assert code == 0, err
    code, _, err = train(*command, 'max_epochs=2', 'factor=16')
    assert code == 2 and 'factor' in err and 'differs from' in err and 'optim_wrapper' in err
    code, out, err = train(*command, 'max_epochs=2', 'factor=9')
    assert code == 0 and 'epoch 2, iteration 1' in out, err


@pytest.mark.parametrize(
    'args, sentence',
    [
        (['nowhere.py'], 'there is no config file'),
        (['seg_n_coco8.py', '--cfg-options', 'data_rot=x'], "Did you mean 'data_root=x'"),
        (['seg_n_coco8.py', '--cfg-options', 'model.head.type=YOLOv8SegmentHed'], "Did you mean 'YOLOv8SegmentHead'"),
        (['seg_n_coco8.py', '--cfg-options', '+model.backbone.widen_facto=2'], "Did you mean 'widen_factor'"),
        (['seg_n_coco8.py', '--cfg-options', '+model.head.num_classes=3'], 'names 80 classes'),
        (['seg_n_coco8.py', '--cfg-options', 'data_root=not/there'], 'not/there'),
        (['seg_n_coco8.py', '--cfg-options', 'data_root=empty'], 'empty'),
        (['seg_n_coco8.py', '--device', 'cpu', '--resume', 'none.pth', '--cfg-options', 'data_root=TINY'], 'none.pth'),
        (['seg_custom.py'], 'data_yaml'),
    ],
)
def test_a_mistake_is_one_sentence(train, repo, tiny_data, tmp_path, args, sentence):
    (tmp_path / 'empty' / 'images' / 'train').mkdir(parents=True)
    config, *options = [arg.replace('TINY', str(tiny_data)) for arg in args]
    code, _, err = train(repo / 'configs' / 'yolov8' / config, *options)
    assert code == 2
    assert err.startswith('error: ') and sentence in err
    assert 'Traceback' not in err and len(err.splitlines()) == 1


@pytest.mark.thorough
def test_a_tool_of_the_command_line_exits_with_2(repo):
    done = subprocess.run([sys.executable, str(repo / 'tools/train.py'), 'nowhere.py'], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith('error: there is no config file nowhere.py')


def test_the_launch_script_explains_itself(repo):
    done = subprocess.run(['bash', str(repo / 'tools/dist_train.sh')], capture_output=True, text=True)
    assert done.returncode == 2 and 'usage:' in done.stderr
