"""Hooks that draw pictures of a training run and of every tested image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from mmengine.dist import is_main_process

from detkit.datasets.wrappers import records_of
from detkit.engine.hooks.hook import Hook
from detkit.registry import HOOKS
from detkit.structures.data_sample import DetDataSample
from detkit.utils.pictures import UniqueNames, check_folder_spares, write_picture
from detkit.visualization.drawing import draw_data_sample
from detkit.visualization.sheets import batch_sheet, prediction_sheet

if TYPE_CHECKING:
    from detkit.engine.runner import Runner


@HOOKS.register_module()
class RunPicturesHook(Hook):
    """Write pictures of the data, the predictions and the metrics of a run to its folder.

    - ``train_batch0.jpg``, ...: the first training batches as the network gets them, with all annotations
    - ``val_batch0.jpg``: the first images of the latest validation, ground truth beside predictions
    - after training, ``results.png``: the curves of ``results.csv``
    - after training, ``labels.png``: statistics of the training labels
    - after training, of the last validation, which is that of the best weights if there are any:
      ``confusion_matrix.png`` and ``.csv`` and, of a detector, ``pr_curve.png`` and ``f1_curve.png``

    The hook draws no random numbers, and keeps nothing of a batch but the few validation samples that it draws.

    Args:
        train_batches: number of training batches to draw.
        train_images: number of images of each.
        val_images: number of validation images to draw.
        score_thr: predictions below it are not drawn.
        curves: whether to write ``results.png``.
        evaluation_report: whether to write the other pictures after training.
    """

    priority = 'VERY_LOW'  # after whatever writes results.csv
    is_optional = True

    def __init__(
        self,
        train_batches: int = 3,
        train_images: int = 16,
        val_images: int = 8,
        score_thr: float = 0.25,
        curves: bool = True,
        evaluation_report: bool = True,
    ) -> None:
        self.train_batches = train_batches
        self.train_images = train_images
        self.val_images = val_images
        self.score_thr = score_thr
        self.curves = curves
        self.evaluation_report = evaluation_report
        self._trained = False
        self._val_samples: list[DetDataSample] = []

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        """Draw the batch while it is still as the data pipeline made it."""
        if runner.iter >= self.train_batches or not is_main_process() or not data_batch or 'gt' not in data_batch:
            return
        names = [Path(sample.metainfo.get('img_path') or '').name for sample in data_batch.get('data_samples') or ()]
        dataset = runner.train_dataloader.dataset
        sheet = batch_sheet(
            data_batch['inputs'].cpu(), data_batch['gt'], _classes(dataset), names, self.train_images, dataset.metainfo
        )
        # The counter moves on after the iteration.
        runner.log_picture(f'train_batch{runner.iter}.jpg', sheet, step=runner.iter + 1)

    def before_val_epoch(self, runner: Runner) -> None:
        self._val_samples = []

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Sequence[DetDataSample] | None = None,
    ) -> None:
        missing = self.val_images - len(self._val_samples)
        if missing > 0 and is_main_process():
            readable = [sample for sample in outputs or () if 'skipped' not in sample.metainfo]
            self._val_samples += readable[:missing]

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        samples = [sample for sample in self._val_samples if 'gt_instances' in sample or 'gt_label' in sample]
        self._val_samples = []
        if samples:
            dataset = runner.val_dataloader.dataset
            sheet = prediction_sheet(
                [_read(sample) for sample in samples], samples, _classes(dataset), self.score_thr, dataset.metainfo
            )
            runner.log_picture('val_batch0.jpg', sheet)

    def after_train(self, runner: Runner) -> None:
        self._trained = True
        if self.curves and is_main_process():
            from detkit.analysis.runs.run_pictures import write_curves  # Matplotlib takes a second

            write_curves(runner)

    def after_run(self, runner: Runner) -> None:
        """Draw the labels and the results of the last validation, which is that of the best weights."""
        if not (self.evaluation_report and self._trained and is_main_process()):
            return
        runner.check_folder()
        from detkit.analysis.runs.run_pictures import write_evaluation, write_labels

        write_labels(runner)
        write_evaluation(runner)


@HOOKS.register_module()
class SavePicturesHook(Hook):
    """Write a picture of every tested image: ground truth beside predictions, or predictions alone.

    Args:
        out_dir: the folder; it is made if need be.
        score_thr: predictions below it are not drawn.
        ground_truth: whether to put the ground truth beside them.
    """

    priority = 'LOW'

    def __init__(self, out_dir: str, score_thr: float = 0.25, ground_truth: bool = True) -> None:
        self.out_dir = Path(out_dir)
        self.score_thr = score_thr
        self.ground_truth = ground_truth
        self._names = UniqueNames()

    def before_test(self, runner: Runner) -> None:
        """Refuse a folder that is none, or whose own images the pictures could be written over."""
        check_folder_spares(self.out_dir, (record.img_path for record in records_of(runner.test_dataloader.dataset)))

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Sequence[DetDataSample] | None = None,
    ) -> None:
        dataset = runner.test_dataloader.dataset
        classes, metainfo = _classes(dataset), dataset.metainfo
        for sample in outputs or ():
            if 'skipped' in sample.metainfo:
                continue
            img = _read(sample)
            if self.ground_truth and ('gt_instances' in sample or 'gt_label' in sample):
                picture = prediction_sheet([img], [sample], classes, self.score_thr, metainfo)
            else:
                picture = draw_data_sample(img, sample, 'pred', classes, self.score_thr, keypoint_info=metainfo)
            write_picture(self.out_dir / self._names.name(Path(sample.img_path).stem, '.jpg'), picture, sample.img_path)

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        runner.console.line(f'{self._names.count} pictures in {self.out_dir}')
        if is_main_process():
            from detkit.analysis.runs.run_pictures import write_confusion_of

            write_confusion_of(runner.test_evaluator, runner.test_dataloader.dataset.metainfo, self.out_dir)


def _classes(dataset: Any) -> Sequence[str] | None:
    return dataset.metainfo.get('classes')


def _read(sample: DetDataSample) -> np.ndarray:
    from detkit.datasets.transforms.loading import read_image  # a picture of a dataset needs the dataset's reader

    return read_image(sample.img_path)
