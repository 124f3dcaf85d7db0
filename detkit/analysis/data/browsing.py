"""Samples of a data loader as a training run uses them, beside the images that they were made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from detkit.datasets.collate import collate
from detkit.datasets.loader import build_dataloader
from detkit.datasets.sample_key import SampleKey
from detkit.datasets.transforms.loading import UnreadableImageError, read_image
from detkit.datasets.wrappers import find_record
from detkit.engine.base_runner import hooks_of
from detkit.engine.hooks import CloseTransformsHook
from detkit.registry import HOOKS
from detkit.structures.annotations import Record
from detkit.utils.errors import ConfigError, DataError, nearest
from detkit.visualization.records import draw_record
from detkit.visualization.sheets import batch_cell, fit, grid, with_caption

_SHEET_SIDE = 1920
_LARGEST_CELL = 640
_GREY = 114


@dataclass(frozen=True)
class Browser:
    """A data loader whose samples can be drawn.

    Attributes:
        dataset: built, with its pipeline.
        sampler: which makes batches of it.
        classes: names of the labels.
        trains: whether epochs differ.
    """

    dataset: Any
    sampler: Any
    classes: tuple[str, ...]
    trains: bool = True

    @property
    def metainfo(self) -> dict[str, Any]:
        return self.dataset.metainfo

    def batches(self, epoch: int) -> list[list[SampleKey]]:
        """Return the batches of an epoch (counted from 0) in their order."""
        self.sampler.set_epoch(epoch)
        return list(self.sampler)

    def choose(
        self, number: int, indices: Sequence[int] = (), class_name: str | None = None, epoch: int = 0
    ) -> list[int]:
        """Choose the images to draw: the given ones, or the first ones in the epoch's order.

        Args:
            number: how many to choose if ``indices`` is empty.
            indices: positions in the dataset's own order.
            class_name: choose only images with an object of this class.
            epoch: the epoch whose order is used.

        Raises:
            ConfigError: there is no such index or class.
            DataError: no image shows the class.
        """
        for index in indices:
            if not 0 <= index < len(self.dataset):
                raise ConfigError(f'there is no image {index}; the dataset has {len(self.dataset)}, counted from 0')
        order = list(indices) or self._order(epoch)
        if class_name is not None:
            if class_name not in self.classes:
                raise ConfigError(f'the dataset has no class {class_name!r}.{nearest(class_name, self.classes)}')
            label = self.classes.index(class_name)
            order = _showing(order, self.dataset, label, len(indices) or number)
            if not order:
                raise DataError(f'no image shows a {class_name!r}')
        return list(order[: len(indices) or number])

    def _order(self, epoch: int) -> list[int]:
        """Return the images of an epoch in order, each once, however often the dataset is repeated."""
        order = [key.index for batch in self.batches(epoch) for key in batch]
        paths: dict[str, int] = {}
        for index in order:
            paths.setdefault(find_record(self.dataset, index).img_path, index)
        return list(paths.values())

    def samples(self, indices: Iterable[int], epoch: int) -> dict[int, dict]:
        """Return the samples that the pipeline makes of these images in an epoch, each within its own batch.

        Mosaic and mixup thus use the same other images as in training.
        """
        wanted = set(indices)
        found: dict[int, dict] = {}
        for batch in self.batches(epoch):
            positions = [
                position for position, key in enumerate(batch) if key.index in wanted and key.index not in found
            ]
            if len(found) == len(wanted):
                break
            if positions:
                samples = self.dataset.__getitems__(batch)
                found.update({batch[position].index: samples[position] for position in positions})
        return found


def open_browser(config: Config, split: str = 'train', seed: int | None = None) -> Browser:
    """Build the data loader of a split as the config's training run would.

    Args:
        config: loaded.
        split: 'train', 'val' or 'test'.
        seed: seed of the run; the config's, or 0, when None.

    Raises:
        ConfigError: there is no such loader.
        DataError: from the dataset.
    """
    loader = config.get(f'{split}_dataloader')
    if not loader:
        raise ConfigError(f'{config.filename}: the config has no {split}_dataloader')
    if seed is None:
        seed = (config.get('randomness') or {}).get('seed') or 0
    built = build_dataloader({**loader, 'num_workers': 0}, seed)
    max_epochs = (config.get('train_cfg') or {}).get('max_epochs')
    for hook in closing_hooks(config) if split == 'train' and max_epochs else ():
        hook.close(built.dataset, max_epochs)
    return Browser(built.dataset, built.batch_sampler, tuple(built.dataset.metainfo['classes']), split == 'train')


def closing_hooks(config: Config) -> list[CloseTransformsHook]:
    """Return the hooks of a run that turn off transforms, in their order."""
    built = []
    for hook in hooks_of(config):
        if isinstance(hook, dict) and HOOKS.get(hook['type']) is CloseTransformsHook:
            hook = HOOKS.build({key: value for key, value in hook.items() if key != 'priority'})
        if isinstance(hook, CloseTransformsHook):
            built.append(hook)
    return built


def contact_sheets(
    browser: Browser, indices: Sequence[int], epochs: Sequence[int] = (0,), before: bool = True, rows: int = 4
) -> Iterator[np.ndarray]:
    """Yield sheets with a row an image: the original with its annotations, then its sample in each epoch.

    Two images share a row where there is room for both.

    Args:
        browser: the result of ``open_browser``.
        indices: indices of the images.
        epochs: epochs whose augmentation is drawn, counted from 0.
        before: whether to show the originals.
        rows: number of rows of a sheet.

    Returns:
        ``(h, w, 3)`` uint8 RGB, one sheet at a time.
    """
    pictures = len(epochs) + before
    beside = max(1, 4 // pictures) if len(indices) > 1 else 1
    side = min(_LARGEST_CELL, _SHEET_SIDE // (pictures * beside))
    made = {epoch: browser.samples(indices, epoch) for epoch in epochs}
    for start in range(0, len(indices), rows * beside):
        cells = []
        for index in indices[start : start + rows * beside]:
            record = find_record(browser.dataset, index)
            name = f'{index} {Path(record.img_path).name}'
            if before:
                cells.append(with_caption(_original(record, browser, side), name))
            for epoch in epochs:
                sample = made[epoch].get(index)
                text = f'epoch {epoch + 1}' if browser.trains else 'as the network gets it'
                text = text if before else f'{name}, {text}'
                if sample is not None and sample['meta']['img_path'] != record.img_path:
                    text += f', {Path(sample["meta"]["img_path"]).name} in its place'
                cells.append(with_caption(_made(sample, browser, side), text))
        yield grid(cells, min(pictures * beside, len(cells)))


def _original(record: Record, browser: Browser, side: int) -> np.ndarray:
    try:
        img = read_image(record.img_path)
    except UnreadableImageError:
        return with_caption(np.full((side // 2, side, 3), _GREY, np.uint8), 'cannot be read')
    return draw_record(img, record, side, browser.classes, browser.metainfo)


def _made(sample: dict | None, browser: Browser, side: int) -> np.ndarray:
    if sample is None:  # where drop_last leaves the last batch out
        return with_caption(np.full((side // 2, side, 3), _GREY, np.uint8), 'not part of this epoch')
    batch = collate([sample])
    cell = batch_cell(batch['inputs'], batch['gt'], 0, side, browser.classes, browser.metainfo)
    return fit(cell, side)


def _showing(order: Iterable[int], dataset: Any, label: int, most: int) -> list[int]:
    """Return the first indices whose records hold a class."""
    found = []
    for index in order:
        record = find_record(dataset, index)
        if record.class_label == label or (record.annotations.labels == label).any():
            found.append(index)
        if len(found) == most:
            break
    return found
