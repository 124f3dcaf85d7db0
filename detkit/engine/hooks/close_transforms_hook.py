"""``CloseTransformsHook``: some transforms run in some epochs only, mosaic not in the last ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch.utils.data import Dataset

from detkit.datasets.pipeline_dataset import SwitchableDataset
from detkit.datasets.wrappers import leaf_datasets
from detkit.engine.hooks.hook import Hook
from detkit.registry import HOOKS, TRANSFORMS
from detkit.utils.errors import ConfigError, nearest

if TYPE_CHECKING:
    from detkit.engine.runner import Runner


@HOOKS.register_module()
class CloseTransformsHook(Hook):
    """Turn off transforms for the last epochs, and for the first ones if wanted.

    Those that mix images (mosaic, mixup, copy-paste) are meant unless others are named. A run may have several of these
    hooks, such as one for the mosaic and one for all of DEIM's strong augmentation. The hook sets each dataset's
    ``active_epochs``, which a sample compares with its own epoch.

    Args:
        num_epochs: number of epochs without them at the end; 0 for none.
        names: their names; None for all that mix images.
        start_epoch: number of epochs without them at the beginning.

    Raises:
        ConfigError: there is no transform of a name.
    """

    def __init__(self, num_epochs: int = 10, names: Sequence[str] | None = None, start_epoch: int = 0) -> None:
        for name in names or ():
            if TRANSFORMS.get(name) is None:
                raise ConfigError(
                    f'CloseTransformsHook.names has {name!r}, which is no registered transform.'
                    f'{nearest(name, TRANSFORMS.names())}'
                )
        self.num_epochs = num_epochs
        self.names = None if names is None else tuple(names)
        self.start_epoch = start_epoch

    def before_train(self, runner: Runner) -> None:
        self.close(runner.train_loop.dataloader.dataset, runner.train_loop.max_epochs)

    def close(self, dataset: Dataset, max_epochs: int) -> None:
        """Set the epochs in which a dataset runs the transforms, in a run of ``max_epochs``."""
        for leaf in leaf_datasets(dataset):
            if isinstance(leaf, SwitchableDataset):
                leaf.active_epochs |= self.active_epochs(leaf.mixing_transforms, max_epochs)

    def active_epochs(self, mixing: Sequence[str], max_epochs: int) -> dict[str, tuple[int, int | None]]:
        """Return the ``active_epochs`` that the hook sets, see ``SwitchableDataset``; none where it turns nothing off.

        Args:
            mixing: names of the transforms that mix images.
            max_epochs: epochs of the run.
        """
        if self.num_epochs <= 0 and self.start_epoch <= 0:
            return {}
        stop = max(max_epochs - self.num_epochs, 0) if self.num_epochs > 0 else None
        return dict.fromkeys(mixing if self.names is None else self.names, (self.start_epoch, stop))
