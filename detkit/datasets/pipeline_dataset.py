"""``PipelineDataset``: records in, transformed samples out, a whole batch at once."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, runtime_checkable

import numpy as np
from torch.utils.data import Dataset

from detkit.datasets.records import Records
from detkit.datasets.sample_key import SampleKey, as_sample_key
from detkit.datasets.skips import Skip
from detkit.datasets.transforms.choice import mixing_names
from detkit.datasets.transforms.loading import UnreadableImageError
from detkit.datasets.transforms.pipeline import apply_transform
from detkit.structures.annotations import Annotations, Record
from detkit.structures.sample import BatchFrame, Sample
from detkit.utils.errors import DataError
from detkit.utils.rng import keyed_rng

# How many images are tried in place of unreadable ones, before it is the disk that has gone.
_MAX_DRAWN = 100

__all__ = ['SwitchableDataset', 'PipelineDataset']


@runtime_checkable
class SwitchableDataset(Protocol):
    """A dataset of whose transforms some may run in some epochs only, as training reads it.

    Attributes:
        mixing_transforms: names of the transforms of its pipeline that combine several images or objects.
        active_epochs: by a transform's name the first epoch in which it runs, and the first after that in which it does
            not, or None; transforms that are not here always run.
    """

    mixing_transforms: tuple[str, ...]
    active_epochs: dict[str, tuple[int, int | None]]


class PipelineDataset(Dataset):
    """Records that a pipeline makes samples of. A subclass sets the attributes.

    Attributes:
        records: the images.
        metainfo: at least ``classes``, a tuple of names.
        transforms: the pipeline.
        test_mode: samples also carry the original image's ground truth. An unreadable image becomes a grey one without
            objects, marked ``skipped`` in its meta information, where training takes the next readable one of the pool.
        order: ``(N,)`` indices in the order to be read, or None where any order will do; where there is one, a batch
            is padded to a frame of its own.
        pad, size_divisor: see ``BatchFrame``.
        mix_from: where mosaic and mixup get other images from, 'group' or 'dataset'.
        mix_group_size: the number of consecutive positions that are a group; None: the batch.
        active_epochs: see ``SwitchableDataset``.
        cached_images: decoded images by path, which stay; None where images are read when needed.
    """

    records: Records
    metainfo: dict[str, Any]
    transforms: Sequence[Callable[[Sample], Any]]
    test_mode: bool
    order: np.ndarray | None
    pad: float
    size_divisor: int
    mix_from: str
    mix_group_size: int | None
    active_epochs: dict[str, tuple[int, int | None]]
    cached_images: dict[str, np.ndarray] | None

    @property
    def mixing_transforms(self) -> tuple[str, ...]:
        """Names of the transforms of the pipeline that combine images or objects: mosaic, mixup, copy-paste."""
        return mixing_names(self.transforms)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, key: SampleKey | int) -> dict:
        """Return one sample. A plain index i means position i of the dataset's own order, with its group around it."""
        if isinstance(key, SampleKey):
            return self.__getitems__([key])[0]
        index = range(len(self))[int(key)]
        size = self.mix_group_size or 1
        first = index // size * size
        group = range(first, min(first + size, len(self)))
        return self.samples_among([as_sample_key(index)], [(as_sample_key(i), self.records[i]) for i in group], {})[0]

    def __getitems__(self, keys: Sequence[SampleKey | int]) -> list[dict]:
        """Return a whole batch, so that images shared by its samples are decoded once.

        Returns:
            A sample a key, as the pipeline's last transform leaves it. Where images could not be read the first one
            has ``skipped``, a list of (path, None, reason).

        Raises:
            DataError: no image of a group can be read.
        """
        keys = [as_sample_key(key) for key in keys]
        return self.samples_among(keys, [(key, self.records[key.index]) for key in keys], {})

    def samples_among(
        self,
        keys: Sequence[SampleKey],
        batch: Sequence[tuple[SampleKey, Record]],
        images: MutableMapping[str, np.ndarray],
    ) -> list[dict]:
        """Return the samples of this dataset in a batch that other datasets take part in.

        Args:
            keys: of the samples.
            batch: the keys of all samples of the batch, and their records, those of ``keys`` included: mosaic and mixup
                take other images from them, and the batch's frame is fitted to them.
            images: decoded images by path, to be shared by the batch.
        """
        images = images if self.cached_images is None else ChainMap(images, self.cached_images)
        frame = None if self.order is None else self._frame([record for _, record in batch])
        groups: dict[int, list[tuple[SampleKey, Record]]] = {}
        for key, record in batch:
            groups.setdefault(self._group_of(key), []).append((key, record))
        samples, skipped = [], []
        for key in keys:
            start = Sample(
                record=self.records[key.index],
                rng=keyed_rng(key.seed, key.epoch, key.position),
                epoch=key.epoch,
                test_mode=self.test_mode,
                inactive=self._inactive(key.epoch),
                images=images,
                flip_pairs=self.metainfo.get('flip_pairs'),
                batch_frame=frame,
            )
            samples.append(self._sample(key, groups[self._group_of(key)], start, skipped))
        if skipped:
            samples[0]['skipped'] = list(dict.fromkeys(skipped))
        return samples

    def batch_frame(self, indices: Sequence[int]) -> BatchFrame:
        """Return the smallest padded frame that holds these images, each scaled to the same long side."""
        return self._frame([self.records[index] for index in indices])

    def _inactive(self, epoch: int) -> frozenset[str]:
        return frozenset(
            name
            for name, (first, stop) in self.active_epochs.items()
            if epoch < first or (stop is not None and epoch >= stop)
        )

    def _frame(self, records: Sequence[Record]) -> BatchFrame:
        return BatchFrame.of_shapes([record.ori_shape for record in records], self.size_divisor, self.pad)

    def _group_of(self, key: SampleKey) -> int:
        return key.position // self.mix_group_size if self.mix_group_size else 0

    def _sample(
        self, key: SampleKey, group: Sequence[tuple[SampleKey, Record]], start: Sample, skipped: list[Skip]
    ) -> dict:
        whole_set = self.mix_from == 'dataset'
        pool = self.records if whole_set else [record for _, record in group]
        if not self.test_mode:
            positions = [member.position for member, _ in group]
            first = key.index if whole_set else positions.index(key.position)
            return self._first_readable(first, start, pool, len(self.transforms), skipped)
        packed = self._try_run(start, pool, len(self.transforms), skipped)
        if packed is None:
            record = start.record
            grey = np.full((*(record.ori_shape or (32, 32)), 3), 114, np.uint8)
            start = replace(
                start,
                record=replace(record, annotations=Annotations()),
                images={record.img_path: grey},
                skip_reason=skipped[-1].reason,
            )
            packed = self._try_run(start, pool, len(self.transforms), skipped)
        return packed

    def _first_readable(
        self, first: int, start: Sample, pool: Sequence[Record], stop: int, skipped: list[Skip]
    ) -> Sample | dict:
        """Run ``stop`` transforms on the first readable image of the pool, from its entry ``first`` on, in a circle.

        Where the pool has none, as that of a batch of one image may, others of the whole dataset are drawn.

        Raises:
            DataError: none of them can be read, either.
        """
        for offset in range(len(pool)):
            record = pool[(first + offset) % len(pool)]
            made = self._try_run(replace(start, record=record), pool, stop, skipped)
            if made is not None:
                return made
        others = start.rng.permutation(len(self.records))[:_MAX_DRAWN] if len(pool) < len(self.records) else ()
        for index in others:
            made = self._try_run(replace(start, record=self.records[int(index)]), pool, stop, skipped)
            if made is not None:
                return made
        last = skipped[-1]
        more = f', nor of {len(others)} others of the dataset' if len(others) else ''
        raise DataError(
            f'none of the {len(pool)} images of a group can be read{more}; the last one, {last.path}, {last.reason}'
        )

    def _try_run(self, sample: Sample, pool: Sequence[Record], stop: int, skipped: list[Skip]) -> Sample | dict | None:
        """Run the first ``stop`` transforms; return None, and add to ``skipped``, where the image is unreadable."""
        start, num_classes = sample, len(self.metainfo.get('classes') or ()) or None
        try:
            for number, transform in enumerate(self.transforms[:stop]):
                make_others = partial(self._draw_others, start, pool, number, skipped)
                sample = apply_transform(transform, sample, make_others, num_classes)
        except UnreadableImageError as error:
            skipped.append(Skip(error.path, None, error.reason))
            return None
        return sample

    def _draw_others(
        self, start: Sample, pool: Sequence[Record], stop: int, skipped: list[Skip], count: int
    ) -> list[Sample]:
        """Return ``count`` samples drawn with replacement from the pool, after the first ``stop`` transforms."""
        firsts = start.rng.integers(len(pool), size=count)
        return [self._first_readable(int(first), start, pool, stop, skipped) for first in firsts]
