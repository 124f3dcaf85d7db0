"""Published weights that a config for one's own data starts from where it names none."""

from __future__ import annotations

from pathlib import Path

from mmengine.dist import all_gather_object

from detkit.registry import WEIGHTS_BY_NAME


def find_default_weights(name: str) -> tuple[Path | None, str]:
    """Return the file of published weights that nobody asked for, and why it is not used; the same in all processes.

    Args:
        name: the config's ``default_load_from``.
    """
    path, reason = WEIGHTS_BY_NAME.get('fetch_unasked')(name)
    found = all_gather_object((None if path is None else str(path), reason))
    reasons = [reason for path, reason in found if path is None]
    return (None, reasons[0]) if reasons else (path, '')


def random_start(name: str, reason: str, steps: int) -> str:
    """Return a line on a training that starts from random weights in place of published ones.

    Args:
        name: the published weights.
        reason: why they are not used.
        steps: the optimiser's steps of the training.
    """
    return (
        f'start    random weights: {reason}. From these, a model takes thousands of steps of the optimiser for what '
        f'takes hundreds from trained ones; this run makes {steps:,}. To start from trained ones: load_from={name}'
    )
