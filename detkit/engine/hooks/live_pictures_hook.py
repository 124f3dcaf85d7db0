"""A run's pictures, to the programs that ``log_to`` names."""

from pathlib import Path
from typing import Any

import cv2
from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from detkit.registry import HOOKS

_KINDS = ('.jpg', '.png')


@HOOKS.register_module()
class LivePicturesHook(Hook):
    """Hands every picture that appears in the run's folder, or changes there, to the run's visualiser.

    So whatever draws a picture need not know of the programs that show it. Without ``log_to`` nothing is looked at.
    """

    priority = 'LOWEST'  # after those that draw

    def __init__(self) -> None:
        self._known: dict[Path, tuple[int, int]] = {}

    def before_train(self, runner: Any) -> None:
        self._known = dict(_pictures(runner))  # of a resumed run these were shown before

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        # The counter moves on after this.
        self._send(runner, runner.iter + 1)

    def after_fit_epoch(self, runner: Any, metrics: dict[str, float] | None, improved: bool) -> None:
        self._send(runner, runner.iter)

    def after_train(self, runner: Any) -> None:
        self._send(runner, runner.iter)

    def after_run(self, runner: Any) -> None:
        if runner.is_training:  # asking a validation for its iteration would build the loop of training
            self._send(runner, runner.iter)

    def _send(self, runner: Any, step: int) -> None:
        for path, state in _pictures(runner):
            image = cv2.imread(str(path)) if self._known.get(path) != state else None
            if image is not None:
                self._known[path] = state
                runner.visualizer.add_image(path.stem, image[..., ::-1].copy(), step=step)


def _pictures(runner: Any) -> list[tuple[Path, tuple[int, int]]]:
    """Of the run's folder, each with what tells that it has changed; none where nobody asks for them."""
    if not (
        is_main_process() and hasattr(runner.visualizer, 'add_image') and getattr(runner.visualizer, 'backends', True)
    ):
        return []
    found = sorted(path for path in Path(runner.work_dir).iterdir() if path.suffix in _KINDS)
    return [(path, (path.stat().st_mtime_ns, path.stat().st_size)) for path in found]
