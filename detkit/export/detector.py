"""``ExportedDetector``: a detector whose network is a session of a runtime; all else is as in PyTorch."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detkit.export.description import Description
from detkit.export.format import Session, find_format
from detkit.export.settings import MAX_INPUT
from detkit.models.detectors import ModelInfo
from detkit.models.detectors.base_detector import BaseDetector
from detkit.models.detectors.finished import finish_results
from detkit.protocols import Detector
from detkit.structures.data_sample import DetDataSample
from detkit.structures.gt_batch import GtBatch
from detkit.utils.errors import CheckpointError, ConfigError

_PAD_VALUE = 114  # as collate pads


class ExportedDetector(nn.Module, Detector):
    """A detector that ``Predictor``, ``Detector``, tests and benchmarks use as any other, but that cannot be trained.

    Args:
        template: a detector of the same config, whose head makes the results; its weights are not used.
        session: runs the network.
        description: what the file says about itself.
        info: see ``BaseDetector``.

    Attributes:
        info, truth, classifies, needs_img_shapes, input_size, takes_amp: see ``BaseDetector``.
        description: see above.
        of_checkpoint: whether it was exported in float32 to predict for a checkpoint, and is no file of a user's.
    """

    is_exported = True
    of_checkpoint = False

    def __init__(self, template: BaseDetector, session: Session, description: Description, info: ModelInfo) -> None:
        super().__init__()
        self.head = template.head
        self.data_preprocessor = _Unchanged()
        self.info = info
        self.truth = template.truth
        self.classifies = template.classifies
        self.needs_img_shapes = template.needs_img_shapes
        self.input_size = description.size
        self.takes_amp = find_format(description.format).takes_amp
        self.description = description
        self.session = session

    @property
    def device(self) -> torch.device:
        """The device that inputs are given on."""
        return torch.device('cpu')

    def forward(
        self,
        inputs: Tensor,
        gt: GtBatch | None = None,
        data_samples: list[DetDataSample] | None = None,
        mode: str = 'tensor',
    ) -> dict[str, Tensor] | list[DetDataSample]:
        """Run the network on images as ``collate`` makes them, see ``BaseDetector.forward``.

        The mode ``'tensor'`` returns decoded predictions, and ``'loss'`` is an error.

        Raises:
            ConfigError: an image is larger than the file's input, or a loss is asked for.
        """
        if mode == 'tensor':
            img_shapes = None if gt is None else gt.img_shapes
            if img_shapes is None and data_samples is not None:
                img_shapes = torch.tensor([sample.img_shape[:2] for sample in data_samples])
            return self.decode(inputs, img_shapes)
        if mode == 'predict':
            return self.predict(self(inputs, gt, data_samples), data_samples)
        raise ConfigError(
            f'{self.description.format} files predict only; train the checkpoint that the file was exported from'
        )

    def test_step(self, data: Mapping[str, Any]) -> list[DetDataSample]:
        """Predict on what ``collate`` made."""
        return self(**self.data_preprocessor(data), mode='predict')

    def decode(self, images: Tensor, img_shapes: Tensor | None = None) -> dict[str, Tensor]:
        """Return the session's outputs, see ``BaseDetector.decode``; padded and split as the file needs it."""
        images = self.padded(images)
        count = images.shape[0]
        if img_shapes is None:
            img_shapes = torch.tensor([images.shape[-2:]]).expand(count, -1)
        size = self.description.batch_size or max(count, 1)
        parts = [
            self._run(images[start : start + size], img_shapes[start : start + size], size)
            for start in range(0, count, size)
        ]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def padded(self, images: Tensor) -> Tensor:
        """Return images of the type and size that the file takes, padded at the right and below.

        Raises:
            ConfigError: they are larger than the input.
            CheckpointError: so many as the file takes at a time are more than a machine holds.
        """
        left, right, above, below = self._padding(images)
        height, width = images.shape[-2] + above + below, images.shape[-1] + left + right
        if (self.description.batch_size or 1) * height * width > MAX_INPUT:
            raise CheckpointError(
                f'the exported network takes {self.description.batch_size or 1} images of {height} x {width} at a '
                f'time, more than {MAX_INPUT:,} pixels: give smaller ones, or export the checkpoint again'
            )
        images = images.to(getattr(torch, self.description.input_type))
        return F.pad(images, (left, right, above, below), value=_PAD_VALUE)

    def _run(self, images: Tensor, img_shapes: Tensor, size: int) -> dict[str, Tensor]:
        """Run one batch, filled up with copies of its last image where the file takes a fixed number."""
        count = images.shape[0]
        index = torch.arange(size).clamp(max=count - 1)
        inputs = dict(images=images, img_shapes=img_shapes.cpu().to(torch.int64))
        if count < size:
            inputs = {name: value[index] for name, value in inputs.items()}
        outputs = self.session({name: inputs[name] for name in self.description.inputs})
        self._check_outputs(outputs, size)
        return {name: outputs[name][:count] for name in self.description.outputs}

    def _check_outputs(self, outputs: Mapping[str, Tensor], size: int) -> None:
        for name in self.description.outputs:
            if name not in outputs or outputs[name].dim() < 1 or outputs[name].shape[0] != size:
                raise CheckpointError(
                    f'the exported network gives no output {name!r} for {size} images, as its description says; it is '
                    'damaged: export the checkpoint again'
                )

        scores = outputs.get('scores')
        is_plain = scores is not None and self.description.suppression is None
        if is_plain and scores.shape[-1] != len(self.info.classes):
            raise CheckpointError(
                f'the exported network gives scores of {scores.shape[-1]} classes, but its description names '
                f'{len(self.info.classes)}; it is damaged or forged: export the checkpoint again'
            )
        if self.description.suppression is not None and bool((outputs['labels'] >= len(self.info.classes)).any()):
            raise CheckpointError(
                f'the exported network gives the label {int(outputs["labels"].max())}, but its description names '
                f'{len(self.info.classes)} classes; it is damaged or forged: export the checkpoint again'
            )

    def _padding(self, images: Tensor) -> tuple[int, int, int, int]:
        """Return how far to pad images left, right, above and below."""
        height, width = images.shape[-2:]
        divisor = self.description.divisor
        to = self.input_size or tuple(-(-side // divisor) * divisor for side in (height, width))
        if height > to[0] or width > to[1]:
            raise ConfigError(
                f'images are {height} x {width}, but the exported network takes {to[0]} x {to[1]}: give images of '
                'that size, or export with dynamic size'
            )
        return 0, to[1] - width, 0, to[0] - height

    def predict(self, preds: Mapping[str, Tensor], data_samples: list[DetDataSample]) -> list[DetDataSample]:
        """Return the head's results of decoded predictions, see ``BaseDetector.predict``."""
        metas = [sample.metainfo for sample in data_samples]
        if self.input_size is not None:
            metas = [{**meta, 'input_shape': self.input_size} for meta in metas]
        head = self.head
        if self.description.suppression is not None:
            head, preds = self._as_rows(preds)
        try:
            with torch.no_grad():
                results = head.results(preds, metas)
        except (KeyError, IndexError, RuntimeError, ValueError, TypeError) as error:
            raise CheckpointError(
                f'{type(self.head).__name__} can make no results of what the exported network gives '
                f'({type(error).__name__}: {error}). The file is damaged or forged: export the checkpoint again'
            ) from error
        return finish_results(results, preds, data_samples, self.head, self.truth)

    def _as_rows(self, outputs: Mapping[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
        """Return the head without suppression, and the rows of the graph's suppression as decoded predictions."""
        self.check_thresholds()
        head = copy.copy(self.head)
        head.test_cfg = {**self.head.test_cfg, 'iou_thr': 1.0}  # no overlap is above this
        scores, labels = outputs['scores'], outputs['labels']
        classes = torch.arange(len(self.info.classes))
        decoded = {name: value for name, value in outputs.items() if name not in ('labels', 'counts')}
        # (B, N) -> (B, N, C)
        decoded['scores'] = (labels.unsqueeze(-1) == classes).to(scores.dtype) * scores.unsqueeze(-1)
        return head, decoded

    def check_thresholds(self) -> None:
        """Raise ``ConfigError`` for thresholds that what the graph has suppressed cannot follow."""
        fixed, wanted = self.description.suppression, self.head.test_cfg
        if fixed is None:
            return
        if wanted.get('score_thr', 0.0) < fixed.score_thr:
            raise ConfigError(
                f'score_thr is {wanted.get("score_thr", 0.0)}, but the file was exported with nms and holds no '
                f'prediction below {fixed.score_thr}: ask for {fixed.score_thr} or more, or export it with a lower '
                'score_thr, or without nms (metrics need all predictions)'
            )
        if wanted.get('max_per_img', fixed.max_per_img) > fixed.max_per_img:
            raise ConfigError(
                f'max_per_img is {wanted["max_per_img"]}, but the file was exported with nms and holds '
                f'{fixed.max_per_img} predictions of an image at most: ask for no more, or export it with a greater '
                'max_per_img, or without nms'
            )
        for name in ('iou_thr', 'class_agnostic'):
            is_read = not self.head.TEST_KEYS or name in self.head.TEST_KEYS
            if is_read and wanted.get(name, getattr(fixed, name)) != getattr(fixed, name):
                raise ConfigError(
                    f'{name} is {wanted[name]}, but the file was exported with nms and {name} {getattr(fixed, name)}: '
                    f'leave it out, or export without nms'
                )


class _Unchanged(nn.Module):
    """The data preprocessor of an exported file, which takes images as ``collate`` makes them."""

    @property
    def device(self) -> torch.device:
        return torch.device('cpu')

    def forward(self, data: Mapping[str, Any], training: bool = False) -> dict[str, Any]:
        return {name: data.get(name) for name in ('inputs', 'gt', 'data_samples')}
