"""How the workers of a loader send their batches: in shared memory, or through a pipe where that has no room."""

from __future__ import annotations

import copy
import logging
import pickle
import re
from functools import cache, partial
from multiprocessing import get_context
from multiprocessing.context import BaseContext
from multiprocessing.queues import Queue
from typing import Any

from mmengine.logging import print_log
from torch._utils import ExceptionWrapper

from detkit.utils.errors import DataError, first_line


def worker_context(base: BaseContext | None = None) -> BaseContext:
    """Return a context of ``multiprocessing`` whose queues lose nothing that they cannot send.

    Python's own queue prints the error, drops the item, and whoever waits for that waits without end.

    Args:
        base: how processes are started; None for the default of this program.
    """
    context = copy.copy(base or get_context())
    context.Queue = partial(_BatchQueue, ctx=context)
    return context


@cache
def no_workers_reason() -> str:
    """Return why this system lets no worker process be used; empty where it does.

    Queues need locks that processes share, which a container without ``/dev/shm`` does not have.
    """
    try:
        get_context().Lock()
    except (ImportError, OSError) as error:
        return f'this system has no locks that processes share ({error}); on Linux they need a writable /dev/shm'
    return ''


class _BatchQueue(Queue):
    """A queue of batches, each with its number.

    A batch that cannot be shared, as the shared memory is full or too many files are open, is copied through the pipe.
    One that cannot be sent at all arrives as an error.
    """

    def _on_queue_feeder_error(self, error: Exception, item: tuple[Any, Any]) -> None:
        number, batch = item
        try:
            sent: Any = _Copied(pickle.dumps(batch), first_line(error))
        except Exception as reason:  # whatever a dataset of one's own puts into its samples
            message = f'a worker process cannot send its batch: {first_line(reason)}'
            sent = ExceptionWrapper((DataError, DataError(message), reason.__traceback__), 'in a worker process')
        self.put((number, sent))


class _Copied:
    """The bytes of a batch, which arrive as the batch itself."""

    def __init__(self, data: bytes, reason: str) -> None:
        self.data, self.reason = data, reason

    def __reduce__(self) -> tuple:
        return _received, (self.data, self.reason)


def _received(data: bytes, reason: str) -> Any:
    _note_copies(re.sub(' for file <.*?>', '', reason))  # that name is another one each time
    return pickle.loads(data)


@cache
def _note_copies(reason: str) -> None:
    print_log(
        f'a batch of a worker process is copied, which takes longer than to share it ({reason}): allow more shared '
        'memory (in Docker --shm-size=8g or --ipc=host) or more open files (ulimit -n), or use fewer num_workers',
        'current',
        logging.WARNING,
    )
