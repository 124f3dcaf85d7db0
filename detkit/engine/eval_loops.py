"""Validation and test: mmengine's loops, in float32 unless asked otherwise."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from mmengine.evaluator import Evaluator
from mmengine.runner import TestLoop as MMEngineTestLoop
from mmengine.runner import ValLoop as MMEngineValLoop
from torch.utils.data import DataLoader

from detkit.engine.amp import resolve_amp
from detkit.registry import LOOPS


class _Precision:
    """Runs a loop's iterations in the format of its ``amp``."""

    amp: bool | str
    runner: Any

    def precision(self) -> AbstractContextManager:
        device = self.runner.device
        dtype = resolve_amp(self.amp, device)
        return nullcontext() if dtype is None else torch.autocast(device.type, dtype)

    def run_iter(self, idx: int, data_batch: dict) -> None:
        with self.precision():
            super().run_iter(idx, data_batch)


@LOOPS.register_module()
class ValLoop(_Precision, MMEngineValLoop):
    """Runs the model over the validation data and computes its metrics.

    Args:
        runner: the runner.
        dataloader: of the validation data, or its config.
        evaluator: the metrics, or their configs.
        amp: False for float32, or as in ``AccumulatingOptimWrapper``.
    """

    def __init__(
        self, runner: Any, dataloader: DataLoader | dict, evaluator: Evaluator | dict | list, amp: bool | str = False
    ) -> None:
        super().__init__(runner, dataloader, evaluator)
        self.amp = amp


@LOOPS.register_module()
class TestLoop(_Precision, MMEngineTestLoop):
    """Runs the model over the test data and computes its metrics; arguments as ``ValLoop``."""

    def __init__(
        self, runner: Any, dataloader: DataLoader | dict, evaluator: Evaluator | dict | list, amp: bool | str = False
    ) -> None:
        super().__init__(runner, dataloader, evaluator)
        self.amp = amp
