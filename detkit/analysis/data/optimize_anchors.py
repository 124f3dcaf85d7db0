"""Search for anchors that fit the training data of a config."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmengine.config import Config

from detkit.analysis.data.anchor_search import AnchorFit, AnchorSearch, split_by_level
from detkit.config import load_config
from detkit.datasets.wrappers import leaf_datasets
from detkit.registry import DATASETS, DETECTORS
from detkit.structures.annotations import Record
from detkit.utils.errors import ConfigError, DataError
from detkit.utils.tables import text_table

Anchors = list[list[tuple[float, float]]]

# Arguments that a dataset does not need when only its annotations are read.
_READING_IMAGES = ('pipeline', 'cache')
# Objects with both sides below it are noise rather than something to fit anchors to.
_MIN_SIDE = 2


@dataclass(frozen=True)
class AnchorReport:
    """Anchors before and after the search, and how well they fit.

    Attributes:
        before, after: of each level, fine to coarse, (width, height) in pixels.
        fit_before, fit_after: how they fit all objects.
        at_level_before, at_level_after: how many objects have their best anchor at each level.
        num_objects, num_images: what they were fitted to.
        num_small: objects left out as smaller than 2 pixels.
        img_size: side in pixels that images are scaled to.
    """

    before: Anchors
    after: Anchors
    fit_before: AnchorFit
    fit_after: AnchorFit
    at_level_before: tuple[int, ...]
    at_level_after: tuple[int, ...]
    num_objects: int
    num_images: int
    num_small: int
    img_size: int

    @property
    def improved(self) -> bool:
        """Whether the new anchors fit better."""
        return self.fit_after.quality > self.fit_before.quality

    def lines(self) -> list[str]:
        """Return the report as lines of text."""
        rows = []
        for name, fit, at_level in (
            ('before', self.fit_before, self.at_level_before),
            ('after', self.fit_after, self.at_level_after),
        ):
            rows.append(
                [name, f'{fit.recall:.4f}', f'{fit.per_object:.2f}', f'{fit.quality:.3f}', ' '.join(map(str, at_level))]
            )
        header = ['', 'best possible recall', 'anchors an object', 'quality', 'objects best at each level']
        table = text_table(header, rows, left=(0, 4))
        small = f' ({self.num_small} smaller than {_MIN_SIDE} pixels left out)' if self.num_small else ''
        objects = f'{self.num_objects} objects in {self.num_images} images at {self.img_size} pixels{small}'
        lines = [objects, table]
        if not self.improved:
            return [*lines, 'The anchors that the config has fit as well; keep them.']
        levels = ',\n'.join(f'    {level}' for level in self.after)
        option = f'model.head.anchors={self.after}'.replace(' ', '')
        return [*lines, f'anchors=[\n{levels},\n]', f'--cfg-options "{option}"']


def optimize_anchors(
    path: str,
    options: Sequence[str] | dict | None = None,
    img_size: int | None = None,
    per_level: int | None = None,
    steps: int = 1000,
    seed: int = 0,
) -> AnchorReport:
    """Fit anchors to the training data of a config: k-means on the objects' shapes, then evolution.

    The head's assigner decides which anchors fit an object, so that the results are those of training.

    Args:
        path: the config file, of a model whose head has anchors.
        options: changes to the config, as ``--cfg-options``.
        img_size: side in pixels that images are scaled to; the config's ``img_size`` if left out.
        per_level: anchors at each level; as many as the head has if left out.
        steps: steps of evolution.
        seed: of the random choices.

    Raises:
        ConfigError: the model has no anchors, or the image size is not known.
        DataError: there is no object.
    """
    if steps < 0 or (per_level is not None and per_level < 1):
        raise ConfigError(
            f'{steps} steps of evolution and {per_level} anchors a level were asked for; give at least 0 and 1.'
        )
    config = load_config(path, options)
    size = _image_size(config, img_size)
    with torch.device('meta'):
        head = DETECTORS.build(config.model).head
    if not hasattr(head, 'prior_generator') or not hasattr(head.prior_generator, 'anchors'):
        raise ConfigError(f'{path}: its head, {type(head).__name__}, has no anchors.')
    if not hasattr(head.assigner, 'shape_quality'):
        raise ConfigError(
            f'{path}: its assigner, {type(head.assigner).__name__}, has no shape_quality, the measure '
            'of how well an anchor fits a box.'
        )
    records = _records(config)
    sizes_wh = object_sizes(records, size)
    kept = (sizes_wh >= _MIN_SIDE).any(1)
    if not kept.any():
        raise DataError(f'{path}: its training data have no object to fit anchors to.')

    before = [list(level) for level in head.prior_generator.anchors]
    count = (per_level or head.prior_generator.num_shapes) * len(before)
    search = AnchorSearch(sizes_wh[kept], head.assigner.shape_quality, head.assigner.min_quality, seed)
    starts = [search.kmeans(count)]
    if count == sum(map(len, before)):
        starts.append(np.concatenate([np.array(level) for level in before]))
    found = max((search.evolve(start, steps) for start in starts), key=lambda shapes: search.measure(shapes).quality)
    after = split_by_level(found, len(before))
    flat = [np.array([shape for level in anchors for shape in level]) for anchors in (before, after)]
    at_level = [tuple(search.count_best(shapes).reshape(len(before), -1).sum(1).tolist()) for shapes in flat]
    fits = [search.measure(shapes) for shapes in flat]
    return AnchorReport(before, after, *fits, *at_level, int(kept.sum()), len(records), int((~kept).sum()), size)


def object_sizes(records: Iterable[Record], img_size: int) -> np.ndarray:
    """Return widths and heights ``(N, 2)`` of all objects in images whose long side is scaled to ``img_size``.

    Crowds and difficult objects are left out: training does not see them.
    """
    sizes = [np.zeros((0, 2))]
    for record in records:
        if record.ori_shape is None:
            raise DataError(f'the size of {record.img_path} is not known, to which its boxes relate')
        bboxes = record.annotations.bboxes[~record.annotations.ignored].astype(np.float64)
        sizes.append((bboxes[:, 2:] - bboxes[:, :2]) * (img_size / max(record.ori_shape)))
    return np.concatenate(sizes)


def _image_size(config: Config, img_size: int | None) -> int:
    size = config.get('img_size') if img_size is None else img_size
    size = max(size) if isinstance(size, list | tuple) else size
    if not isinstance(size, int) or size < 1:
        raise ConfigError(f'{config.filename} states no img_size; say with --img-size how large images are.')
    return size


def _records(config: Config) -> list[Record]:
    dataset = DATASETS.build(_without_images(config.train_dataloader.dataset.to_dict()))
    return [record for leaf in leaf_datasets(dataset) for record in leaf.records]


def _without_images(dataset: dict[str, Any]) -> dict[str, Any]:
    """Remove the keys that read images from the config of a dataset and of those inside it."""
    dataset = {key: value for key, value in dataset.items() if key not in _READING_IMAGES}
    if 'dataset' in dataset:
        dataset['dataset'] = _without_images(dataset['dataset'])
    if 'datasets' in dataset:
        dataset['datasets'] = [_without_images(part) for part in dataset['datasets']]
    return dataset
