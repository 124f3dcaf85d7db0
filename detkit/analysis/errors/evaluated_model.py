"""Evaluation of a checkpoint that keeps its predictions in memory together with the ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

from detkit.config import load_config
from detkit.engine.evaluate import EvaluationSettings, evaluation_runner, tested_split
from detkit.engine.hooks import ProgressHook
from detkit.engine.run_folder import CONFIG_FILE
from detkit.evaluation.gathered_metric import GatheredMetric
from detkit.structures.data_sample import DetDataSample
from detkit.utils.errors import ConfigError, DataError


@dataclass(frozen=True)
class EvaluatedModel:
    """A model's predictions on every image of a dataset, with the ground truth.

    Attributes:
        label: name of the model, e.g. its config's.
        config: the loaded config.
        checkpoint: the file.
        classes: names of the labels.
        results: samples of the images, ordered by path, see ``evaluated_sample``.
        metric: the config's metric after the evaluation; ``metric.needs`` are the kinds of overlap of its results.
        metrics: values of all the config's metrics, such as ``{'coco/bbox_mAP': …}``.
        metainfo: meta information of the dataset.
    """

    label: str
    config: Config
    checkpoint: str
    classes: tuple[str, ...]
    results: list[DetDataSample]
    metric: GatheredMetric
    metrics: dict[str, float]
    metainfo: dict[str, Any] = field(default_factory=dict)

    @property
    def classifies(self) -> bool:
        """Whether the model is a classifier."""
        return self.metric.needs == ('label',)

    def max_dets(self, kind: str) -> int | None:
        """Return how many predictions of an image and class the metric counts, None for the default of ``match``.

        Args:
            kind: the kind of overlap.
        """
        return self.metric.max_dets[-1] if self.metric.max_dets and kind in ('bbox', 'segm') else None

    def chosen_kind(self, kind: str | None, what: str) -> str:
        """Return the given kind of overlap, or else the config's last, which is the most specific (masks, not boxes).

        Args:
            kind: the kind of overlap, or None.
            what: name of the report that needs it, for the error.

        Raises:
            ConfigError: the config's metric does not evaluate it, or the model is a classifier.
        """
        if self.classifies:
            raise ConfigError(f'{self.label} is a classifier, which has no {what}')
        if kind is None:
            return self.metric.needs[-1]
        if kind not in self.metric.needs:
            raise ConfigError(
                f'{self.label} evaluates {", ".join(self.metric.needs)}, not {kind!r}; choose one of '
                'these, or change test_evaluator'
            )
        return kind


class ModelEvaluation:
    """The evaluation of a checkpoint as ``detkit test`` does it, prepared; ``run`` it once, or ``close`` it.

    Args:
        path, checkpoint, options, settings: those of ``evaluate_checkpoint``.
        label: name of the model; ``model_name`` if left out.

    Attributes:
        label, classes, metric: those of ``EvaluatedModel``.
        num_images: number of images of the dataset.

    Raises:
        ConfigError, CheckpointError, DataError: as ``evaluate_checkpoint``; or no metric of the config
            evaluates single images.
    """

    def __init__(
        self,
        path: str | Path,
        checkpoint: str | Path,
        options: Sequence[str] | dict | None = None,
        settings: EvaluationSettings = EvaluationSettings(),
        label: str | None = None,
    ) -> None:
        self.label = label or model_name(path)
        self._checkpoint = str(checkpoint)
        self._config = load_config(str(path), options, trains=False)  # the runner's lacks what concerns training
        self._split = tested_split(self._config, settings.split)
        self._runner = evaluation_runner(self._config, self._checkpoint, settings)
        metric = self._runner.test_loop.evaluator.sample_metric
        if metric is None:
            self.close()
            raise ConfigError(f'{path}: test_evaluator has no metric that looks at single images, such as CocoMetric')
        dataset = self._runner.test_loop.dataloader.dataset
        self.metric: GatheredMetric = metric
        self.classes = tuple(dataset.metainfo['classes'])
        self.num_images = len(dataset)

    def run(self) -> EvaluatedModel:
        """Evaluate the model.

        Raises:
            DataError: no image can be read, or the model finds nothing in any.
        """
        runner, metric = self._runner, self.metric
        runner.console.show(f'{self.label}: {self._checkpoint} on {self.num_images} images of {self._split}')
        runner.register_hook(ProgressHook())
        try:
            metrics = runner.test(keep=True)
        finally:
            self.close()
        results = list(metric.samples)
        if not results:
            raise DataError(f'{self.label}: the {self._split} data hold no image that can be read')
        if not any('pred_scores' in sample or len(sample.pred_instances) for sample in results):
            raise DataError(
                f'{self._checkpoint} finds nothing in any of {len(results)} images, which leaves nothing to analyse. '
                'Was it trained long enough, on images like these? Does model.head.test_cfg.score_thr leave out all?'
            )
        metainfo = dict(runner.test_loop.dataloader.dataset.metainfo)
        return EvaluatedModel(
            self.label, self._config, self._checkpoint, self.classes, results, metric, metrics, metainfo
        )

    def close(self) -> None:
        self._runner.close()


def model_name(path: str | Path) -> str:
    """Return the name of a config file, or of its folder for the config that a run wrote into its folder."""
    path = Path(path)
    return path.absolute().parent.name if path.name == CONFIG_FILE else path.stem
