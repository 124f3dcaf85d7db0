"""The charts of a run that has ended: its curves, its labels and its last validation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detkit.analysis.charts import save_figure
from detkit.analysis.data.annotations_table import make_table
from detkit.analysis.data.dataset_charts import plot_labels
from detkit.analysis.errors.confusion import write_confusion, write_confusion_matrix
from detkit.analysis.errors.evaluated_model import EvaluatedModel
from detkit.analysis.errors.precision_recall import write_curve_charts
from detkit.analysis.runs.run_charts import plot_curves
from detkit.analysis.runs.run_logs import read_results
from detkit.datasets.wrappers import records_of
from detkit.evaluation import AccuracyMetric, Evaluator

if TYPE_CHECKING:
    from detkit.engine.runner import Runner


def write_curves(runner: Runner) -> None:
    """Write ``results.png``, the curves of ``results.csv``, where there are any."""
    results = Path(runner.work_dir, 'results.csv')
    figure = plot_curves(read_results(results)) if results.is_file() else None
    if figure is not None:
        save_figure(figure, results.with_suffix('.png'))
        runner.log_picture('results.png')


def write_labels(runner: Runner) -> None:
    """Write ``labels.png``, statistics of the training labels, for datasets that have records."""
    dataset = runner.train_dataloader.dataset
    if records_of(dataset):
        save_figure(plot_labels(make_table('train', dataset)), Path(runner.work_dir, 'labels.png'))
        runner.log_picture('labels.png')


def write_evaluation(runner: Runner) -> None:
    """Write the pictures of the run's last validation, see ``write_evaluation_pictures``."""
    metric = runner.val_loop.evaluator.sample_metric if runner.val_loop is not None else None
    if metric is not None and metric.samples:
        metainfo = runner.val_dataloader.dataset.metainfo
        classes = tuple(metainfo['classes'])
        model = EvaluatedModel('', runner.cfg, '', classes, list(metric.samples), metric, {}, metainfo)
        for name in write_evaluation_pictures(model, runner.work_dir):
            runner.log_picture(name)


def write_evaluation_pictures(model: EvaluatedModel, folder: str | Path) -> list[str]:
    """Write ``confusion_matrix.png``, ``.csv`` and, of a detector, ``pr_curve.png`` and ``f1_curve.png``.

    Returns:
        The names of the pictures; none where there is neither an object nor a prediction.
    """
    pictures = []
    if model.classifies or any(len(sample.gt_instances) + len(sample.pred_instances) for sample in model.results):
        write_confusion_matrix(model, folder)
        pictures.append('confusion_matrix.png')
    if not model.classifies and write_curve_charts(model, Path(folder), model.metric.needs[-1]):
        pictures += ['pr_curve.png', 'f1_curve.png']
    return pictures


def write_confusion_of(evaluator: Evaluator, metainfo: Mapping[str, Any], folder: str | Path) -> None:
    """Write the confusion matrix of a classifier's metric, where there is one."""
    for metric in evaluator.metrics:
        if isinstance(metric, AccuracyMetric) and metric.confusion is not None:
            write_confusion(metric.confusion, metainfo.get('classes') or range(len(metric.confusion)), folder)
