"""Where a run's messages go besides the console."""

import logging

from detkit.engine.console import Console, ConsoleHandler


class LogFiles:
    """Sets up a run's logger: everything into its file, its own warnings also onto the console.

    Warnings that other libraries raise go into the file alone; they are for whoever looks for a cause, not for whoever
    waits for a result.

    Args:
        logger: with the file handlers that mmengine made (none on other processes than the first).
        console: of the run.
        capture_warnings: take over python's warnings until ``close``.
    """

    def __init__(self, logger: logging.Logger, console: Console, capture_warnings: bool) -> None:
        self.logger = logger
        self.files = [handler for handler in logger.handlers if isinstance(handler, logging.FileHandler)]
        logger.handlers[:] = [*self.files, ConsoleHandler(console)]
        self.captures_warnings = capture_warnings
        if capture_warnings:
            logging.captureWarnings(True)
            third_party = logging.getLogger('py.warnings')
            third_party.propagate = False
            third_party.handlers[:] = self.files or [logging.NullHandler()]

    def close(self) -> None:
        """Close the files and give python's warnings back."""
        if self.captures_warnings:
            logging.captureWarnings(False)
            logging.getLogger('py.warnings').handlers.clear()
            self.captures_warnings = False
        for handler in self.files:
            self.logger.removeHandler(handler)
            handler.close()
        self.files = []
