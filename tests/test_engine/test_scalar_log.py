"""Figures on their way to other programs: TensorBoard, Weights & Biases, MLflow, and somebody's own."""

import importlib.util
import sys
from types import ModuleType, SimpleNamespace

import pytest

from detkit.config import load_config
from detkit.engine import Runner
from detkit.registry import VISBACKENDS, backend_names
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

    def close(self):
        self.calls.append(('close',))


@pytest.fixture
def packages(monkeypatch):
    """Stand-ins for packages that need not be installed; returns what is called."""
    calls = []

    def note(name):
        return lambda *args, **kwargs: calls.append((name, args, kwargs))

    run = SimpleNamespace(log=note('log'), finish=note('finish'))
    wandb, mlflow = ModuleType('wandb'), ModuleType('mlflow')
    wandb.init = lambda **kwargs: (calls.append(('init', (), kwargs)), run)[1]
    for name in ('set_tracking_uri', 'set_experiment', 'start_run', 'log_text', 'log_metrics', 'end_run'):
        setattr(mlflow, name, note(name))
    for module in (wandb, mlflow):
        module.__spec__ = importlib.util.spec_from_loader(module.__name__, loader=None)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return calls


def test_losses_rates_and_metrics_reach_a_backend(tmp_path):
    runner = Runner(dummy_config(tmp_path / 'run', log_to='Notebook', train_cfg=dict(log_interval=1)))
    runner.train()
    backend, = runner.visualizer.backends
    assert backend.save_dir == str(tmp_path / 'run')
    assert backend.calls[0] == ('config', 'DummyDetector') and backend.calls[-1] == ('close',)
    steps = [call for call in backend.calls if isinstance(call[0], int)]
    assert [step for step, _ in steps] == [1, 2, 3, 4, 5, 6, 6, 7, 8, 9, 10, 11, 12, 12]
    names = set().union(*(figures for _, figures in steps))
    assert {'train/cls', 'train/extra', 'lr/pg0', 'lr/pg1', 'lr/pg2', 'coco/bbox_mAP', 'coco/bbox_mAP50'} <= names


def test_several_backends_with_arguments(tmp_path):
    runner = Runner(dummy_config(tmp_path, log_to=['notebook', dict(type='NotebookVisBackend', colour='red')]))
    assert [backend.colour for backend in runner.visualizer.backends] == ['blue', 'red']


def test_detkits_backends_come_before_mmengines():
    names = backend_names()
    assert (names['tensorboard'], names['wandb'], names['mlflow']) == (
        'TensorBoardBackend', 'WandbBackend', 'MLflowBackend')
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
    assert {'lr/pg0', 'train/extra', 'epoch'} <= set(events.Tags()['scalars'])


def test_tensorboard_hides_what_a_resumed_run_repeats(tmp_path):
    pytest.importorskip('tensorboard')
    from mmengine.config import Config
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for first_step, value in ((0, 1.), (2, 7.)):
        backend = VISBACKENDS.build(dict(type='TensorBoardBackend', save_dir=str(tmp_path)))
        backend.first_step = first_step
        backend.add_config(Config())
        for step in range(first_step + 1, 5):
            backend.add_scalars({'train/box': value}, step=step)
        backend.close()
    events = EventAccumulator(str(tmp_path / 'tensorboard')).Reload().Scalars('train/box')
    assert [(event.step, event.value) for event in events] == [(1, 1.), (2, 1.), (3, 7.), (4, 7.)]


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
