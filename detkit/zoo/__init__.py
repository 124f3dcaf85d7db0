"""Published weights by name: a table of them, and a cache that they are fetched into, checked and converted."""

from typing import TYPE_CHECKING

from detkit.utils.lazy import lazy_names

if TYPE_CHECKING:
    from detkit.zoo.cache import cached
    from detkit.zoo.entries import Entry, find_entry, list_entries
    from detkit.zoo.weights import fetch

# The list of the names needs no PyTorch.
__getattr__ = lazy_names(
    __name__,
    {
        'Entry': 'entries',
        'cached': 'cache',
        'fetch': 'weights',
        'find_entry': 'entries',
        'list_entries': 'entries',
    },
)

__all__ = ['Entry', 'cached', 'fetch', 'find_entry', 'list_entries']
