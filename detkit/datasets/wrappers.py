"""Datasets made of other datasets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from detkit.datasets.sample_key import SampleKey, as_sample_key
from detkit.datasets.skips import Skip
from detkit.registry import DATASETS
from detkit.structures.annotations import Record
from detkit.utils.errors import DataError


def _build(dataset: Any) -> Any:
    return DATASETS.build(dataset) if isinstance(dataset, dict) else dataset


class DatasetWrapper:
    """Base of datasets that are made of others.

    Attributes:
        parts: the datasets inside.
    """

    parts: Sequence[Any]

    @property
    def skipped(self) -> list[Skip]:
        return [skip for part in self.parts for skip in part.skipped]

    @property
    def unused(self) -> list[Skip]:
        return [skip for part in self.parts for skip in part.unused]

    def locate(self, index: int) -> tuple[Any, int]:
        """Return the part that holds sample ``index``, and the sample's index in it."""
        raise NotImplementedError


@runtime_checkable
class RecordDataset(Protocol):
    """A dataset of records.

    Attributes:
        records: the images.
        skipped, unused: entries left out when the annotations were read, because they are broken or for another reason.
        max_skipped: the share of images that may be skipped.
    """

    records: Sequence[Record]
    skipped: Sequence[Skip]
    unused: Sequence[Skip]
    max_skipped: float


def leaf_datasets(dataset: Any) -> Iterator[Any]:
    """Yield the datasets that hold records, behind any wrappers."""
    if not isinstance(dataset, DatasetWrapper):
        yield dataset
        return
    for part in dataset.parts:
        yield from leaf_datasets(part)


def records_of(dataset: Any) -> list[Record]:
    """Return the records of all datasets behind any wrappers; none of one that is no ``RecordDataset``."""
    return [record for leaf in leaf_datasets(dataset) if isinstance(leaf, RecordDataset) for record in leaf.records]


def find_record(dataset: Any, index: int) -> Record:
    """Return the record of sample ``index`` of a dataset, behind any wrappers."""
    while isinstance(dataset, DatasetWrapper):
        dataset, index = dataset.locate(index)
    return dataset.records[index]


@DATASETS.register_module()
class RepeatDataset(DatasetWrapper):
    """A dataset that is read several times in one epoch.

    A repeated image keeps its own position in the epoch, so each repeat is augmented differently.

    Args:
        dataset: a dataset or its config.
        times: how often.
        at_least: more often than that, where an epoch would have fewer samples than this.
    """

    def __init__(self, dataset: Any, times: int = 1, at_least: int = 0) -> None:
        if times < 1:
            raise ValueError(f'times must be at least 1, not {times}')
        self.dataset = _build(dataset)
        self.parts = [self.dataset]
        self.times = max(times, -(-at_least // len(self.dataset)))

    @property
    def metainfo(self) -> dict:
        return self.dataset.metainfo

    @property
    def max_skipped(self) -> float:
        return self.dataset.max_skipped

    @property
    def order(self) -> np.ndarray | None:
        order = getattr(self.dataset, 'order', None)
        return None if order is None else np.concatenate([order + i * len(order) for i in range(self.times)])

    def locate(self, index: int) -> tuple[Any, int]:
        return self.dataset, range(len(self))[index] % len(self.dataset)

    def __len__(self) -> int:
        return len(self.dataset) * self.times

    def _inner(self, key: SampleKey | int) -> SampleKey:
        key = as_sample_key(key)
        return key._replace(index=key.index % len(self.dataset))

    def __getitem__(self, key: SampleKey | int) -> dict:
        return self.dataset[self._inner(key)]

    def __getitems__(self, keys: Sequence[SampleKey | int]) -> list[dict]:
        return self.dataset.__getitems__([self._inner(key) for key in keys])


@DATASETS.register_module()
class ConcatDataset(DatasetWrapper):
    """Several datasets of the same classes, one after the other.

    In a batch the samples of one dataset are adjacent, and a mosaic mixes images of one dataset.

    Args:
        datasets: datasets or their configs.

    Raises:
        DataError: their classes differ.
    """

    def __init__(self, datasets: Sequence[Any]) -> None:
        if not datasets:
            raise ValueError('datasets is empty')
        self.parts = self.datasets = [_build(dataset) for dataset in datasets]
        self._ends = np.cumsum([len(dataset) for dataset in self.datasets])
        classes = [tuple(dataset.metainfo['classes']) for dataset in self.datasets]
        for number, other in enumerate(classes):
            if other != classes[0]:
                raise DataError(
                    f'the datasets to be joined have different classes: number 0 has {_shorten(classes[0])}, '
                    f'number {number} has {_shorten(other)}. Give all of them the same metainfo=dict(classes=...).'
                )

    @property
    def metainfo(self) -> dict:
        return self.datasets[0].metainfo

    @property
    def max_skipped(self) -> float:
        return max(dataset.max_skipped for dataset in self.datasets)

    def locate(self, index: int) -> tuple[Any, int]:
        index = range(len(self))[index]
        owner = int(np.searchsorted(self._ends, index, 'right'))
        return self.datasets[owner], index - int(self._ends[owner]) + len(self.datasets[owner])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, key: SampleKey | int) -> dict:
        return self.__getitems__([key])[0]

    def __getitems__(self, keys: Sequence[SampleKey | int]) -> list[dict]:
        keys = [as_sample_key(key) for key in keys]
        owners = np.searchsorted(self._ends, [key.index for key in keys], 'right')
        samples: list[dict] = []
        for owner in np.unique(owners):
            offset = int(self._ends[owner]) - len(self.datasets[owner])
            own = [keys[i]._replace(index=keys[i].index - offset) for i in np.flatnonzero(owners == owner)]
            samples += self.datasets[owner].__getitems__(own)
        return samples


def _shorten(classes: tuple[str, ...]) -> str:
    return f'{len(classes)} ({", ".join(map(str, classes[:3]))}{", ..." if len(classes) > 3 else ""})'
