"""Figures on their way to other programs: TensorBoard, Weights & Biases, MLflow, and somebody's own."""

import importlib.util
import json
import re
import sys
from types import ModuleType, SimpleNamespace

import cv2
import numpy as np
import pytest
from mmengine.hooks import Hook

from detkit.config import load_config
from detkit.engine import Runner
from detkit.engine.scalar_log import ScalarBackend
from detkit.registry import HOOKS, VISBACKENDS, backend_names
from detkit.utils.errors import ConfigError

from .dummy import dummy_config


@VISBACKENDS.register_module(force=True)
class NotebookVisBackend:
    """A backend by mmengine's contract."""

    def __init__(self, save_dir, colour='blue'):
        self.save_dir, self.colour = save_dir, colour
        self.calls = []

    def add_config(self, config):
        self.calls.append(('config', config.model.type))

    def add_scalars(self, scalar_dict, step=0, file_path=None):
        self.calls.append((step, dict(scalar_dict)))

    def add_image(self, name, image, step=0):
        """Take none."""

    def close(self):
        self.calls.append(('close',))


@VISBACKENDS.register_module(force=True)
class PictureVisBackend(NotebookVisBackend):
    """One that takes pictures, too."""

    def add_image(self, name, image, step=0):
        self.calls.append(('picture', name, image.shape, step))


@HOOKS.register_module(force=True)
class PaintHook(Hook):
    """Draws as training begins, after each epoch, and when all is over."""

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == 0:
            self._paint(runner, 'train_batch0.jpg', 1)

    def after_val_epoch(self, runner, metrics=None):
        self._paint(runner, 'val_batch0.jpg')

    def after_train(self, runner):
        self._paint(runner, 'results.png')

    def after_run(self, runner):
        self._paint(runner, 'labels.png')

    @staticmethod
    def _paint(runner, name, step=None):
        image = np.zeros((6, 8, 3), np.uint8)
        image[..., 0] = 250
        if name == 'labels.png':  # a chart that writes itself
            cv2.imwrite(f'{runner.work_dir}/{name}', image[..., ::-1])
            image = None
        runner.log_picture(name, image, step)


@pytest.fixture
def packages(monkeypatch):
    """Stand-ins for packages that need not be installed; returns what is called."""
    calls = []

    def note(name):
        return lambda *args, **kwargs: calls.append((name, args, kwargs))

    run = SimpleNamespace(log=note('log'), finish=note('finish'))
    wandb, mlflow = ModuleType('wandb'), ModuleType('mlflow')
    wandb.Image = lambda image: ('image', image.shape)
    wandb.init = lambda **kwargs: (calls.append(('init', (), kwargs)), run)[1]
    for name in ('set_tracking_uri', 'set_experiment', 'start_run', 'log_text', 'log_metrics', 'log_image', 'end_run'):
        setattr(mlflow, name, note(name))
    for module in (wandb, mlflow):
        module.__spec__ = importlib.util.spec_from_loader(module.__name__, loader=None)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return calls


def test_losses_rates_and_metrics_reach_a_backend(tmp_path):
    runner = Runner(dummy_config(tmp_path / 'run', log_to='Notebook', train_cfg=dict(log_interval=1)))
    runner.train()
    (backend,) = runner.scalar_log.backends
    assert backend.save_dir == str(tmp_path / 'run')
    assert backend.calls[0] == ('config', 'DummyDetector') and backend.calls[-1] == ('close',)
    steps = [call for call in backend.calls if isinstance(call[0], int)]
    assert [step for step, _ in steps] == [1, 2, 3, 4, 5, 6, 6, 7, 8, 9, 10, 11, 12, 12]
    names = set().union(*(figures for _, figures in steps))
    assert {'train/cls', 'train/extra', 'lr/weight', 'lr/norm', 'lr/bias', 'coco/bbox_mAP', 'coco/bbox_mAP50'} <= names


def paint(tmp_path, log_to, **changes):
    runner = Runner(dummy_config(tmp_path / 'run', log_to=log_to, custom_hooks=[dict(type='PaintHook')], **changes))
    runner.train()
    return runner.scalar_log.backends


def test_pictures_reach_a_backend_that_takes_them_and_no_other(tmp_path):
    takes, not_so = paint(tmp_path, ['Picture', 'Notebook'])
    pictures = [call[1:] for call in takes.calls if call[0] == 'picture']
    size = (6, 8, 3)
    assert pictures == [
        ('train_batch0', size, 1),
        ('val_batch0', size, 6),
        ('val_batch0', size, 12),
        ('results', size, 12),
        ('labels', size, 12),
    ]
    assert not [call for call in not_so.calls if call[0] == 'picture']
    assert takes.calls[-1] == ('close',)


def test_a_resumed_run_does_not_send_old_pictures_again(tmp_path):
    paint(tmp_path, 'Picture', train_cfg=dict(max_epochs=2))
    (backend,) = paint(tmp_path, 'Picture', train_cfg=dict(max_epochs=4), resume=True)
    names = [call[1] for call in backend.calls if call[0] == 'picture']
    assert 'train_batch0' not in names and names.count('results') == 1


def test_a_visualiser_of_mmengine_is_a_backend(tmp_path):
    visualizer = dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')])
    Runner(dummy_config(tmp_path / 'run', visualizer=visualizer, train_cfg=dict(log_interval=1))).train()
    lines = (tmp_path / 'run' / 'vis_data' / 'scalars.json').read_text().splitlines()
    assert [json.loads(line)['step'] for line in lines] == [1, 2, 3, 4, 5, 6, 6, 7, 8, 9, 10, 11, 12, 12]


def test_several_backends_with_arguments(tmp_path):
    runner = Runner(dummy_config(tmp_path, log_to=['notebook', dict(type='NotebookVisBackend', colour='red')]))
    assert [backend.colour for backend in runner.scalar_log.backends] == ['blue', 'red']


@VISBACKENDS.register_module(force=True)
class FailingVisBackend(NotebookVisBackend):
    """One that fails at a point, and is told no folder."""

    def __init__(self, at):
        super().__init__(None)
        self.at = at

    def _fail(self, method):
        if method == self.at:
            raise ValueError('the server is gone')

    def add_config(self, config):
        self._fail('add_config')

    def add_scalars(self, scalar_dict, step=0):
        self._fail('add_scalars')

    def add_image(self, name, image, step=0):
        self._fail('add_image')

    def close(self):
        self._fail('close')


@pytest.mark.parametrize('at', ['add_scalars', 'add_image', 'close'])
def test_a_backend_that_fails_stops_no_run(tmp_path, capsys, at):
    log_to = [dict(type='FailingVisBackend', at=at), 'Picture']
    hooks = [dict(type='PaintHook')]
    runner = Runner(dummy_config(tmp_path / 'run', log_to=log_to, custom_hooks=hooks))
    runner.train()
    failed, other = runner.scalar_log.backends
    runner.close()
    lines = [line for line in capsys.readouterr().out.splitlines() if 'FailingVisBackend' in line]
    failure = rf'FailingVisBackend\.{at} of log_to fails: ValueError: the server is gone \(test_scalar_log\.py:\d+\)'
    assert len(lines) == 1 and re.fullmatch(rf'note +{failure}; the run goes on', lines[0])
    assert runner.train_loop.iter == 12 and failed.at == at  # it was told no save_dir, which it does not take
    assert other.calls[-1] == ('close',) and any(isinstance(call[0], int) for call in other.calls)
    assert any(call[0] == 'picture' for call in other.calls)


def test_a_backend_that_cannot_begin_ends_the_run(tmp_path):
    runner = Runner(dummy_config(tmp_path / 'run', log_to=dict(type='FailingVisBackend', at='add_config')))
    with pytest.raises(ConfigError, match=r'FailingVisBackend\.add_config of log_to fails: ValueError: .*leave it out'):
        runner.train()


def test_a_backend_needs_no_package_and_must_have_all_methods(tmp_path, repo):
    @VISBACKENDS.register_module(force=True)
    class PlainBackend(ScalarBackend):
        def begin(self, config):
            self.config = config

        def add_scalars(self, scalar_dict, step=0):
            self.step = step

        def close(self):
            self.closed = True

    runner = Runner(dummy_config(tmp_path / 'run', log_to='plain'))
    runner.train()
    runner.close()
    (backend,) = runner.scalar_log.backends
    assert backend.step == 12 and backend.closed and backend.folder == tmp_path / 'run'

    config = repo / 'configs/yolov8/det_n_coco8.py'
    VISBACKENDS.register_module(module=type('Lacking', (), dict(add_config=getattr)), force=True)
    for log_to in ('lacking', [dict(type='Lacking')]):
        with pytest.raises(
            ConfigError, match=r'Lacking has no method add_scalars, which every LogBackend has \(detkit.protocols\)'
        ):
            load_config(config, {'log_to': log_to})
    takes_no_step = dict(vars(NotebookVisBackend), add_scalars=lambda self, scalar_dict: None)
    VISBACKENDS.register_module(module=type('NoStep', (), takes_no_step), force=True)
    with pytest.raises(ConfigError, match='NoStep has add_scalars.* but is called as add_scalars.*step'):
        load_config(config, {'log_to': 'nostep'})


def test_detkits_backends_come_before_mmengines():
    names = backend_names()
    assert (names['tensorboard'], names['wandb'], names['mlflow']) == (
        'TensorBoardBackend',
        'WandbBackend',
        'MLflowBackend',
    )
    assert names['clearml'] == 'ClearMLVisBackend'


def test_tensorboard(tmp_path):
    pytest.importorskip('tensorboard')
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    options = dict(log_to='tensorboard', train_cfg=dict(max_epochs=2, val_interval=1, log_interval=1))
    Runner(dummy_config(tmp_path / 'run', **options)).train()
    options['train_cfg']['max_epochs'] = 4
    Runner(dummy_config(tmp_path / 'run', resume=True, **options)).train()
    events = EventAccumulator(str(tmp_path / 'run' / 'tensorboard')).Reload()
    assert [event.step for event in events.Scalars('train/cls')] == list(range(1, 13))
    assert [event.step for event in events.Scalars('coco/bbox_mAP')] == [3, 6, 9, 12]
    assert {'lr/weight', 'train/extra', 'epoch'} <= set(events.Tags()['scalars'])


def test_tensorboard_gets_pictures(tmp_path):
    pytest.importorskip('tensorboard')
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    paint(tmp_path, 'tensorboard')
    events = EventAccumulator(str(tmp_path / 'run' / 'tensorboard')).Reload()
    (image,) = events.Images('train_batch0')
    decoded = cv2.imdecode(np.frombuffer(image.encoded_image_string, np.uint8), cv2.IMREAD_COLOR)
    assert image.step == 1 and decoded.shape == (6, 8, 3) and decoded[..., 2].min() > 240 > 20 > decoded[..., 0].max()
    assert [image.step for image in events.Images('results')] == [12]


def test_tensorboard_hides_what_a_resumed_run_repeats(tmp_path):
    pytest.importorskip('tensorboard')
    from mmengine.config import Config
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for first_step, value in ((0, 1.0), (2, 7.0)):
        backend = VISBACKENDS.build(dict(type='TensorBoardBackend', save_dir=str(tmp_path)))
        backend.first_step = first_step
        backend.add_config(Config())
        for step in range(first_step + 1, 5):
            backend.add_scalars({'train/box': value}, step=step)
        backend.close()
    events = EventAccumulator(str(tmp_path / 'tensorboard')).Reload().Scalars('train/box')
    assert [(event.step, event.value) for event in events] == [(1, 1.0), (2, 1.0), (3, 7.0), (4, 7.0)]


def test_wandb(tmp_path, packages):
    log_to = dict(type='WandbBackend', project='cars', init_kwargs=dict(tags=['a']))
    Runner(dummy_config(tmp_path / 'run', log_to=log_to)).train()
    name, _, options = packages[0]
    assert name == 'init' and (options['project'], options['name'], options['tags']) == ('cars', 'run', ['a'])
    assert options['dir'] == str(tmp_path / 'run') and 'DummyDetector' in options['config']['config']
    logged = [(args[0], kwargs['step']) for name, args, kwargs in packages if name == 'log']
    assert [step for _, step in logged] == [6, 10, 12] and 'coco/bbox_mAP' in logged[0][0]
    assert packages[-1][0] == 'finish'


def test_mlflow(tmp_path, packages):
    log_to = ['mlflow', dict(type='MLflowBackend', tracking_uri='sqlite:///x.db', experiment='cars')]
    Runner(dummy_config(tmp_path / 'run', log_to=log_to)).train()
    names = [name for name, _, _ in packages]
    assert names[:3] == ['set_experiment', 'start_run', 'log_text'] and names[-2:] == ['end_run', 'end_run']
    assert ('set_tracking_uri', ('sqlite:///x.db',), {}) in packages
    assert [args for name, args, _ in packages if name == 'set_experiment'] == [('detkit',), ('cars',)]
    assert {kwargs['step'] for name, _, kwargs in packages if name == 'log_metrics'} == {6, 10, 12}


def test_wandb_and_mlflow_get_pictures(tmp_path, packages):
    paint(tmp_path, ['wandb', 'mlflow'])
    sent = [(args[0], kwargs['step']) for name, args, kwargs in packages if name == 'log']
    assert ({'train_batch0': ('image', (6, 8, 3))}, 1) in sent and ({'labels': ('image', (6, 8, 3))}, 12) in sent
    assert [args[1] for name, args, _ in packages if name == 'log_image'][:2] == [
        'train_batch0/00000001.jpg',
        'val_batch0/00000006.jpg',
    ]


@pytest.mark.parametrize('package', ['tensorboard', 'wandb', 'mlflow'])
def test_a_missing_package_ends_the_run_before_it_begins(tmp_path, monkeypatch, package):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name, *rest: None if name == package else find(name, *rest))
    with pytest.raises(ConfigError, match=f'log_to asks for {package}.*pip install {package}'):
        Runner(dummy_config(tmp_path / 'run', log_to=package))
    assert not (tmp_path / 'run').exists()


def test_one_key_of_a_config(repo):
    config = repo / 'configs/yolov8/det_n_coco8.py'
    assert load_config(config).log_to == []
    assert load_config(config, ['log_to=tensorboard']).log_to == 'tensorboard'
    assert load_config(config, ['log_to=wandb,mlflow']).log_to == ['wandb', 'mlflow']
    for wrong in ('tensorbord', "[{'type': 'TensorBordBackend'}]"):
        with pytest.raises(ConfigError, match="(?i)log_to.*did you mean '?tensorboard"):
            load_config(config, [f'log_to={wrong}'])
