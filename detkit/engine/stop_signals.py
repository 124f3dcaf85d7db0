"""``StopSignals``: a signal stops training after the step, with a checkpoint of that very iteration."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from detkit.engine.launch import largest_of_ranks
from detkit.utils.interrupts import signals_of

# The exit status of a training that a signal stopped, and that --resume goes on with (EX_TEMPFAIL of sysexits.h).
STOPPED_STATUS = 75
# SIGHUP: the terminal is closed; SIGUSR1: Slurm's warning before a job's end. Windows has neither.
_NAMES = ('SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR1')


class TrainingStopped(SystemExit):
    """Training ended after a signal, and can be resumed; where nothing handles it, the status is ``STOPPED_STATUS``.

    Attributes:
        signal_name: 'SIGTERM', 'SIGINT', 'SIGHUP' or 'SIGUSR1'; 'SIGPIPE' where the reader of the output has gone.
    """

    def __init__(self, signal_name: str) -> None:
        super().__init__(STOPPED_STATUS)
        self.signal_name = signal_name

    def __str__(self) -> str:
        return f'training was stopped by {self.signal_name}'


class ValidationStopped(Exception):
    """A validation was left because of a signal; it is done again when the run is resumed."""


class StopSignals:
    """A context in which SIGTERM, SIGINT, SIGHUP and SIGUSR1 are noted instead of ending the process.

    A second SIGINT raises ``KeyboardInterrupt``. Signals that the process ignores stay ignored. Outside the main
    thread, where Python handles no signals, the context does nothing.

    Attributes:
        received: the number of the first signal; 0 for none.
        ends_process: whether the process ends when training is stopped. Slurm, systemd and torchrun repeat their
            signals; from then on these are ignored, so that the process ends with ``STOPPED_STATUS``.
    """

    def __init__(self) -> None:
        self.received = 0
        self.ends_process = False
        self._is_entered = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        self.received, self._is_entered = 0, True
        if threading.current_thread() is threading.main_thread():
            for number in signals_of(_NAMES):
                if signal.getsignal(number) not in (signal.SIG_IGN, None):  # None: a handler that is not Python's
                    self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._is_entered = False
        is_end = self.ends_process and kind is not None and issubclass(kind, TrainingStopped)
        for number, handler in self._previous.items():
            signal.signal(number, signal.SIG_IGN if is_end and number != signal.SIGINT else handler)
        self._previous = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = self.received or number

    def note_lost_reader(self) -> bool:
        """Note that the reader of the output has gone, as a signal; return whether training is stopped by it."""
        number = max(signals_of(['SIGPIPE']), default=0)  # which Python ignores
        if self._is_entered:
            self.received = self.received or number
        return self._is_entered and number > 0

    def agreed(self) -> int:
        """Return the number of a signal that any process received, the same on all; each process must call it."""
        return int(largest_of_ranks(self.received))
