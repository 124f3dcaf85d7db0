"""Folders of images without objects."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from detkit.datasets.base import DetDataset
from detkit.datasets.flat_annotations import FlatAnnotations, FlatRecords
from detkit.datasets.image_files import each_once, list_images, read_image_sizes, read_list, unread_images, unreadable
from detkit.datasets.skips import check_skips
from detkit.registry import DATASETS
from detkit.utils.errors import ConfigError, DataError

__all__ = ['BackgroundDataset']


@DATASETS.register_module()
class BackgroundDataset(DetDataset):
    """Images that show no object, from which a detector learns where none is. Label files beside them are not read.

    It has no classes of its own: as a part of a ``ConcatDataset`` it takes those of the whole.

    Args:
        images: folders of images, or text files that list images, relative to ``data_root``.
        **kwargs: see ``DetDataset``.
    """

    names_classes = False

    def __init__(self, images: str | Sequence[str], **kwargs: Any) -> None:
        self.images = [images] if isinstance(images, str) else list(images)
        if not self.images:
            raise ConfigError('images of BackgroundDataset is empty; name a folder')
        super().__init__(**kwargs)

    def load_records(self) -> FlatRecords:
        self.metainfo.setdefault('classes', ())
        paths: list[str] = []
        for source in (Path(self.data_root) / item for item in self.images):
            if os.path.isfile(source):
                paths += read_list(source, Path(self.data_root))
                continue
            try:
                paths += list_images(source)
            except DataError as error:
                raise DataError(
                    f'{error}. Correct images (relative to data_root={self.data_root!r}) in the config of the dataset.'
                ) from error
            self.unused += unread_images(source)
        paths, repeats = each_once(paths)
        self.unused += repeats
        sizes = read_image_sizes(paths)
        self.skipped += [
            unreadable(path, size) for path, size in zip(paths, sizes, strict=True) if isinstance(size, OSError)
        ]
        check_skips(self.skipped, len(paths), self.max_skipped, ', '.join(self.images))
        found = [(path, size) for path, size in zip(paths, sizes, strict=True) if not isinstance(size, OSError)]
        return FlatRecords(
            [path for path, _ in found],
            [Path(os.path.relpath(path, self.data_root or '.')).as_posix() for path, _ in found],
            np.array([size for _, size in found], np.int64),
            FlatAnnotations.join([]),
        )
