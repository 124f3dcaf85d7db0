"""Losses and other values of training steps, which are read from the device in blocks."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import all_gather_object, all_reduce, get_world_size
from torch import Tensor

from detkit.utils.errors import DetkitError


class NonFiniteLossError(DetkitError):
    """A loss or gradient became infinite or not a number."""


class LossLog:
    """Collects the losses of each step, and reads them from the device only when asked.

    A loss is divided by the number of images of its batch, so that it can be compared. Values without 'loss' in their
    name, such as a classifier's accuracy, are logged as they are. Means are over images, so that a small last batch
    counts less, and over all processes.

    Args:
        checkpoint: where the run writes its last one, for the message of a non-finite loss.
    """

    def __init__(self, checkpoint: Path | None = None) -> None:
        self.checkpoint = checkpoint
        self.names: list[str] = []
        self.sums: list[float] = []
        self.count = 0
        self.latest: dict[str, float] = {}
        self._waiting: list[tuple[int, int, list[str], Tensor]] = []

    def add(
        self,
        iteration: int,
        losses: Mapping[str, Tensor],
        batch_size: int,
        images: list[str],
        grad_norm: Tensor | None = None,
        divisor: float | None = None,
    ) -> None:
        """Keep the values that a step returned.

        Args:
            iteration: number of iterations before.
            losses: scalars by name.
            batch_size: images of the batch.
            images: their names, for errors.
            grad_norm: only checked to be finite.
            divisor: the number that makes the losses means over the images; None for ``batch_size``.
        """
        self.names = [name for name in losses if name != 'loss'] or ['loss']
        values = [losses[name].detach().float() for name in self.names]
        divisor = batch_size if divisor is None else divisor
        values = [value / divisor if 'loss' in name else value for name, value in zip(self.names, values, strict=True)]
        values.append(values[0].new_zeros(()) if grad_norm is None else grad_norm.float())
        self._waiting.append((iteration, batch_size, images, torch.stack(values)))

    def read(self) -> None:
        """Read the values that are still on the device; every process has to call this at the same iterations.

        Raises:
            NonFiniteLossError: on every process; names the iteration, the loss and the images.
        """
        if not self._waiting:
            return
        values = torch.stack([values for *_, values in self._waiting])
        all_reduce(values, 'mean')
        rows = values.tolist()
        waiting, self._waiting = self._waiting, []
        for (iteration, batch_size, images, _), row in zip(waiting, rows, strict=True):
            bad = [
                name
                for name, value in zip([*self.names, 'gradient norm'], row, strict=True)
                if not math.isfinite(value) and ('loss' in name or name == 'gradient norm')
            ]
            if bad:
                images = [image for part in all_gather_object(images) for image in part]
                raise NonFiniteLossError(
                    f'iteration {iteration + 1}: {", ".join(bad)} is infinite or not a number. Its images: '
                    f'{", ".join(images) or "unknown"}. Check their labels, lower the learning rate, or train with '
                    f'optim_wrapper.amp=False. {self._remains()}'
                )
            if len(self.sums) != len(row) - 1:
                self.sums, self.count = [0.0] * (len(row) - 1), 0
            num_images = batch_size * get_world_size()
            self.sums = [total + value * num_images for total, value in zip(self.sums, row[:-1], strict=True)]
            self.count += num_images
            self.latest = {short_name(name): value for name, value in zip(self.names, row[:-1], strict=True)}

    def _remains(self) -> str:
        if self.checkpoint is None or not self.checkpoint.exists():
            return 'No checkpoint has been written yet.'
        return f'{self.checkpoint.name} is from before.'

    def means(self) -> dict[str, float]:
        """Return the means over the images of the epoch that have been read."""
        count = max(self.count, 1)
        return {short_name(name): total / count for name, total in zip(self.names, self.sums, strict=False)}

    def reset(self) -> None:
        """Start a new epoch."""
        self.sums, self.count = [], 0

    def state_dict(self) -> dict[str, Any]:
        self.read()
        return {'names': list(self.names), 'sums': list(self.sums), 'count': self.count}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        self.names, self.sums, self.count = list(state_dict['names']), list(state_dict['sums']), state_dict['count']


def short_name(name: str) -> str:
    """Return the name in logs: ``loss_box`` -> ``box``."""
    return name.removeprefix('loss_') or name
