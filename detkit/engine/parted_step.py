"""``PartedSteps``: a step for which the memory is too small is made again in parts (``out_of_memory='halve'``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from mmengine.dist import get_rank
from torch import Tensor

from detkit.engine.memory_errors import is_memory_error
from detkit.models.layers.keyed_dropout import keyed_dropout
from detkit.structures.gt_batch import GtBatch
from detkit.utils.errors import ConfigError
from detkit.utils.ranks import PartTotals, part_of_step

if TYPE_CHECKING:
    from detkit.engine.runner import Runner

POLICIES = ('stop', 'halve')


def check_memory_policy(runner: Runner, policy: str) -> None:
    """Refuse a policy that does not exist, or that several processes cannot follow.

    Raises:
        ConfigError: it is wrong.
    """
    if policy not in POLICIES:
        raise ConfigError(f'train_cfg.out_of_memory is {policy!r}; it must be one of {", ".join(POLICIES)}.')
    if policy == 'halve' and runner.world_size > 1:
        raise ConfigError(
            "train_cfg.out_of_memory='halve' is for one process: the others would wait in the middle of the step. Use "
            "'stop', with a smaller train_dataloader.batch_size and a greater optim_wrapper.accumulate."
        )


class PartedSteps:
    """Makes training steps, in equal parts of the batch where the memory is too small for the whole.

    The parts' gradients are summed as those of several processes are, see ``detkit.utils.ranks``: losses are divided by
    the numbers of the whole batch, which each part is computed twice for, and dropout is that of the whole. Only the
    statistics of normalisation are those of a part.

    Args:
        runner: with model and optimiser.
        policy: 'stop' raises the error of the memory; 'halve' makes the step again, at first in two parts.
    """

    def __init__(self, runner: Runner, policy: str) -> None:
        self.runner = runner
        self.policy = policy
        self._noted = False

    def make(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Make a step, and return its losses.

        Raises:
            MemoryError, RuntimeError: the memory is too small, also for a single image.
        """
        if self.policy == 'stop':
            return self._whole(batch)
        optim_wrapper, size = self.runner.optim_wrapper, len(batch['inputs'])
        before, num_parts = _StateBefore(self.runner), 1
        while True:
            try:
                return self._whole(batch) if num_parts == 1 else self._in_parts(batch, num_parts, before)
            except (MemoryError, RuntimeError) as error:
                has_stepped = optim_wrapper.pending != before.pending
                if not is_memory_error(error) or num_parts >= size or has_stepped:
                    raise
            # Only here, where the error is gone, is the memory of what it refers to free.
            num_parts = next(number for number in range(num_parts + 1, size + 1) if size % number == 0)
            before.restore()
            if self.runner.device.type == 'cuda':
                torch.cuda.empty_cache()
            self._note(size, num_parts)

    def _note(self, size: int, num_parts: int) -> None:
        text = (
            f'iteration {self.runner.iter + 1}: the memory is too small for {size} images; {num_parts} parts are tried'
        )
        if self._noted:
            self.runner.logger.info(text)
        else:
            self._noted = True
            self.runner.console.line(
                f'note     {text}. Such a step takes more than twice as long; a smaller batch_size, with '
                'optim_wrapper.accumulate, does not. Later ones are noted in the log file'
            )

    def _whole(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        runner = self.runner
        with keyed_dropout(runner.seed, runner.iter, get_rank() * len(batch['inputs'])):
            return runner.model.train_step(batch, optim_wrapper=runner.optim_wrapper)

    def _in_parts(self, batch: dict[str, Any], num_parts: int, before: _StateBefore) -> dict[str, Tensor]:
        model, optim_wrapper = self.runner.model, self.runner.optim_wrapper
        size = len(batch['inputs']) // num_parts
        starts = range(0, size * num_parts, size)
        totals = PartTotals(num_parts)
        with torch.no_grad():
            counted = [model.parse_losses(self._losses(batch, start, size, totals)) for start in starts]
        before.restore_buffers()
        if optim_wrapper.leave_out(sum(loss for loss, _ in counted)):
            return self._joined([values for _, values in counted])
        totals.complete = True
        outputs = []
        for start in starts:
            loss, values = model.parse_losses(self._losses(batch, start, size, totals))
            optim_wrapper.backward(loss if optim_wrapper.reduction == 'sum' else loss / num_parts)
            outputs.append({name: value.detach() for name, value in values.items()})
            del loss, values
        optim_wrapper.finish_batch()
        return self._joined(outputs)

    def _losses(self, batch: dict[str, Any], start: int, size: int, totals: PartTotals) -> dict[str, Tensor]:
        runner = self.runner
        part = part_of_batch(batch, slice(start, start + size))
        with (
            runner.optim_wrapper.optim_context(runner.model),
            keyed_dropout(runner.seed, runner.iter, start),
            part_of_step(totals),
        ):
            return runner.model(**runner.model.data_preprocessor(part, True), mode='loss')

    def _joined(self, outputs: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Return the values of the whole batch: losses as gradients are combined, and means of all others."""
        divisors = {
            name: 1 if 'loss' in name and self.runner.optim_wrapper.reduction == 'sum' else len(outputs)
            for name in outputs[0]
        }
        return {name: sum(values[name] for values in outputs) / divisor for name, divisor in divisors.items()}


class _StateBefore:
    """The state that a failed step has changed: statistics of normalisation, and gradients that wait for a step."""

    def __init__(self, runner: Runner) -> None:
        self.pending = runner.optim_wrapper.pending
        self._buffers = [(buffer, buffer.clone()) for buffer in runner.model.buffers()]
        self._gradients = [
            (param, None if param.grad is None or not self.pending else param.grad.clone())
            for param in runner.model.parameters()
        ]

    def restore(self) -> None:
        self.restore_buffers()
        for param, gradient in self._gradients:
            param.grad = None if gradient is None else gradient.clone()

    @torch.no_grad()
    def restore_buffers(self) -> None:
        for buffer, before in self._buffers:
            buffer.copy_(before)


def part_of_batch(batch: dict[str, Any], rows: slice) -> dict[str, Any]:
    """Return some images of a batch: those rows of its tensors, lists and ground truth that have one for each image."""
    size = len(batch['inputs'])

    def part(value: Any) -> Any:
        if isinstance(value, GtBatch):
            return value.select(rows)
        has_rows = (isinstance(value, Tensor) and value.dim() > 0) or isinstance(value, list)
        return value[rows] if has_rows and len(value) == size else value

    return {key: part(value) for key, value in batch.items()}
