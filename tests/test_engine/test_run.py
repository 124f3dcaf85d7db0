"""What a run does and writes: console, folder, stops, freezing, closing mosaic, bad data."""

import csv
import logging
import re
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

from detkit.datasets import ConcatDataset, RepeatDataset
from detkit.datasets.skips import Skip
from detkit.engine import Hook as DetkitHook
from detkit.engine import Runner, load_checkpoint
from detkit.engine.console import Console
from detkit.engine.run_folder import choose_run_folder
from detkit.evaluation.headline import fitness
from detkit.models.data_preprocessor import StepKey
from detkit.registry import DATASETS, HOOKS
from detkit.utils.errors import ConfigError, DataError, DetkitError

from .dummy import DummyDataset, dummy_config


def test_console_is_short(tmp_path, capsys):
    Runner(dummy_config(tmp_path / 'run')).train()
    lines = capsys.readouterr().out.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith('1/4'))
    assert first <= 12
    assert re.match(r'1/4 cls \S+ extra \S+  lr \S+  \S+ img/s  ETA \d', lines[first])
    assert sum(bool(re.match(r'\d/4 ', line)) for line in lines) == 4
    assert sum('val bbox mAP' in line for line in lines) == 2
    log = (tmp_path / 'run' / 'train.log').read_text()
    assert 'python:' in log and "'DummyDetector'" in log and all(line in log for line in lines)


def test_an_epoch_and_its_validation_on_one_line(tmp_path, capsys):
    hooks = dict(console=dict(type='ConsoleHook', one_line=True))
    Runner(dummy_config(tmp_path / 'run', default_hooks=hooks)).train()
    lines = capsys.readouterr().out.splitlines()
    epochs = [line for line in lines if re.match(r'\d/4 ', line)]
    assert [
        bool(
            re.match(
                r'./4 train cls \S+ extra \S+  lr \S+  \S+ img/s  ETA [\d:]+  val bbox mAP \S+  bbox mAP50 1\.000', line
            )
        )
        for line in epochs
    ] == [False, True, False, True]
    assert epochs[0].split()[-2] == 'ETA' and epochs[1].endswith('  (best)')
    assert not any(line.lstrip().startswith('val') for line in lines)
    assert all(line in (tmp_path / 'run' / 'train.log').read_text() for line in epochs)


def test_third_party_warnings_go_to_the_log(tmp_path, capsys, recwarn):
    import warnings

    class Warner(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            warnings.warn('a library is worried', stacklevel=1)
            runner.logger.warning('the user should know')

    with warnings.catch_warnings():
        warnings.simplefilter('always')
        Runner(dummy_config(tmp_path / 'run', custom_hooks=[Warner()])).train()
    captured = capsys.readouterr()
    assert 'worried' not in captured.out + captured.err
    assert 'warning: the user should know' in captured.out
    assert 'a library is worried' in (tmp_path / 'run' / 'train.log').read_text()


def test_run_folder_has_everything(tmp_path):
    hooks = dict(checkpoint=dict(type='CheckpointHook', save_period=3))
    Runner(dummy_config(tmp_path / 'run', default_hooks=hooks)).train()
    names = {path.name for path in (tmp_path / 'run').iterdir()}
    assert names == {'config.py', 'train.log', 'scalars.json', 'results.csv', 'last.pth', 'best.pth', 'epoch_3.pth'}
    with open(tmp_path / 'run' / 'results.csv') as file:
        rows = list(csv.DictReader(file))
    assert [row['epoch'] for row in rows] == ['1', '2', '3', '4']
    assert float(rows[3]['train/cls']) < float(rows[0]['train/cls'])
    assert [bool(row['metrics/coco/bbox_mAP']) for row in rows] == [False, True, False, True]
    best = load_checkpoint(tmp_path / 'run' / 'best.pth')
    assert set(best) == {'meta', 'state_dict'}


def test_folders_are_never_overwritten(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = choose_run_folder(None, 'seg', False)
    assert first == tmp_path / 'work_dirs' / 'seg'
    assert choose_run_folder(None, 'seg', False) == first  # still empty
    (first / 'train.log').touch()
    second = choose_run_folder(None, 'seg', False)
    assert second.name == 'seg-2'
    assert choose_run_folder(None, 'seg', True) == first  # a run stopped before its first checkpoint begins anew there
    (first / 'last.pth').touch()
    assert choose_run_folder(None, 'seg', True) == first
    (second / 'last.pth').touch()
    assert choose_run_folder(None, 'seg', True) == second
    assert choose_run_folder(None, 'seg', str(first / 'last.pth')) == first
    assert choose_run_folder('elsewhere', 'seg', str(first / 'last.pth')) == tmp_path / 'elsewhere'
    (first.parent / 'seg-2-other').mkdir()
    assert choose_run_folder(None, 'seg', False).name == 'seg-3'


def test_early_stopping(tmp_path, capsys):
    stop = dict(
        default_hooks=dict(early_stopping=dict(type='EarlyStoppingHook', patience=2)),
        train_cfg=dict(max_epochs=20, val_interval=1),
    )
    runner = Runner(dummy_config(tmp_path / 'run', **stop))
    runner.train()
    assert runner.epoch == runner.train_loop.progress_epoch + 2 < 20
    assert 'no better fitness for 2 epochs' in capsys.readouterr().out
    again = Runner(dummy_config(tmp_path / 'run', resume=True, **stop))
    again.train()
    assert again.epoch == runner.epoch


def test_time_limit_stops_after_the_epoch_and_validates(tmp_path):
    limit = dict(time_limit=dict(type='TimeLimitHook', hours=1e-9))
    runner = Runner(dummy_config(tmp_path / 'run', default_hooks=limit, train_cfg=dict(max_epochs=20, val_interval=10)))
    runner.train()
    assert runner.epoch == 0  # the limit was over before the first epoch
    runner = Runner(dummy_config(tmp_path / 'run2', train_cfg=dict(max_epochs=20, val_interval=10)))
    hook = next(hook for hook in runner.hooks if type(hook).__name__ == 'TimeLimitHook')
    runner.register_hook(SetLimit(hook))
    runner.train()
    assert runner.epoch == 3 and runner.train_loop.best_epoch == 3


class SetLimit(Hook):
    def __init__(self, hook: Hook) -> None:
        self.hook = hook

    def before_train_epoch(self, runner) -> None:
        if runner.epoch == 2:
            self.hook.hours = 1e-9


class PredictingHook(Hook):
    """Predicts within an epoch, and trains again or forgets to."""

    def __init__(self, forgets: bool) -> None:
        self.forgets = forgets

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        runner.model.eval()
        if not self.forgets:
            runner.model.train()


@pytest.mark.parametrize('hooks', [[], [PredictingHook(True)], [PredictingHook(False)]], ids=['none', 'eval', 'train'])
def test_freeze(tmp_path, hooks):
    runner = Runner(
        dummy_config(
            tmp_path / 'run',
            train_cfg=dict(max_epochs=1, freeze=['backbone']),
            val_cfg=None,
            val_dataloader=None,
            val_evaluator=None,
        )
    )
    for hook in hooks:
        runner.register_hook(hook)
    before = {name: tensor.clone() for name, tensor in runner.model.state_dict().items()}
    runner.model.init_weights = lambda: None
    modes: list[bool] = []
    runner.model.register_forward_pre_hook(
        lambda model, args, given: modes.append(model.training or given['mode'] != 'loss'), with_kwargs=True
    )
    model = runner.train()
    assert len(modes) > 1 and all(modes)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]) == name.startswith('backbone'), name
    with pytest.raises(ConfigError, match="'backbon'.*Did you mean 'backbone'"):
        Runner(dummy_config(tmp_path / 'b', train_cfg=dict(max_epochs=1, freeze=['backbon']))).train()
    assert not (tmp_path / 'b').exists()  # a run that never began leaves no folder
    with pytest.raises(ConfigError, match='only 3 parts'):
        Runner(dummy_config(tmp_path / 'c', train_cfg=dict(max_epochs=1, freeze=4))).train()


def test_close_mosaic_reaches_wrapped_data_sets(tmp_path):
    inner = [DummyDataset(), DummyDataset()]
    for dataset in inner:
        dataset.mixing_transforms, dataset.active_epochs = ('Mosaic',), {}
    hooks = dict(close_mosaic=dict(type='CloseTransformsHook', num_epochs=3))
    loader = {**dummy_config('')['train_dataloader'], 'dataset': RepeatDataset(ConcatDataset(inner))}
    Runner(dummy_config(tmp_path / 'run', train_dataloader=loader, default_hooks=hooks)).train()
    assert [dataset.active_epochs for dataset in inner] == [{'Mosaic': (0, 1)}] * 2


def test_non_finite_loss_names_its_images(tmp_path):
    loader = {**dummy_config('')['train_dataloader'], 'dataset': dict(type='DummyDataset', bad_position=6)}
    with pytest.raises(DetkitError, match=r'iteration 2: loss_cls.*\d+\.jpg.*learning rate') as caught:
        Runner(dummy_config(tmp_path / 'run', train_dataloader=loader)).train()
    assert len(re.findall(r'\d+\.jpg', str(caught.value))) == 4
    assert load_checkpoint(tmp_path / 'run' / 'last.pth')['meta']['iter'] == 1


@DATASETS.register_module()
class SkippingDataset(DummyDataset):
    max_skipped = 0.2

    def __init__(self, num_bad: int) -> None:
        super().__init__()
        self.num_bad = num_bad
        self.skipped = [Skip('labels/a.txt', 3, 'no number')]
        self.unused: list[Skip] = []


@pytest.mark.parametrize(('num_bad', 'fails'), [(2, False), (3, True)])
def test_skipped_data_is_listed(tmp_path, capsys, num_bad, fails):
    class Spoil(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            data_batch['skipped'] = [Skip(f'images/{i}.jpg', None, 'truncated') for i in range(num_bad)]

    loader = {**dummy_config('')['train_dataloader'], 'dataset': dict(type='SkippingDataset', num_bad=num_bad)}
    runner = Runner(dummy_config(tmp_path / 'run', train_dataloader=loader, custom_hooks=[Spoil()]))
    if fails:
        with pytest.raises(DataError, match='3 of 12 training images.*max_skipped=0.2'):
            runner.train()
    else:
        runner.train()
    lines = (tmp_path / 'run' / 'skipped.csv').read_text().splitlines()
    assert lines[:3] == [
        'split,path,line,reason,count',
        'train,labels/a.txt,3,no number,1',
        'train,images/0.jpg,,truncated,1',
    ]
    assert len(lines) == 2 + num_bad
    assert 'skipped  images/0.jpg: truncated' in capsys.readouterr().out


def test_fitness():
    metrics = {
        'coco/bbox_mAP': 0.5,
        'coco/bbox_mAP50': 0.7,
        'coco/bbox_mAP_s': 0.9,
        'coco/segm_mAP': 0.4,
        'coco/segm_mAP50': -1.0,
        'coco/bbox_mAP75': 0.3,
    }
    assert fitness(metrics) == pytest.approx(0.9 * 0.5 + 0.1 * 0.7 + 0.9 * 0.4)
    assert fitness({'accuracy': 0.4}) is None
    assert fitness({'accuracy': 0.4}, 'accuracy') == 0.4
    assert fitness(metrics, 'mAP') == pytest.approx(0.9)
    assert fitness(metrics, 'mAP50') == pytest.approx(0.7)
    assert fitness({'accuracy': 0.4}, 'mAP') is None


def test_multi_scale_is_keyed_by_iteration(tmp_path):
    seen = []

    @HOOKS.register_module(force=True)
    class Look(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            seen.append(data_batch['step_key'])

    Runner(dummy_config(tmp_path / 'run', custom_hooks=[dict(type='Look')])).train()
    assert [key[:2] for key in seen] == [(3, i) for i in range(12)]
    assert seen[0] == StepKey(3, 0, 0) and [key.step for key in seen] == sorted(key.step for key in seen)


def test_deterministic_mode(tmp_path):
    try:
        Runner(dummy_config(tmp_path / 'run', randomness=dict(seed=1, deterministic=True)))
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.deterministic = False


def test_incomplete_config_and_bad_device(tmp_path):
    with pytest.raises(ConfigError, match='val_dataloader, val_cfg but no val_evaluator'):
        Runner(dummy_config(tmp_path / 'run', val_evaluator=None))
    with pytest.raises(ConfigError, match='torchrun'):
        Runner(dummy_config(tmp_path / 'run', launcher='pytorch'))
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match='finds no GPU'):
            Runner(dummy_config(tmp_path / 'run', device='cuda'))
    for device in ('meta', 'warp'):
        with pytest.raises(ConfigError, match=f"device '{device}' cannot be used here"):
            Runner(dummy_config(tmp_path / 'run', device=device))


def test_validating_a_checkpoint(tmp_path):
    Runner(dummy_config(tmp_path / 'a')).train()
    best = load_checkpoint(tmp_path / 'a' / 'best.pth')
    runner = Runner(dummy_config(tmp_path / 'b', load_from=str(tmp_path / 'a' / 'best.pth')))
    assert runner.val() == best['meta']['metrics']
    assert not runner.is_training
    for name, tensor in runner.model.state_dict().items():
        assert torch.equal(tensor, best['state_dict'][name])


@pytest.mark.parametrize(('values', 'number'), [((0.1, 0.2), 2), ((0.2, 0.1), 3)], ids=['last', 'before'])
def test_the_best_weights_are_evaluated_once_more_unless_they_are_the_last(tmp_path, values, number):
    seen = []

    class Judge(DetkitHook):
        def after_val_epoch(self, runner, metrics=None):
            metrics['coco/bbox_mAP'] = (*values, 0.3)[len(seen)]
            seen.append(metrics)

        def after_final_eval(self, runner, metrics):
            assert metrics is seen[-1]

    runner = Runner(dummy_config(tmp_path / 'run'))
    runner.register_hook(Judge())
    runner.train()
    assert len(seen) == number
    best = load_checkpoint(tmp_path / 'run' / 'best.pth')
    assert best['meta']['epoch'] == (4 if number == 2 else 2)
    for name, tensor in runner.model.state_dict().items():
        assert torch.equal(tensor, best['state_dict'][name])


def test_unknown_best_metric(tmp_path):
    with pytest.raises(ConfigError, match="'coco/bbox_mAP5'.*Did you mean 'coco/bbox_mAP50'"):
        Runner(dummy_config(tmp_path / 'a', train_cfg=dict(max_epochs=1, best_metric='coco/bbox_mAP5'))).train()


def test_bars_and_lines_on_a_terminal(capsys):
    console = Console(logging.getLogger('test'))
    console.is_terminal = True
    console.start_bar('3/9', 4)
    console.update_bar(1, 'box 1.5')
    console.line('a line in between')
    console.end_bar('3/9', 'box 1.25')
    shown = capsys.readouterr().out
    assert 'a line in between' in shown
    assert re.search(r'3/9 .* 4/4 box 1\.25', shown)
    assert not console.wants_update
    console.update_bar(1, 'no bar is open')
    assert not capsys.readouterr().out


def test_testing_makes_no_folder(tmp_path):
    Runner(dummy_config(tmp_path / 'a')).train()
    cfg = dummy_config(tmp_path / 'b', load_from=str(tmp_path / 'a' / 'best.pth'))
    cfg.update(
        test_dataloader=cfg['val_dataloader'],
        test_evaluator=cfg['val_evaluator'],
        test_cfg=dict(),
        train_cfg=None,
        train_dataloader=None,
        optim_wrapper=None,
        param_scheduler=None,
    )
    metrics = Runner(cfg).test()
    assert metrics['coco/count'] == 6
    assert not Path(tmp_path / 'b').exists()
