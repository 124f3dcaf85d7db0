"""Fuzz tests draw the same values in every process, whatever it has loaded."""

import importlib

from fuzz_strategies import run_fuzz
from hypothesis import strategies as st


def drawn_values() -> list[int]:
    values = []
    run_fuzz(200, st.integers(), values.append, may_refuse=False)
    return values


def test_draws_do_not_depend_on_the_modules_that_are_loaded(tmp_path, monkeypatch):
    before = drawn_values()
    (tmp_path / 'odd_constants.py').write_text(f'NUMBERS = {list(range(1_000_001, 1_000_200))}\n')
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module('odd_constants')
    assert drawn_values() == before and not {*before} & {*range(1_000_001, 1_000_200)}
