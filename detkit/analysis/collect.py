"""``collect``: a checkpoint's predictions on a data set, kept in memory together with the ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook

from detkit.engine.testing import testing_runner
from detkit.evaluation.gathered_metric import GatheredMetric
from detkit.utils.errors import ConfigError, DataError


@dataclass(frozen=True)
class Collected:
    """What a model says of every image of a data set, beside the truth.

    Attributes:
        label: what to call the model, e.g. its config's name.
        config: as it was loaded.
        checkpoint: the file.
        classes: names of the labels.
        results: of each image, in the order of the data set: what ``metric.image_result`` makes of it.
        metric: of the config, after the evaluation; ``metric.kinds`` says what its results can be matched by.
        figures: all the config's metrics give, such as ``{'coco/bbox_mAP': …}``.
        metainfo: of the data set.
    """

    label: str
    config: Config
    checkpoint: str
    classes: tuple[str, ...]
    results: list[Any]
    metric: GatheredMetric
    figures: dict[str, float]
    metainfo: dict[str, Any] = field(default_factory=dict)


class ResultCollector(Hook):
    """Keeps what a metric makes of each image that a validation or test sees; ``results`` start anew with each.

    An image that could not be read is left out, as metrics do.

    Args:
        metric: whose ``image_result`` is kept.
    """

    def __init__(self, metric: GatheredMetric) -> None:
        self.metric = metric
        self.results: list[Any] = []

    def _before_epoch(self, runner: Any, mode: str = 'train') -> None:
        if mode != 'train':
            self.results = []

    def _after_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None,
                    mode: str = 'train') -> None:
        if mode != 'train':
            samples = [sample.to_dict() for sample in outputs]
            self.results += [self.metric.image_result(sample) for sample in samples if 'skipped' not in sample]


def collect(path: str | Path, checkpoint: str | Path, options: Sequence[str] | dict | None = None,
            split: str = 'test', device: str | None = None, batch_size: int | None = None, amp: bool = False,
            label: str | None = None) -> Collected:
    """Evaluates a checkpoint as ``tools/test.py`` does, and keeps its predictions.

    Args:
        path, checkpoint, options, split, device, batch_size, amp: as ``test_from_config``.
        label: what to call the model; the config's name when left out.

    Raises:
        ConfigError, CheckpointError, DataError: as ``test_from_config``; and for a config whose metrics look at other
            things than single images, or data without a readable image.
    """
    runner = testing_runner(str(path), str(checkpoint), options, split, device=device, batch_size=batch_size, amp=amp)
    try:
        metrics = [metric for metric in runner.test_loop.evaluator.metrics if isinstance(metric, GatheredMetric)]
        if not metrics:
            raise ConfigError(f'{path}: test_evaluator has no metric of detkit, such as CocoMetric, to collect from')
        collector = ResultCollector(metrics[0])
        runner.register_hook(collector)
        figures = runner.test()
        metainfo = dict(runner.test_loop.dataloader.dataset.metainfo)
    finally:
        runner.close()
    if not collector.results:
        raise DataError(f'{path}: the {split} data hold no image that can be read')
    return Collected(label or Path(path).stem, runner.cfg, str(checkpoint), tuple(metainfo['classes']),
                     collector.results, metrics[0], figures, metainfo)
