"""The state of a run in a checkpoint that is damaged: restored, or refused with a sentence."""

import copy
from pathlib import Path

import pytest
from fuzz_strategies import AMOUNTS, run_fuzz, values
from hypothesis import strategies as st

from detkit.engine import Runner, load_checkpoint
from detkit.engine.random_state import preserved_random_state
from detkit.engine.training_state import restore_training_state

from .dummy import dummy_config


@pytest.fixture(scope='module')
def trained(tmp_path_factory) -> tuple[Runner, dict]:
    runner = Runner(dummy_config(tmp_path_factory.mktemp('trained') / 'run', train_cfg=dict(max_epochs=1)))
    runner.train()
    return runner, load_checkpoint(Path(runner.work_dir) / 'last.pth')


def places(value: object, path: tuple = ()) -> list[tuple]:
    """Return the path of each entry of nested dicts and lists."""
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in list(items)[:12]:
        found += places(item, (*path, key))
    return found


@pytest.mark.parametrize('cases', AMOUNTS)
def test_states(trained, cases):
    runner, checkpoint = trained
    state = {key: value for key, value in checkpoint.items() if key not in ('meta', 'state_dict')}

    def check(drawn: tuple) -> None:
        (*parents, last), change = drawn
        changed = {**copy.deepcopy(state), 'meta': checkpoint['meta'], 'state_dict': checkpoint['state_dict']}
        node = changed
        for key in parents:
            node = node[key]
        if change == 'remove':
            del node[last]
        else:
            node[last] = change
        with preserved_random_state():
            assert isinstance(restore_training_state(runner, changed, 'last.pth'), list)

    run_fuzz(cases, st.tuples(st.sampled_from(places(state)), st.just('remove') | values), check)


def test_damaged_tables_do_not_stop_a_resumed_run(tmp_path, capsys):
    Runner(dummy_config(tmp_path / 'run', train_cfg=dict(max_epochs=1))).train()
    damaged = b'\xc3(\x80' * 9 + b'\n'
    for name in ('results.csv', 'skipped.csv', 'scalars.json'):
        (tmp_path / 'run' / name).write_bytes(damaged)
    runner = Runner(dummy_config(tmp_path / 'run', train_cfg=dict(max_epochs=3), resume=True))
    runner.train()
    assert load_checkpoint(tmp_path / 'run' / 'last.pth')['meta']['epoch'] == 3
    printed = capsys.readouterr().out
    for name in ('results.csv', 'skipped.csv'):
        assert f'{name}' in printed and 'the run goes on' in printed
    assert (tmp_path / 'run' / 'results.csv').read_bytes() == damaged
