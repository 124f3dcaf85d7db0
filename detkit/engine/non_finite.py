"""Losses, gradients and weights that are infinite or not a number: stop, skip, or go back with a smaller rate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from mmengine.dist import all_gather_object, barrier
from torch import Tensor, nn

from detkit.datasets.loader import BatchLoader
from detkit.engine.checkpoint import find_resumable
from detkit.engine.launch import largest_of_ranks
from detkit.engine.loss_log import NonFiniteLossError
from detkit.engine.schedule import WarmupDecay
from detkit.engine.training_state import restore_training_state, unwrap
from detkit.utils.errors import ConfigError

if TYPE_CHECKING:
    from detkit.engine.runner import Runner

POLICIES = ('stop', 'skip', 'restore')
MAX_SKIPPED_IN_A_ROW = 10
MAX_RESTORES = 5


def check_policy(runner: Runner, policy: str) -> None:
    """Refuse a policy that does not exist, or that the schedule does not allow.

    Raises:
        ConfigError: it is wrong.
    """
    if policy not in POLICIES:
        raise ConfigError(f'train_cfg.non_finite is {policy!r}; it must be one of {", ".join(POLICIES)}.')
    others = [type(each).__name__ for each in runner.param_schedulers.schedulers if not isinstance(each, WarmupDecay)]
    if policy == 'restore' and others:
        raise ConfigError(
            f"train_cfg.non_finite='restore' goes back to earlier iterations, and {others[0]} only steps forward: use "
            "WarmupDecay as param_scheduler, or non_finite='skip'."
        )


def refuse_runaway_weights(runner: Runner) -> None:
    """Refuse to go on with weights, averages or statistics that are infinite, not a number, or beyond all use.

    Raises:
        NonFiniteLossError: on every process.
    """
    tensors = [*unwrap(runner.model).state_dict().values(), *(runner.ema.state_dict().values() if runner.ema else ())]
    if largest_of_ranks(not are_finite(tensors)):
        raise NonFiniteLossError(
            f'after iteration {runner.iter} the weights are infinite or not a number, and are not saved. Lower the '
            "learning rate, limit the gradients (optim_wrapper.clip_grad_norm), or set train_cfg.non_finite='skip'."
        )


@torch.no_grad()
def are_finite(tensors: list[Tensor]) -> bool:
    """Return whether the norms of all floating-point tensors are finite; waits for the device."""
    floats = [tensor.float() for tensor in tensors if tensor.is_floating_point() and tensor.numel()]
    return not floats or bool(torch.isfinite(torch.stack(torch._foreach_norm(floats))).all())


class SkippedBatches:
    """Undoes what a batch with a non-finite loss or gradient did: statistics of normalisation have seen it.

    Args:
        runner: with its optimiser, which leaves out the step, see ``AccumulatingOptimWrapper.skips_non_finite``.
    """

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.in_a_row = 0
        self._buffers: list[tuple[Tensor, Tensor]] = []

    def before_step(self) -> None:
        """Remember the model's buffers."""
        model: nn.Module = unwrap(self.runner.model)
        self._buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]

    @torch.no_grad()
    def undo(self, images: list[str]) -> None:
        """Restore the buffers after a batch that was left out; every process leaves out the same.

        Args:
            images: the paths of this process's images.

        Raises:
            NonFiniteLossError: too many batches in a row were.
        """
        for buffer, before in self._buffers:
            buffer.copy_(before)
        self.in_a_row += 1
        where = f'iteration {self.runner.iter + 1}: a loss or gradient is infinite or not a number'
        if self.in_a_row >= MAX_SKIPPED_IN_A_ROW:
            raise NonFiniteLossError(
                f'{where}, for the {self.in_a_row}th time in a row. Lower the learning rate, or train with '
                'optim_wrapper.amp=False.'
            )
        images = [path for part in all_gather_object(images) for path in part]  # which process's it was is not known
        self.runner.console.line(f'skipped  {where}; its images: {", ".join(images) or "unknown"}')


def restore_with_smaller_rate(runner: Runner, error: NonFiniteLossError) -> None:
    """Go back to the last checkpoint of the run, with half of the learning rate.

    Raises:
        NonFiniteLossError: ``error``, where there is no checkpoint, or the run went back too often.
    """
    loop = runner.train_loop
    runner.checkpoint_writer.wait()
    barrier()
    found = find_resumable(runner.work_dir)
    factor, loop.num_restores = loop.lr_factor / 2, loop.num_restores + 1
    if found.checkpoint is None or loop.num_restores > MAX_RESTORES:
        raise error
    if isinstance(loop.dataloader, BatchLoader):
        loop.dataloader.close()  # batches that were read ahead
    num_restores = loop.num_restores
    restore_training_state(runner, found.checkpoint, str(found.path))
    loop.num_restores = num_restores
    loop.scale_rates(factor)
    runner.console.close()
    runner.console.line(f'note     {error}')
    runner.console.line(
        f'restored {Path(found.path).name}: epoch {loop.epoch + 1}, iteration {loop.batch + 1}; learning rates are '
        f'multiplied by {factor:g} from now on ({num_restores} of {MAX_RESTORES})'
    )
    runner.call_hook('after_restore')
