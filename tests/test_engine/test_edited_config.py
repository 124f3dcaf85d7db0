"""A run that is resumed after the config that it was started with was edited."""

import codecs
import shutil
from pathlib import Path

import pytest
from small_models import SHALLOW

import detkit.config.start
from detkit.config import load_config
from detkit.config.resolve import origin_of_resolved
from detkit.config.start import start_of
from detkit.engine import load_checkpoint, train_from_config
from detkit.utils.errors import ConfigError

BASE = f"""\
_base_ = 'detkit::yolov8/det_custom'
model = dict(backbone={SHALLOW['model.backbone']}, neck=None)
img_size = 32
batch_size = 2
val_batch_size = 2
num_workers = 0
train_cfg = dict(val_interval=9, final_eval=False)
default_hooks = dict(pictures=None)
"""
LEAF = """\
_base_ = 'base.py'
data_yaml = 'mine.yaml'
max_epochs = 1
"""


@pytest.fixture(scope='module')
def trained(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('trained')
    names = [f'c{i}' for i in range(80)]
    (folder / 'mine.yaml').write_text(f'path: {tiny_data}\ntrain: images/train\nval: images/val\nnames: {names}\n')
    (folder / 'base.py').write_text(BASE)
    (folder / 'mine.py').write_text(LEAF)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        train('randomness.seed=3')
    return folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def train(*options: str, path: str = 'mine.py', **settings) -> None:
    train_from_config(path, [*options], device='cpu', work_dir='run', **settings)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def epochs(folder: Path) -> int:
    return load_checkpoint(folder / 'run' / 'last.pth')['meta']['epoch']


@pytest.mark.thorough
def test_an_edit_is_refused_with_its_keys_and_the_remedies(folder):
    edit(folder / 'mine.py', 'max_epochs = 1', 'max_epochs = 2\nval_batch_size = 1')
    expected = (
        r'^mine\.py was edited since the run in run was started, which goes on with its own config, so that this would '
        r'have no effect:\n  val_batch_size: 1, in the run 2\n  max_epochs: 2, in the run 1\n'
        r'To resume the run without it give run/config\.py; .* by options; to train mine\.py leave resume=True out$'
    )
    with pytest.raises(ConfigError, match=expected):
        train(resume=True)
    with pytest.raises(ConfigError, match=expected):
        train(resume='run')
    with pytest.raises(ConfigError, match=r'have no effect:\n  val_batch_size: 1, in the run 2\nTo'):
        train('max_epochs=2', resume=True)
    assert epochs(folder) == 1
    train('max_epochs=2', 'val_batch_size=1', resume=True)
    assert epochs(folder) == 2 and load_config('run/config.py').val_dataloader.batch_size == 1
    train('max_epochs=3', resume=True)  # the options of the run's start and of its resumption are known
    assert epochs(folder) == 3 and start_of(folder / 'run' / 'config.py').options['randomness.seed'] == 3


def test_an_edit_of_a_base_and_of_single_keys(folder):
    edit(folder / 'base.py', 'pictures=None)', 'pictures=None, time_limit=dict(hours=5))')
    edit(folder / 'base.py', 'val_interval=9', 'val_interval=8')
    with pytest.raises(ConfigError, match=r'val_interval: 8, in the run 9\n  default_hooks.time_limit.hours: 5'):
        train(resume=True)
    train('max_epochs=2', resume=True, path='run/config.py')  # goes on as it was
    assert epochs(folder) == 2


@pytest.mark.thorough
def test_an_edit_that_changes_nothing_is_none(folder):
    edit(folder / 'mine.py', 'max_epochs = 1', '# A comment.\nmax_epochs = 3 - 2\nrandomness = dict(seed=5)')
    train('max_epochs=2', resume=True)  # the seed was given by an option, which holds as it did
    edit(folder / 'mine.py', 'max_epochs = 3 - 2', 'max_epochs = 2')  # what the run has by now
    train(resume=True)
    assert epochs(folder) == 2


@pytest.mark.thorough
def test_an_edit_of_the_config_that_a_run_is_made_from_by_another_runs_config(folder):
    train_from_config('run/config.py', ['max_epochs=2', 'val_batch_size=1'], device='cpu', work_dir='second')
    train_from_config('second/config.py', ['max_epochs=1'], device='cpu', work_dir='third')
    own = start_of(folder / 'third' / 'config.py')
    assert own.source.source.options['randomness.seed'] == 3 and own.source.source.source is None
    for run in ('second', 'third'):
        train_from_config('mine.py', device='cpu', resume=run)  # no edit, and each with its own options
    edit(folder / 'mine.py', 'max_epochs = 1', 'max_epochs = 7\nval_batch_size = 3\nbatch_size = 1')
    for run, options in {'second': [], 'third': ['max_epochs=2']}.items():
        expected = (
            r'^mine\.py was edited since the run was started from whose config the run in \w+ was made, which goes on '
            rf'with its own .* effect:\n  batch_size: 1, in the run 2\nTo resume the run without it give {run}/config'
        )
        with pytest.raises(ConfigError, match=expected):
            train_from_config('mine.py', options, device='cpu', resume=run)


@pytest.mark.thorough
def test_a_config_that_says_itself_to_resume_is_compared(folder):
    edit(folder / 'mine.py', 'max_epochs = 1', 'max_epochs = 1\nresume = True')
    train()  # its run has ended
    assert load_config('run/config.py').randomness.seed == 3
    edit(folder / 'mine.py', 'max_epochs = 1', 'max_epochs = 2')
    with pytest.raises(ConfigError, match=r'effect:\n  max_epochs: 2, in the run 1\nTo'):
        train()
    train('max_epochs=2')
    assert epochs(folder) == 2 and load_config('run/config.py').randomness.seed == 3


def test_a_config_that_no_longer_loads_is_refused(folder):
    edit(folder / 'mine.py', 'max_epochs', 'max_epoch')
    with pytest.raises(ConfigError, match=r'mine.py:3: .*max_epoch.*was edited since the run in run was started'):
        train(resume=True)
    (folder / 'base.py').unlink()
    with pytest.raises(ConfigError, match=r'no config file base.py.*give run/config.py to resume it'):
        train(resume=True)


def test_a_moved_folder_has_the_same_files(folder, tmp_path_factory, monkeypatch):
    other = tmp_path_factory.mktemp('moved')
    shutil.copytree(folder, other, dirs_exist_ok=True)
    shutil.rmtree(folder)
    monkeypatch.chdir(other)
    edit(other / 'base.py', 'batch_size = 2\nval', 'batch_size = 1\nval')
    with pytest.raises(ConfigError, match='batch_size: 1, in the run 2'):
        train(resume=True)


def test_other_versions_of_detkit_may_have_other_configs(folder, monkeypatch):
    own = folder / 'run' / 'config.py'
    assert set(start_of(own).files) == {'mine.py', 'base.py'}  # those of detkit that it is built on are not compared
    monkeypatch.setattr(detkit.config.start, 'config_name', lambda path: 'toy/mine')
    edit(folder / 'mine.py', 'max_epochs = 1', 'max_epochs = 2')
    edit(own, "'detkit': '", "'detkit': '0.")
    own.write_bytes(codecs.BOM_UTF8 + own.read_bytes())  # as editors of Windows save text
    assert set(start_of(own).files) == {'mine.py', 'base.py'} and origin_of_resolved(own) is not None
    train(resume=True)
    assert epochs(folder) == 1


@pytest.mark.default_cases(1)
@pytest.mark.parametrize('line', ['', '# Started with [', '# Started with 7', "# Started with {'files': 3}"])
def test_a_run_that_does_not_say_how_it_was_started_is_resumed(folder, line):
    own = folder / 'run' / 'config.py'
    lines = own.read_text().splitlines()
    own.write_text('\n'.join([lines[0], line, *lines[2:]]))
    edit(folder / 'mine.py', 'max_epochs = 1', 'max_epochs = 2')
    assert start_of(own) is None
    train('max_epochs=2', resume=True)
    assert epochs(folder) == 2
