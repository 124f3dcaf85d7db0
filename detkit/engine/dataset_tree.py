"""Looking into datasets that wrap others."""

from collections.abc import Iterator
from typing import Any


def leaf_datasets(dataset: Any) -> Iterator[Any]:
    """The datasets that hold records, behind any wrappers."""
    inner = [getattr(dataset, 'dataset', None), *(getattr(dataset, 'datasets', None) or [])]
    inner = [part for part in inner if part is not None]
    if not inner:
        yield dataset
    for part in inner:
        yield from leaf_datasets(part)


def find_record(dataset: Any, index: int) -> Any:
    """The record of sample ``index`` of a dataset, behind any wrappers."""
    parts = getattr(dataset, 'datasets', None)
    if parts is not None:
        for part in parts:
            if index < len(part):
                return find_record(part, index)
            index -= len(part)
        raise IndexError(f'{index} samples too many')
    inner = getattr(dataset, 'dataset', None)
    return dataset.records[index] if inner is None else find_record(inner, index % len(inner))
