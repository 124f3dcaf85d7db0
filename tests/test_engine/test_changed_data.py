"""Runs that are resumed with other data, or in other batches, than those of their checkpoint."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

from detkit.datasets import YoloTxtDataset
from detkit.datasets.wrappers import ConcatDataset
from detkit.engine import load_checkpoint
from detkit.engine.data_state import check_same_data, data_changes, data_state
from detkit.utils.errors import CheckpointError, DataError

from .dummy import dummy_config
from .test_resume import kill_after, train


def loader(split: str, **changes) -> dict:
    """Return the config of a split's data loader with some values replaced; ``size`` is that of its dataset."""
    own = dummy_config('')[f'{split}_dataloader']
    size = changes.pop('size', own['dataset'].get('size', 12))
    return {f'{split}_dataloader': {**own, 'dataset': dict(type='DummyDataset', size=size), **changes}}


@pytest.mark.parametrize(
    ('split', 'size', 'line'),
    [
        (
            'train',
            11,
            'the training data are not those of the checkpoint: 11 images, where there were 12. The run goes',
        ),
        ('val', 5, 'the validation data are not those of the checkpoint: 5 images, where there were 6. The run goes'),
        ('train', 12, None),
    ],
)
def test_another_number_of_images_is_said(tmp_path, capsys, split, size, line):
    kill_after(tmp_path / 'run', 4)
    capsys.readouterr()
    train(tmp_path / 'run', resume=True, **loader(split, size=size))
    out = capsys.readouterr().out
    assert line in out if line else 'not those of the checkpoint' not in out


def test_checkpoints_of_former_versions_say_nothing_of_their_data():
    assert data_changes({}, {'training': {'samples': 3, 'images': [], 'annotations': []}}) == {}


@pytest.mark.parametrize(
    ('change', 'difference'),
    [
        (lambda root: None, None),
        (lambda root: root.rename(root.with_name('moved')), None),
        (lambda root: next(root.glob('images/train/*')).unlink(), 'images, where there were'),
        (lambda root: rename_first(root, 'images/train', 'labels/train'), 'other images, or in another order'),
        (lambda root: move_box(root), 'other annotations or image sizes'),
    ],
)
def test_changed_files_are_noticed(tmp_path, change, difference):
    root = tmp_path / 'data'
    for name, text in {'a': '0 0.5 0.5 0.4 0.4\n1 0.3 0.3 0.2 0.2\n', 'b': '1 0.5 0.5 0.4 0.4\n', 'c': ''}.items():
        for kind, suffix in (('images', 'png'), ('labels', 'txt')):
            (root / kind / 'train').mkdir(parents=True, exist_ok=True)
            path = root / kind / 'train' / f'{name}.{suffix}'
            Image.new('RGB', (20, 10)).save(path) if kind == 'images' else path.write_text(text)
    before = state(root)
    change(root)
    found = data_changes(before, state(root if root.exists() else root.with_name('moved')))
    assert found == {} if difference is None else difference in found['training']
    if difference is not None:
        with pytest.raises(DataError, match='process 1 of the run reads other training data than process 0'):
            check_same_data([before, state(root)])


def state(root: Path) -> dict:
    dataset = YoloTxtDataset(str(root / 'images'), metainfo=dict(classes=('a', 'b')), pipeline=[])
    return {'training': data_state(ConcatDataset([dataset]))}


def rename_first(root: Path, *folders: str) -> None:
    for folder in folders:
        path = min((root / folder).iterdir())
        shutil.move(path, path.with_name(f'other{path.suffix}'))


def move_box(root: Path) -> None:
    path = min((root / 'labels' / 'train').iterdir())
    path.write_text(path.read_text().replace('0.3 0.3', '0.3 0.4'))


def test_other_batches_within_an_epoch_are_refused(tmp_path):
    kill_after(tmp_path / 'run', 4, **loader('train', size=8, batch_size=3))
    with pytest.raises(CheckpointError, match='3 iterations of 3 images, but an epoch has 2 of 4 now'):
        train(tmp_path / 'run', resume=True, **loader('train', size=8, batch_size=4))
    kill_after(tmp_path / 'other', 1, **loader('train', size=6, batch_size=3))
    with pytest.raises(CheckpointError, match='2 iterations of 3 images, but an epoch has 2 of 4 now'):
        train(tmp_path / 'other', resume=True, **loader('train', size=6, batch_size=4))


def test_other_batches_between_epochs_go_on(tmp_path):
    train(tmp_path / 'run', train_cfg=dict(max_epochs=1), **loader('train', size=6, batch_size=3))
    end = train(tmp_path / 'run', resume=True, **loader('train', size=6, batch_size=4))
    assert (
        end['loop']['iter'] == 8 and load_checkpoint(tmp_path / 'run' / 'last.pth')['data']['training']['samples'] == 6
    )


def test_another_seed_is_said(tmp_path, capsys):
    kill_after(tmp_path / 'run', 4)
    train(tmp_path / 'run', resume=True, randomness=dict(seed=4))
    assert 'the seed is 4, where it was 3' in capsys.readouterr().out


def test_another_model_is_refused_in_a_line(tmp_path):
    kill_after(tmp_path / 'run', 4)
    with pytest.raises(
        CheckpointError, match='another model: 6 tensors have another shape .* with load_from'
    ) as caught:
        train(tmp_path / 'run', resume=True, model=dict(width=4))
    assert '\n' not in str(caught.value)
