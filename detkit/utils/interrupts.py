"""Interrupts while a process ends, which Python's wait for threads takes badly."""

from __future__ import annotations

import contextlib
import signal
import threading
from functools import cache

__all__ = ['die_of_interrupts', 'die_of_interrupts_at_exit']


def die_of_interrupts() -> None:
    """Let SIGINT end the process from now on, as it does where Python is not asked.

    At its end Python waits for its threads. An interrupt would break off that wait alone, and the first thread that
    comes back from PyTorch to an interpreter that is gone would abort the process (SIGABRT).
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        with contextlib.suppress(ValueError):  # outside of the main thread, where Python handles no signals
            signal.signal(signal.SIGINT, signal.SIG_DFL)


@cache
def die_of_interrupts_at_exit() -> None:
    """Let ``die_of_interrupts`` be called when this process ends, before Python waits for its threads.

    ``atexit`` comes too late for that: its functions are called after the wait. Where Python has no such place, or ends
    already, an interrupt does what it did.
    """
    register = getattr(threading, '_register_atexit', None)
    if register is not None:
        with contextlib.suppress(RuntimeError):
            register(die_of_interrupts)
