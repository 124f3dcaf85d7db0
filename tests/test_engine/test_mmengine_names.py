"""Every public name of mmengine's runner works on detkit's, or says what to use."""

import inspect

import pytest
from mmengine.hooks import Hook
from mmengine.runner import Runner as MMEngineRunner

from detkit.engine import Runner
from detkit.engine.mmengine_names import ELSEWHERE

from .dummy import dummy_config

NAMES = [name for name in dir(MMEngineRunner) if not name.startswith('_')]


class _Counter(Hook):
    def __init__(self):
        self.calls = []

    def before_test(self, runner):
        self.calls.append(runner)


@pytest.fixture(scope='module')
def runner(tmp_path_factory):
    config = dummy_config(tmp_path_factory.mktemp('names') / 'run', train_cfg=dict(max_epochs=1, val_interval=1))
    config.update({f'test_{part}': config[f'val_{part}'] for part in ('dataloader', 'evaluator', 'cfg')})
    return Runner(config)


# How each method that works is called; what else works is a property.
CALLS = {
    'build_dataloader': lambda runner: runner.build_dataloader(runner.cfg.val_dataloader).dataset,
    'call_hook': lambda runner: runner.call_hook('before_test') or True,
    'from_cfg': lambda runner: runner.from_cfg({**runner.cfg, 'work_dir': f'{runner.work_dir}-other'}).hooks,
    'load_or_resume': lambda runner: runner.load_or_resume() or True,
    'register_hook': lambda runner: (
        runner.register_hook(_Counter()) or any(type(hook) is _Counter for hook in runner.hooks)
    ),
    'test': lambda runner: runner.test()['coco/count'],
    'train': lambda runner: runner.train(),
    'val': lambda runner: runner.val()['coco/count'],
}


@pytest.mark.parametrize('name', NAMES)
def test_it_works_or_says_what_to_use(runner, name):
    if name in ELSEWHERE:
        with pytest.raises(AttributeError, match=f'has no {name!r}; use '):
            getattr(runner, name)
        return
    if name in CALLS or callable(inspect.getattr_static(MMEngineRunner, name)):
        assert CALLS[name](runner)
    else:
        assert getattr(runner, name) is not None


def test_the_table_holds_nothing_that_works():
    assert not set(ELSEWHERE) & set(vars(Runner)) and set(ELSEWHERE) - set(NAMES) == {'visualizer'}


def test_hooks_keep_the_order_of_their_priorities(runner):
    late, early, usual = _Counter(), _Counter(), _Counter()
    runner.register_hook(late, 'VERY_LOW')
    runner.register_hook(usual)
    runner.register_hook(early, priority=0)
    assert runner.hooks[0] is early and runner.hooks.index(usual) < runner.hooks.index(late)
    runner.call_hook('before_test')
    assert early.calls == [runner]
