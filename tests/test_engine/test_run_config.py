"""The config in a run's folder: varied for another run, used by ``--resume``, and trained on other data."""

import shutil
from pathlib import Path

import pytest
from small_models import SHALLOW

from detkit.config import load_config
from detkit.engine import load_checkpoint, train_from_config
from detkit.engine.folder_lock import unlock_folder
from detkit.engine.run_folder import choose_run_folder, run_name, run_of_config
from detkit.utils.errors import CheckpointError, ConfigError

SMALL = [
    'img_size=32',
    *(f'{key}={value!r}' for key, value in SHALLOW.items()),
    'batch_size=2',
    'val_batch_size=2',
    'num_workers=0',
    'max_epochs=1',
    'train_cfg.val_interval=9',
    '+train_cfg.final_eval=False',
    'default_hooks.pictures=None',
]


@pytest.fixture(scope='module')
def trained(repo: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with the run that ``run`` returns."""
    folder = tmp_path_factory.mktemp('trained')
    names = [f'c{i}' for i in range(80)]
    (folder / 'mine.yaml').write_text(f'path: {tiny_data}\ntrain: images/train\nval: images/val\nnames: {names}\n')
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        train(repo, 'data_yaml=mine.yaml', *SMALL)
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a run that options made small and gave its data, with the working folder around it."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path / 'work_dirs' / 'det_custom'


def config_of(repo: Path) -> str:
    return str(repo / 'configs' / 'yolov8' / 'det_custom.py')


def train(repo: Path, *options: str, path: str | Path | None = None, **settings) -> None:
    train_from_config(str(path or config_of(repo)), [*options], device='cpu', **settings)


def epochs(folder: Path) -> int:
    return load_checkpoint(folder / 'last.pth')['meta']['epoch']


def test_a_resumed_run_needs_no_options_again(run, repo):
    train(repo, 'max_epochs=2', resume='auto')
    assert epochs(run) == 2 and load_config(run / 'config.py').max_epochs == 2
    assert load_config(run / 'config.py').img_size == 32 and not run.with_name('det_custom-2').exists()


def test_another_config_than_that_of_the_run_is_refused(run, repo, tmp_path):
    other = repo / 'configs' / 'yolov8' / 'seg_custom.py'
    own = tmp_path / 'mine.py'
    own.write_text(f"_base_ = '{config_of(repo)}'\n")
    for path in (other, own):
        for settings in (dict(resume=str(run)), dict(resume='auto', work_dir=str(run))):
            with pytest.raises(ConfigError, match=r'was started with .*det_custom.py and goes on with its own config'):
                train(repo, 'max_epochs=2', path=path, **settings)
    train(repo, 'max_epochs=2', resume='auto', work_dir=str(run))
    with pytest.raises(ConfigError, match=r'det_custom.py and goes on with its own config'):  # also of a resumed one
        train(repo, 'max_epochs=3', path=other, resume=str(run))
    train(repo, 'max_epochs=3', resume='auto')
    assert epochs(run) == 3


def test_the_config_of_another_run_is_refused(run, repo, tmp_path):
    shutil.copytree(run, tmp_path / 'first')
    train(repo, *SMALL, 'data_yaml=mine.yaml', work_dir='second')
    with pytest.raises(ConfigError, match='the run in second was started with'):
        train(repo, 'max_epochs=2', path=tmp_path / 'first' / 'config.py', resume='second')


def test_weights_to_start_from_are_refused_where_a_run_goes_on(run, repo):
    with pytest.raises(ConfigError, match='load_from=other.pth has no effect on the run in work_dirs/det_custom'):
        train(repo, 'max_epochs=2', 'load_from=other.pth', resume='auto')
    train(repo, 'max_epochs=2', 'load_from=None', resume='auto')  # the run's own
    assert epochs(run) == 2


@pytest.mark.thorough
def test_another_run_from_its_config(run, repo, tmp_path):
    train(repo, 'max_epochs=2', 'img_size=64', path=run / 'config.py')
    other = run.with_name('det_custom-2')
    assert (epochs(run), epochs(other)) == (1, 2)
    assert load_config(other / 'config.py').val_dataloader.dataset.pipeline[1].size == 64
    train(repo, path=other / 'config.py')  # numbered after the first one
    assert run.with_name('det_custom-3').is_dir() and run_name(other / 'config.py') == 'det_custom'
    train(repo, 'max_epochs=2', path=run / 'config.py', resume=True)  # this run, not the newest of its name
    assert epochs(run) == 2 and epochs(run.with_name('det_custom-3')) == 2
    train(repo, 'max_epochs=3', resume=str(other))
    assert epochs(other) == 3


@pytest.mark.thorough
def test_a_size_in_the_name_of_a_run_is_that_of_its_model(run, repo, tmp_path):
    small = [f'data_yaml={tmp_path / "mine.yaml"}', *SMALL]
    named = repo / 'configs' / 'yolov8' / 'det_s_custom.py'  # which need not exist
    train(repo, 'size=n', *small, path=named)
    train(repo, 'size=n', 'max_epochs=2', path=named, resume=True)
    assert sorted(path.name for path in run.parent.iterdir()) == ['det_custom', 'det_n_custom']
    assert epochs(run.with_name('det_n_custom')) == 2
    names = [
        run_name(path, load_config(path, options, need_classes=False))
        for path, options in (
            ('yolov8/seg_n_coco8', {'size': 'x'}),
            ('yolov8/seg_n_coco8', None),
            ('yolov8/det_coco', {'size': 's'}),
            ('detr/det_r50_dc5_coco', {'size': 'r101_dc5'}),
        )
    ]
    assert names == ['seg_x_coco8', 'seg_n_coco8', 'det_coco', 'det_r101_dc5_coco']
    assert run_name(run / 'config.py', load_config(run / 'config.py', {'size': 's'})) == 'det_custom'


def test_other_data(run, repo, tiny_data, tmp_path):
    data = tmp_path / 'other.yaml'
    data.write_text(f'path: {tiny_data}\ntrain: images/train\nval: images/val\nnames: {[f"d{i}" for i in range(90)]}\n')
    config = load_config(run / 'config.py', [f'data_yaml={data}'])
    assert config.model.head.num_classes == 90 and config.max_epochs == 1
    (tmp_path / 'mine.yaml').unlink()
    with pytest.raises(ConfigError, match='there is no data_yaml'):
        load_config(run / 'config.py')


def test_a_moved_folder_is_still_that_run(run, repo, tmp_path):
    shutil.move(run, tmp_path / 'elsewhere')
    folder = tmp_path / 'elsewhere'
    assert run_of_config(folder / 'config.py') == folder
    train(repo, 'max_epochs=2', path=folder / 'config.py', resume=True)
    assert epochs(folder) == 2 and not run.exists()


@pytest.mark.thorough
def test_a_folder_by_other_paths_is_still_that_run(run, repo, tmp_path):
    (tmp_path / 'link').symlink_to(tmp_path / 'work_dirs')
    train(repo, 'max_epochs=2', path='work_dirs/det_custom/config.py', resume='work_dirs/det_custom')
    train(repo, 'max_epochs=3', path='link/det_custom/config.py', resume=str(run / 'last.pth'))
    train(repo, 'max_epochs=4', work_dir='link/det_custom', resume=str(run / 'last.pth'))
    assert epochs(run) == 4 and [path.name for path in run.parent.iterdir()] == ['det_custom']


@pytest.mark.thorough
def test_the_repeated_command_stays_with_its_run(run, repo, tmp_path):
    """It goes on in a numbered folder, which it was given because another run or foreign files are in the first."""
    numbered = tmp_path / 'a-2'
    shutil.copytree(run, tmp_path / 'a')
    shutil.copytree(run, numbered)
    train(repo, 'max_epochs=2', work_dir='a', resume='auto')
    assert (epochs(tmp_path / 'a'), epochs(numbered)) == (1, 2)
    shutil.rmtree(tmp_path / 'a')
    (tmp_path / 'a').mkdir()
    (tmp_path / 'a' / 'slurm-1.out').touch()
    train(repo, 'max_epochs=3', work_dir='a', resume='auto')
    assert epochs(numbered) == 3 and not (tmp_path / 'a-3').exists()
    assert [path.name for path in (tmp_path / 'a').iterdir()] == ['slurm-1.out']


@pytest.mark.parametrize('name', ['a', 'a[1]'])
def test_a_start_among_foreign_files_is_found_before_its_first_checkpoint(tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / 'slurm-1.out').touch()
    for _ in range(2):
        folder = choose_run_folder(str(tmp_path / name), 'run', True)
        assert folder == tmp_path / f'{name}-2'
        (folder / 'train.log').touch()
        unlock_folder(folder)


@pytest.mark.parametrize('resume', ['', 'other'])
def test_only_runs_are_resumed(tmp_path, monkeypatch, resume):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'other').mkdir()
    (tmp_path / 'other' / 'notes.txt').touch()
    with pytest.raises(CheckpointError, match="no checkpoint ''|no run to resume in other, which holds other files"):
        choose_run_folder(None, 'run', resume)
    assert not list(tmp_path.rglob('run.lock')) and not (tmp_path / 'work_dirs').exists()


def test_a_run_whose_config_is_gone_or_empty(run, repo):
    (run / 'config.py').write_text('')
    with pytest.raises(ConfigError, match=r"det_custom.config.py has no 'model'"):
        train(repo, resume='auto')
    (run / 'config.py').unlink()
    data = next(run.parent.parent.glob('*.yaml'))
    train(repo, f'data_yaml={data}', *SMALL, 'max_epochs=2', resume='auto')
    assert epochs(run) == 2 and load_config(run / 'config.py').img_size == 32
