"""The console and the log file of a run: a few lines, then a line an epoch; the file holds everything."""

import logging
import sys

from mmengine.dist import is_main_process

from detkit.engine.stop_signals import StopSignals
from detkit.utils.lost_streams import discard, outlived
from detkit.utils.printable import is_terminal, printable
from detkit.utils.progress import ProgressBar


class Console:
    """Shows lines and progress bars on the main process's terminal; every line also goes to the log.

    Where the output is no terminal a bar is one line, printed when it is done.

    Args:
        logger: the logger of the run.
        stop_signals: by which training is stopped where the reader of the output has gone.
    """

    def __init__(self, logger: logging.Logger, stop_signals: StopSignals | None = None) -> None:
        self.logger = logger
        self._stop_signals = stop_signals or StopSignals()
        self.is_terminal = is_terminal(sys.stdout)
        self._bar: ProgressBar | None = None

    def line(self, text: str) -> None:
        """Show and log a line."""
        text = printable(text)
        self.logger.info(text)
        self.show(text)

    def show(self, text: str) -> None:
        """Show a line without logging it."""
        if not is_main_process():
            return
        if self._bar is not None:
            self._bar.print(text)
        else:
            self._print(text)

    def start_bar(self, title: str, total: int, done: int = 0, transient: bool = False) -> None:
        """Begin a progress bar over ``total`` steps; a transient one leaves no line when it is closed."""
        if is_main_process() and self.is_terminal:
            self._bar = ProgressBar(title, total, done, transient)

    def update_bar(self, done: int, text: str) -> None:
        """Move the bar; it is drawn a few times a second at most."""
        if self._bar is not None:
            self._bar.update(done, text)

    @property
    def wants_update(self) -> bool:
        """Whether a bar would be redrawn now, so that its text is needed."""
        return self._bar is not None and self._bar.due

    def end_bar(self, title: str, text: str) -> None:
        """Close the bar, leaving its last line, and log that."""
        self.logger.info(f'{title} {text}')
        if self._bar is not None:
            self._bar.end(text)
            self._bar = None
        elif is_main_process():
            self._print(f'{title} {text}')

    def close(self) -> None:
        """Remove an open bar, for example after an error."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _print(self, text: str) -> None:
        """Print a line; one that a full disk has no space for is in the log file at most."""
        try:
            with outlived(sys.stdout):
                print(text, flush=True)
        except BrokenPipeError:  # the reader has gone, and with it the wish for the run
            if not self._stop_signals.note_lost_reader():
                raise
            discard(sys.stdout)
        except OSError:
            return


class ConsoleHandler(logging.Handler):
    """Shows warnings of the run's own logger without breaking a progress bar."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.WARNING)
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        self.console.show(f'{record.levelname.lower()}: {record.getMessage()}')


class LogFiles:
    """Sets up a run's logger: everything into its file, its own warnings also onto the console.

    Warnings of other libraries go into the file alone.

    Args:
        logger: with the file handlers that mmengine made, which only the main process has.
        console: the console of the run.
        capture_warnings: handle Python's warnings until ``close``.
    """

    def __init__(self, logger: logging.Logger, console: Console, capture_warnings: bool) -> None:
        self.logger = logger
        self.files = [handler for handler in logger.handlers if isinstance(handler, logging.FileHandler)]
        for handler in self.files:
            handler.handleError = self._note_failure
            handler.stream.reconfigure(encoding='utf-8', errors='backslashreplace')  # whatever the locale is
        self._console, self._has_failed = console, False
        logger.handlers[:] = [*self.files, ConsoleHandler(console)]
        self.captures_warnings = capture_warnings
        if capture_warnings:
            logging.captureWarnings(True)
            third_party = logging.getLogger('py.warnings')
            third_party.propagate = False
            third_party.handlers[:] = self.files or [logging.NullHandler()]

    def _note_failure(self, record: logging.LogRecord) -> None:
        """Say once that the log file cannot be written, in place of logging's traceback for each line."""
        if not self._has_failed:
            self._has_failed = True
            self._console.show(f'note     the log file cannot be written ({sys.exc_info()[1]}); the run goes on')

    def close(self) -> None:
        """Close the files and stop capturing Python's warnings."""
        if self.captures_warnings:
            logging.captureWarnings(False)
            logging.getLogger('py.warnings').handlers.clear()
            self.captures_warnings = False
        for handler in self.files:
            self.logger.removeHandler(handler)
            try:
                handler.close()
            except OSError:  # what a full disk had no space for
                self._console.show('note     the last lines of the log file could not be written')
        self.files = []
