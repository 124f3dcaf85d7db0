"""Out of memory, as a sentence that says what would fit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from detkit.utils.errors import DetkitError
from detkit.utils.files import size_text

if TYPE_CHECKING:
    from detkit.engine.runner import Runner


class MemoryShortageError(DetkitError):
    """The memory of the device or of the machine is too small for the batch."""


@contextmanager
def explaining_memory_errors(runner: Runner) -> Iterator[None]:
    """Turn a lack of memory in the block into a ``MemoryShortageError``."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_memory_error(error):
            raise
        raise MemoryShortageError(_text(runner, error)) from error


def is_memory_error(error: BaseException) -> bool:
    """Return whether memory of a device or of the machine ran out."""
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    # Messages of PyTorch's allocators for CPU memory.
    return isinstance(error, RuntimeError) and any(
        text in str(error) for text in ("can't allocate memory", 'not enough memory')
    )


def _text(runner: Runner, error: BaseException) -> str:
    on_device = isinstance(error, torch.cuda.OutOfMemoryError)
    where = f'the memory of {runner.device}' if on_device else "the machine's memory"
    if on_device:
        used = size_text(torch.cuda.max_memory_allocated(runner.device))
        total = size_text(torch.cuda.get_device_properties(runner.device).total_memory)
        where += f' ({total}, of which this run had up to {used})'
    batch_size = runner.batch_size // runner.world_size
    if batch_size > 1:
        smaller = 1 << ((batch_size - 1).bit_length() - 1)  # the next smaller power of two
        settings = runner.cfg.get('optim_wrapper') or {}
        accumulate = round((settings.get('accumulate') or 1) * batch_size / smaller)
        same_step = (
            'a step still has the gradients of as many images'
            if settings.get('nominal_batch_size')
            else f'optim_wrapper.accumulate={accumulate} keeps the images of a step'
        )
        remedy = (
            f'train_dataloader.batch_size={smaller} (about {100 * smaller // batch_size} % of the memory) in place of '
            f'{batch_size}; {same_step}'
        )
    else:
        remedy = 'a smaller image size needs less'
    when = f'in iteration {runner.iter + 1}' if runner.is_training else 'before training'
    return f'{where} is full {when}. What would fit: {remedy}. Mixed precision (optim_wrapper.amp) needs less, too.'
