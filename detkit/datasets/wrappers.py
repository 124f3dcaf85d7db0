"""Datasets made of other datasets."""

from __future__ import annotations

import copy
from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np

from detkit.datasets.class_map import label_table, peek_dataset, relabel_metainfo, union
from detkit.datasets.pipeline_dataset import PipelineDataset
from detkit.datasets.records import Records
from detkit.datasets.sample_key import SampleKey, as_sample_key
from detkit.datasets.skips import Skip
from detkit.registry import DATASETS
from detkit.structures.annotations import Record
from detkit.utils.errors import ConfigError, shorten

# The entries of ``metainfo`` that datasets with keypoints must share.
_OF_KEYPOINTS = frozenset({'keypoint_shape', 'keypoint_names', 'flip_pairs', 'skeleton', 'sigmas'})


def _build(dataset: Any) -> Any:
    return DATASETS.build(dataset) if isinstance(dataset, dict) else dataset


class DatasetWrapper:
    """Base of datasets that are made of others, whose samples are theirs, one dataset after the other.

    Attributes:
        parts: the datasets inside.
        blocks: the datasets in the order of the indices; one that is read several times recurs.
    """

    parts: Sequence[Any]
    blocks: Sequence[Any]

    @property
    def skipped(self) -> list[Skip]:
        return [skip for part in self.parts for skip in part.skipped]

    @property
    def unused(self) -> list[Skip]:
        return [skip for part in self.parts for skip in part.unused]

    @property
    def max_skipped(self) -> float:
        return max(part.max_skipped for part in self.parts)

    @cached_property
    def ends(self) -> np.ndarray:
        """``(number of blocks,)`` int64: the index behind the last one of each block."""
        return np.cumsum([len(block) for block in self.blocks])

    @property
    def order(self) -> np.ndarray | None:
        """The indices in the order to be read, or None where any order will do."""
        orders = [order_of(block) for block in self.blocks]
        if all(order is None for order in orders):
            return None
        filled = [
            np.arange(len(block)) if order is None else order for block, order in zip(self.blocks, orders, strict=True)
        ]
        return np.concatenate([own + end - len(own) for own, end in zip(filled, self.ends, strict=True)])

    @property
    def repeat_factors(self) -> np.ndarray | None:
        """``(N,)`` how often each sample is drawn in a shuffled epoch, on average; None: each once."""
        factors = [repeat_factors_of(block) for block in self.blocks]
        if all(own is None for own in factors):
            return None
        return np.concatenate(
            [np.ones(len(block)) if own is None else own for block, own in zip(self.blocks, factors, strict=True)]
        )

    def image_classes(self) -> tuple[np.ndarray, np.ndarray]:
        """Return ``(P,)`` indices of samples and ``(P,)`` labels: each class that a sample's image shows, once."""
        found = [image_classes_of(block) for block in self.blocks]
        starts = self.ends - [len(block) for block in self.blocks]
        images = np.concatenate([own + start for (own, _), start in zip(found, starts, strict=True)])
        return images, np.concatenate([labels for _, labels in found])

    def with_classes(self, classes: Sequence[str]) -> DatasetWrapper:
        """Return the same for labels that are indices into another list of names."""
        parts = {id(part): _with_classes(part, classes) for part in self.parts}
        same = copy.copy(self)
        vars(same).pop('ends', None)
        same.parts = [parts[id(part)] for part in self.parts]
        same.blocks = [parts[id(block)] for block in self.blocks]
        return same

    def locate(self, index: int) -> tuple[Any, int]:
        """Return the part that holds sample ``index``, and the sample's index in it."""
        index = range(len(self))[index]
        block = int(np.searchsorted(self.ends, index, 'right'))
        return self.blocks[block], index - int(self.ends[block]) + len(self.blocks[block])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, key: SampleKey | int) -> dict:
        return self.__getitems__([key])[0]

    def __getitems__(self, keys: Sequence[SampleKey | int]) -> list[dict]:
        """Return a sample a key, in their order. Images of all datasets behind the wrapper are mixed."""
        keys = [as_sample_key(key) for key in keys]
        located = [_find_leaf(self, key) for key in keys]
        batch = [(key, leaf.records[key.index]) for leaf, key in located if isinstance(leaf, PipelineDataset)]
        leaves = list({id(leaf): leaf for leaf, _ in located}.values())
        caches = [leaf.cached_images for leaf in leaves if isinstance(leaf, PipelineDataset)]
        images = ChainMap({}, *filter(None, caches))  # what is decoded now is not kept
        samples: dict[int, dict] = {}
        for leaf in leaves:
            numbers = [i for i, (owner, _) in enumerate(located) if owner is leaf]
            own = [located[i][1] for i in numbers]
            made = (
                leaf.samples_among(own, batch, images) if isinstance(leaf, PipelineDataset) else leaf.__getitems__(own)
            )
            samples.update(zip(numbers, made, strict=True))
        return [samples[i] for i in range(len(keys))]


@runtime_checkable
class RecordDataset(Protocol):
    """A dataset of records.

    Attributes:
        records: the images.
        skipped, unused: entries left out when the annotations were read, because they are broken or for another reason.
        max_skipped: the share of images that may be skipped.
    """

    records: Records
    skipped: Sequence[Skip]
    unused: Sequence[Skip]
    max_skipped: float


@runtime_checkable
class RelabelledDataset(Protocol):
    """A dataset that can take part in a larger one whose classes are more than its own."""

    def with_classes(self, classes: Sequence[str]) -> Any:
        """Return the dataset with labels that are indices into another list of names."""
        ...


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


def _find_leaf(dataset: Any, key: SampleKey) -> tuple[Any, SampleKey]:
    """Return the dataset behind any wrappers that holds a sample, and the sample's key in it."""
    index = key.index
    while isinstance(dataset, DatasetWrapper):
        dataset, index = dataset.locate(index)
    return dataset, key._replace(index=index)


def find_record(dataset: Any, index: int) -> Record:
    """Return the record of sample ``index`` of a dataset, behind any wrappers."""
    while isinstance(dataset, DatasetWrapper):
        dataset, index = dataset.locate(index)
    return dataset.records[index]


def image_classes_of(dataset: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return ``(P,)`` indices of samples and ``(P,)`` labels: each class that a sample's image shows, once.

    Raises:
        ConfigError: the dataset, or one behind a wrapper, has no records.
    """
    if isinstance(dataset, DatasetWrapper):
        return dataset.image_classes()
    if not isinstance(dataset, RecordDataset):
        raise ConfigError(
            f'it is not known which classes the images of {type(dataset).__name__} show: it has no records'
            "; use a dataset with records, as detkit's have, or leave out what balances classes"
        )
    return dataset.records.image_classes()


def repeat_factors_of(dataset: Any) -> np.ndarray | None:
    """Return how often each sample is drawn in a shuffled epoch, on average; None: each once."""
    return dataset.repeat_factors if isinstance(dataset, DatasetWrapper) else None


def _with_classes(dataset: Any, classes: Sequence[str], number: int = 0) -> Any:
    own = dataset.metainfo.get('classes') or ()
    if tuple(own) == tuple(classes):
        return dataset
    if not isinstance(dataset, RelabelledDataset):
        raise ConfigError(
            f'dataset {number} has {len(own)} classes ({shorten(own)}), the whole {len(classes)} ({shorten(classes)}), '
            f'and a {type(dataset).__name__} has no method with_classes. Give all of them the same '
            'metainfo=dict(classes=...).'
        )
    return dataset.with_classes(classes)


def order_of(dataset: Any) -> np.ndarray | None:
    """Return the indices of a dataset in the order to be read; None for any order, as for a user's own without one."""
    return getattr(dataset, 'order', None)


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
        self.parts = [_build(dataset)]
        self.times = max(times, -(-at_least // len(self.dataset)))
        self.blocks = self.parts * self.times

    @classmethod
    def peek(cls, cfg: Mapping[str, Any]) -> dict[str, Any]:
        return peek_dataset(cfg.get('dataset') or {})

    @property
    def dataset(self) -> Any:
        return self.parts[0]

    @property
    def metainfo(self) -> dict:
        return self.dataset.metainfo


@DATASETS.register_module()
class ConcatDataset(DatasetWrapper):
    """Several datasets, one after the other, whose classes are brought together by their names.

    A mosaic mixes images of all datasets of a batch; with ``mix_from='dataset'``, those of one dataset.

    Args:
        datasets: datasets or their configs. Where names differ, or classes are to be merged or left out, a dataset's
            ``class_map`` says so.
        classes: the names of the whole, in order of the labels; by default those of all datasets, in order of first
            appearance.
        weights: how often the images of each dataset are drawn in a shuffled epoch, on average: 0.5 takes another half
            of them in each epoch, 2 all of them twice. Without shuffling each image is read once.
        background: the share, of all samples of a shuffled epoch, of images without objects: of those datasets that
            show no object at all (see ``BackgroundDataset``), whatever their number and weights.

    Raises:
        ConfigError: a class is not in ``classes``; ``weights`` or ``background`` do not fit the datasets; or the
            objects of two datasets differ in their keypoints, or in that they have rotated boxes.
    """

    def __init__(
        self,
        datasets: Sequence[Any],
        classes: Sequence[str] | None = None,
        weights: Sequence[float] | None = None,
        background: float | None = None,
    ) -> None:
        if not datasets:
            raise ValueError('datasets is empty; write the config of one dataset or more')
        parts = [_build(dataset) for dataset in datasets]
        self.metainfo = join_metainfo([part.metainfo for part in parts], classes)
        self.parts = self.blocks = [_with_classes(part, self.metainfo['classes'], i) for i, part in enumerate(parts)]
        _check_kinds(self.parts)
        self._weights = self._find_weights(weights, background)

    @classmethod
    def peek(cls, cfg: Mapping[str, Any]) -> dict[str, Any]:
        parts, classes = cfg.get('datasets') or (), cfg.get('classes')
        if isinstance(classes, str):
            raise ConfigError(f'classes is {classes!r}, but must be a list of names; write ({classes!r},)')
        return join_metainfo([peek_dataset(part) for part in parts if isinstance(part, Mapping)], classes)

    @property
    def datasets(self) -> Sequence[Any]:
        return self.parts

    @property
    def repeat_factors(self) -> np.ndarray | None:
        inner = super().repeat_factors
        if self._weights is None:
            return inner
        weights = np.repeat(self._weights, [len(part) for part in self.parts])
        return weights if inner is None else weights * inner

    def _find_weights(self, weights: Sequence[float] | None, background: float | None) -> np.ndarray | None:
        """Return ``(number of parts,)`` factors; None where each image is drawn once."""
        count = len(self.parts)
        if weights is not None and (len(weights) != count or not all(0 < weight < np.inf for weight in weights)):
            raise ConfigError(
                f'weights={list(weights)} of ConcatDataset must be {count} numbers above 0, one a dataset'
            )
        factors = np.ones(count) if weights is None else np.array(weights, np.float64)
        if background is not None:
            if not 0 < background < 1:
                raise ConfigError(f'background={background} of ConcatDataset must be a share between 0 and 1')
            empty = np.array([not len(image_classes_of(part)[0]) for part in self.parts])
            if empty.all() or not empty.any():
                raise ConfigError(
                    f'background={background} of ConcatDataset: {"all" if empty.all() else "none"} of its {count} '
                    'datasets are without any object; it needs some with and some without (see BackgroundDataset)'
                )
            inner = [
                len(part) if repeat_factors_of(part) is None else repeat_factors_of(part).sum() for part in self.parts
            ]
            sizes = factors * inner
            factors[empty] *= sizes[~empty].sum() / sizes[empty].sum() * background / (1 - background)
        return None if (factors == 1).all() else factors


def join_metainfo(parts: Sequence[Mapping[str, Any]], classes: Sequence[str] | None = None) -> dict[str, Any]:
    """Return the meta information of several datasets together.

    Args:
        parts: of each dataset; one without classes has no objects.
        classes: the names of the whole; None for all that there are.

    Raises:
        ConfigError: a class is not in ``classes``, or the keypoints of two datasets differ.
    """
    named = [part for part in parts if part.get('classes')]
    whole = tuple(classes) if classes is not None else union([part['classes'] for part in named])
    changed = [
        relabel_metainfo(part, whole, label_table(part['classes'], whole, f'dataset {number}'))
        for number, part in enumerate(parts)
        if part.get('classes')
    ]
    joined: dict[str, Any] = {}
    for number, part in enumerate(changed):
        for key, value in part.items():
            if joined.setdefault(key, value) != value and key in _OF_KEYPOINTS:
                raise ConfigError(
                    f'the datasets to be joined differ in their keypoints: {key} is {joined[key]!r} in one and '
                    f'{part[key]!r} in another (dataset {number}). Give them the same, in metainfo of their configs.'
                )
        if 'stuff_labels' in part:
            joined['stuff_labels'] = tuple(sorted({*joined.get('stuff_labels', ()), *part['stuff_labels']}))
    if len({part.get('category_ids') for part in changed}) > 1:
        joined.pop('category_ids', None)
    return {**joined, 'classes': whole}


def _kind(dataset: Any) -> tuple | None:
    """Return what a dataset's objects are described by, None where it shows none or has no records."""
    for leaf in leaf_datasets(dataset):
        images = leaf.records.labelled()[0] if isinstance(leaf, RecordDataset) else ()
        if len(images):
            record = leaf.records[int(images[0])]
            keypoints, rbboxes = record.annotations.keypoints, record.annotations.rbboxes
            return (
                record.class_label is not None,
                None if keypoints is None else keypoints.shape[1],
                rbboxes is not None,
            )
    return None


def _check_kinds(parts: Sequence[Any]) -> None:
    kinds = [(number, _kind(part)) for number, part in enumerate(parts)]
    known = [(number, kind) for number, kind in kinds if kind is not None]
    for number, kind in known[1:]:
        if kind != known[0][1]:
            raise ConfigError(
                f'the datasets to be joined have different objects: those of dataset {known[0][0]} are '
                f'{_describe(known[0][1])}, those of dataset {number} {_describe(kind)}'
                '; join datasets of the same kind of objects'
            )


def _describe(kind: tuple) -> str:
    whole, keypoints, rotated = kind
    if whole:
        return 'classes of whole images'
    return ('rotated boxes' if rotated else 'boxes') + ('' if keypoints is None else f' with {keypoints} keypoints')
