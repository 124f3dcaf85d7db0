from detkit.utils import memory
from detkit.utils.memory import give_back_memory


def test_memory_is_given_back_once_an_interval(monkeypatch):
    seen, calls = [], []
    monkeypatch.setattr(memory, '_trim_function', lambda: lambda pad: calls.append((pad, len(seen))))
    for item in give_back_memory(iter(range(10)), 4):
        seen.append(item)
    assert seen == list(range(10)) and calls == [(0, 4), (0, 8)]


def test_another_c_library_is_no_error(monkeypatch):
    monkeypatch.setattr(memory, '_trim_function', lambda: None)
    assert list(give_back_memory('abc', 1)) == ['a', 'b', 'c']


def test_what_the_c_library_offers_is_found_or_none(monkeypatch):
    memory._trim_function.cache_clear()
    found = memory._trim_function()
    assert found is None or found(0) in (0, 1)
    memory._trim_function.cache_clear()
    monkeypatch.setattr(memory.ctypes, 'CDLL', lambda name: object())
    assert memory._trim_function() is None
    memory._trim_function.cache_clear()
