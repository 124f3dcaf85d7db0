"""The loops of validation and test, in float32 by default."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from mmengine.dist import get_world_size
from torch import nn
from torch.utils.data import DataLoader

from detkit.engine.amp import resolve_amp, warn_of_amp
from detkit.engine.stop_signals import ValidationStopped
from detkit.engine.training_state import unwrap
from detkit.evaluation.evaluator import Evaluator
from detkit.models.detectors import BaseDetector
from detkit.models.layers.fuse import fused
from detkit.registry import LOOPS
from detkit.structures.data_sample import DetDataSample

if TYPE_CHECKING:
    from detkit.engine.runner import Runner


class EvalLoop:
    """Runs the model over data and computes metrics; calls the hook points of ``split``.

    Args:
        runner: the runner.
        dataloader: the loader of the data, or its config.
        evaluator: the metrics, or their configs.
        amp: False for float32, or as in ``AccumulatingOptimWrapper``.

    Attributes:
        model: what predicts while the loop runs: the runner's model, or a faster one of the same weights and results.
    """

    split: ClassVar[str]
    model: nn.Module

    def __init__(
        self, runner: Runner, dataloader: DataLoader | dict, evaluator: Evaluator | dict | list, amp: bool | str = False
    ) -> None:
        self.runner = runner
        self.dataloader = runner.build_dataloader(dataloader)
        self.evaluator = evaluator if isinstance(evaluator, Evaluator) else Evaluator(evaluator)
        self.evaluator.dataset_meta = self.dataloader.dataset.metainfo
        self.amp = amp

    def run(self, keep: bool = False, batches: Iterable[dict[str, Any]] | None = None) -> dict[str, float]:
        """Return the results of all metrics.

        A signal to stop a training ends its validation early, see ``StopSignals``.

        Args:
            keep: see ``Evaluator.evaluate``.
            batches: a trial's, which replace the loader's.

        Raises:
            ValidationStopped: after such a signal.
        """
        model = unwrap(self.runner.model)
        warn_of_amp(self.amp, self.runner.device, isinstance(model, BaseDetector) and model.is_exported)
        call = self.runner.call_hook
        call(f'before_{self.split}')
        call(f'before_{self.split}_epoch')
        self.runner.model.eval()
        with fused(model):
            self.model = model.reparameterized() if isinstance(model, BaseDetector) else model
            for batch_idx, data_batch in enumerate(self.dataloader if batches is None else batches):
                self.run_iter(batch_idx, data_batch)
                if self.runner.stop_signals.received and get_world_size() == 1:  # several would have to agree on it
                    raise ValidationStopped
        metrics = self.evaluator.evaluate(len(self.dataloader.dataset), keep)
        call(f'after_{self.split}_epoch', metrics=metrics)
        call(f'after_{self.split}')
        return metrics

    @torch.no_grad()
    def run_iter(self, batch_idx: int, data_batch: dict[str, Any]) -> None:
        """Predict on a batch and hand the predictions to the metrics."""
        device = self.runner.device
        dtype = resolve_amp(self.amp, device)
        self.runner.call_hook(f'before_{self.split}_iter', batch_idx=batch_idx, data_batch=data_batch)
        with nullcontext() if dtype is None else torch.autocast(device.type, dtype):
            outputs = self.predict(data_batch)
        self.evaluator.process(outputs, data_batch)
        self.runner.call_hook(f'after_{self.split}_iter', batch_idx=batch_idx, data_batch=data_batch, outputs=outputs)

    def predict(self, data_batch: dict[str, Any]) -> list[DetDataSample]:
        """Return the model's predictions on a batch, a data sample an image."""
        return self.model.test_step(data_batch)


@LOOPS.register_module()
class ValLoop(EvalLoop):
    """The loop of validation; arguments as ``EvalLoop``."""

    split = 'val'


@LOOPS.register_module()
class TestLoop(EvalLoop):
    """The loop of a test; arguments as ``EvalLoop``."""

    split = 'test'
