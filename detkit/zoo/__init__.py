"""Published weights by name: a table of them, and a cache that they are fetched into, checked and converted."""

from detkit.registry import WEIGHTS_BY_NAME
from detkit.zoo.entries import Entry, find_entry, list_entries
from detkit.zoo.weights import cached, fetch, fetch_if_named, fetch_unasked, is_name

__all__ = ['Entry', 'cached', 'fetch', 'find_entry', 'list_entries']

for _function in (fetch_if_named, fetch_unasked, is_name):
    WEIGHTS_BY_NAME.register_module(name=_function.__name__, module=_function)
