"""Parts of the configs that ``test_launchers`` starts: the dummy model, and a hook that ends its process once."""

import os
import signal
from pathlib import Path
from typing import Any

from mmengine.dist import get_rank

from detkit.engine.hooks import Hook
from detkit.registry import HOOKS

from . import dummy  # noqa: F401, its parts are named in configs


@HOOKS.register_module()
class SignalOnceHook(Hook):
    """Sends signals to the own process after an iteration, in the first attempt only.

    Args:
        number: the signal.
        iteration: number of completed iterations.
        ranks: the processes that send it; None for those whose environment has LOST_NODE, whose parent gets it first.
        marks: a folder, in which each process notes that it has.
    """

    priority = 'LOWEST'

    def __init__(self, number: int, iteration: int, ranks: list[int] | None, marks: str) -> None:
        self.number, self.iteration, self.ranks, self.marks = number, iteration, ranks, Path(marks)

    def after_fit_iter(self, runner: Any) -> None:
        mark = self.marks / f'signalled_{get_rank()}'
        is_chosen = 'LOST_NODE' in os.environ if self.ranks is None else get_rank() in self.ranks
        if runner.iter == self.iteration and is_chosen and not mark.exists():
            mark.touch()
            runner.checkpoint_writer.wait()
            if self.number != signal.SIGKILL:
                signal.raise_signal(self.number)
            else:
                if self.ranks is None:
                    os.kill(os.getppid(), signal.SIGKILL)
                os.kill(os.getpid(), signal.SIGKILL)
