"""Signals that end a process: an interrupt as Python waits for threads, and others that end it as an interrupt does."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Collection
from functools import cache
from types import FrameType

__all__ = [
    'Terminated',
    'die_of_interrupts',
    'die_of_interrupts_at_exit',
    'end_as_interrupted',
    'end_at_once',
    'signals_of',
]

# A supervisor's (systemd, docker stop), and that of a terminal that is closed, which Windows lacks.
_NAMES = ('SIGTERM', 'SIGHUP')


def signals_of(names: Collection[str]) -> list[signal.Signals]:
    """Return the signals of these names that the system has."""
    return [number for number in signal.Signals if number.name in names]


class Terminated(KeyboardInterrupt):
    """An interrupt by SIGTERM or SIGHUP.

    Attributes:
        signal_name: 'SIGTERM' or 'SIGHUP'.
    """

    def __init__(self, signal_name: str) -> None:
        super().__init__()
        self.signal_name = signal_name

    def end_process(self) -> None:
        """Let the signal end the process, so that its status says so."""
        number = signal.Signals[self.signal_name]
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)


def end_as_interrupted() -> None:
    """Let SIGTERM and SIGHUP raise ``Terminated`` from now on, in place of ending the process.

    So what is written is finished or removed, as after Ctrl+C. Signals that the process ignores stay ignored. Processes
    that are forked end as before.
    """
    for number in _numbers():
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _terminate)
    if hasattr(os, 'register_at_fork'):
        _end_forked_at_once()


@cache
def _end_forked_at_once() -> None:
    os.register_at_fork(after_in_child=end_at_once)


def end_at_once() -> None:
    """Let SIGTERM and SIGHUP end the process at once again.

    Python calls its handlers between its own instructions only: a process that waits for others in PyTorch would not
    end.
    """
    for number in _numbers():
        if signal.getsignal(number) is _terminate:
            signal.signal(number, signal.SIG_DFL)


def _numbers() -> list[signal.Signals]:
    """Return the signals; none outside of the main thread, where Python handles no signals."""
    if threading.current_thread() is not threading.main_thread():
        return []
    return signals_of(_NAMES)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated(signal.Signals(number).name)


def die_of_interrupts() -> None:
    """Let SIGINT end the process from now on, as it does where Python is not asked.

    At its end Python waits for its threads. An interrupt would break off that wait alone, and the first thread that
    comes back from PyTorch to an interpreter that is gone would abort the process (SIGABRT).
    """
    end_at_once()
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
