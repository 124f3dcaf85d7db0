"""Every plain top-level key that a config may have changes something in the runner."""

import logging

import pytest
from mmengine.config import Config

from detkit.config.keys import COMPONENT_KEYS, DICT_KEYS, PLAIN_KEYS, TOP_LEVEL_KEYS
from detkit.config.load import load_config
from detkit.engine import Runner
from detkit.engine.training_state import make_meta
from detkit.utils.errors import CheckpointError, ConfigError

from .dummy import dummy_config

EFFECTS = {
    'task': ('seg', lambda runner: make_meta(runner)['task'] == 'seg'),
    'classes': (('bolt',), lambda runner: runner.classes == ('bolt',)),
    'log_level': ('ERROR', lambda runner: logging.ERROR in {each.level for each in runner.logger.handlers}),
    'log_to': ([dict(type='LocalVisBackend')], lambda runner: len(runner.scalar_log.backends) == 1),
    'randomness': (dict(seed=1234), lambda runner: runner.seed == 1234),
}
REFUSALS = {
    'load_from': ('nowhere.pth', CheckpointError, 'nowhere.pth'),
    'default_load_from': ('nowhere', ConfigError, "no weights named 'nowhere'"),
    'resume': ('nowhere.pth', CheckpointError, 'nowhere.pth'),
    'device': ('cuda:77', ConfigError, 'cuda:77'),
    'launcher': ('pytorch', ConfigError, 'RANK'),
    'default_scope': ('mmdet', ConfigError, 'default_scope'),
}
ELSEWHERE = {
    'work_dir',
    'find_unused_parameters',
    'sync_bn',
    'env_cfg',
    'custom_imports',
    'predict_cfg',
    'search_space',
    'tuning',
}


def make_runner(tmp_path, **changes) -> Runner:
    return Runner(Config(dummy_config(tmp_path / 'run', **changes)))


def test_every_key_is_looked_at_here():
    assert set(EFFECTS) | set(REFUSALS) | ELSEWHERE == set(PLAIN_KEYS) | set(DICT_KEYS)
    assert set(TOP_LEVEL_KEYS) == set(PLAIN_KEYS) | set(DICT_KEYS) | set(COMPONENT_KEYS)


@pytest.mark.parametrize('key', EFFECTS)
def test_a_key_has_an_effect(tmp_path, key):
    value, holds = EFFECTS[key]
    plain, changed = make_runner(tmp_path / 'a'), make_runner(tmp_path / 'b', **{key: value})
    assert not holds(plain) and holds(changed)
    plain.close()
    changed.close()


@pytest.mark.parametrize('key', REFUSALS)
def test_a_key_that_asks_for_what_is_not_there(tmp_path, monkeypatch, key):
    monkeypatch.delenv('RANK', raising=False)
    value, error, sentence = REFUSALS[key]
    with pytest.raises(error, match=sentence):
        make_runner(tmp_path, **{key: value}).train()


def test_the_folder(tmp_path):
    assert make_runner(tmp_path / 'here').work_dir == str(tmp_path / 'here' / 'run')


def test_unused_parameters_and_the_processes(tmp_path, monkeypatch):
    seen = {}
    monkeypatch.setattr('mmengine.model.MMDistributedDataParallel', lambda model, **options: seen.update(options))
    runner = make_runner(tmp_path, find_unused_parameters=True)
    runner._wrap(runner.model)
    assert seen['find_unused_parameters'] is True and seen['gradient_as_bucket_view'] is True
    monkeypatch.setattr('detkit.engine.base_runner.init_distributed', lambda *arguments: seen.update(process=arguments))
    make_runner(tmp_path / 'b', env_cfg=dict(backend='gloo', timeout=7))
    assert seen['process'][2:] == ('gloo', 7)


def test_own_modules(tmp_path):
    path = tmp_path / 'mine.py'
    path.write_text("custom_imports = dict(imports=['no_such_module_here'])")
    with pytest.raises(ConfigError, match='no_such_module_here'):
        load_config(path)
