"""``TestedDetector``: a detector whose network runs in an execution mode, for the test of ``detkit test``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from detkit.analysis.speed.execution_modes import ExecutionMode, Network
from detkit.structures.data_sample import DetDataSample


class TestedDetector(nn.Module):
    """A detector as ``evaluation_runner`` takes it.

    Args:
        model: the detector, which prepares inputs and makes results of the network's predictions.
        network: its network, as ``network_maker`` makes it.
        mode: how the network is run.

    Attributes:
        head, info, input_size: those of ``model``.
    """

    __test__ = False  # of pytest

    def __init__(self, model: nn.Module, network: Network, mode: ExecutionMode) -> None:
        super().__init__()
        self.model, self.head = model, model.head
        self.info, self.input_size = model.info, model.input_size
        self._network, self._mode = network, mode

    def test_step(self, data: Mapping[str, Any]) -> list[DetDataSample]:
        """Predict on what ``collate`` made."""
        prepared = self.model.data_preprocessor(data, training=False)
        with self._mode.precision(self.model.data_preprocessor.device):
            preds = self._network(prepared)
            return self.model.predict(preds, prepared['data_samples'])
