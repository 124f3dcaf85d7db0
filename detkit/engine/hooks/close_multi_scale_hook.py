"""``CloseMultiScaleHook``: the last epochs train at one size of images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detkit.engine.hooks.hook import Hook
from detkit.engine.training_state import unwrap
from detkit.models.data_preprocessor import DetDataPreprocessor
from detkit.registry import HOOKS
from detkit.utils.errors import ConfigError

if TYPE_CHECKING:
    from detkit.engine.runner import Runner


@HOOKS.register_module()
class CloseMultiScaleHook(Hook):
    """Leave out ``multi_scale`` of the data preprocessor in the last epochs, as D-FINE and DEIM do.

    Args:
        num_epochs: the number of epochs without it at the end; 0 for none.

    Raises:
        ConfigError: the model's data preprocessor has no ``multi_scale``.
    """

    def __init__(self, num_epochs: int) -> None:
        self.num_epochs = num_epochs
        self._own: tuple[float, ...] | None = None  # the sizes before the last epochs

    def before_train_epoch(self, runner: Runner) -> None:
        loop = runner.train_loop
        is_late = self.num_epochs > 0 and loop.epoch >= loop.max_epochs - self.num_epochs
        if not is_late and self._own is None:
            return
        preprocessor = unwrap(runner.model).data_preprocessor
        if not isinstance(preprocessor, DetDataPreprocessor):
            raise ConfigError(
                f'CloseMultiScaleHook turns off multi_scale of a DetDataPreprocessor, but model.data_preprocessor is a '
                f'{type(preprocessor).__name__}; {self.omission(runner)}'
            )
        if is_late:
            self._own = self._own or preprocessor.multi_scale
            preprocessor.multi_scale = None
        else:  # training went back to a checkpoint
            preprocessor.multi_scale, self._own = self._own, None
