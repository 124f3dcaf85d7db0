"""``CloseMosaicHook``: the last epochs without mosaic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.utils.data import Dataset

from detkit.datasets.pipeline_dataset import MixingDataset
from detkit.datasets.wrappers import leaf_datasets
from detkit.engine.hooks.hook import Hook
from detkit.registry import HOOKS

if TYPE_CHECKING:
    from detkit.engine.runner import Runner


@HOOKS.register_module()
class CloseMosaicHook(Hook):
    """Turn off mosaic, mixup and copy-paste for the last epochs.

    The hook tells each dataset its ``mix_until_epoch``; samples of later epochs have ``may_mix`` False.

    Args:
        num_epochs: number of epochs without them; 0 for none.
    """

    def __init__(self, num_epochs: int = 10) -> None:
        self.num_epochs = num_epochs

    def before_train(self, runner: Runner) -> None:
        self.close(runner.train_loop.dataloader.dataset, runner.train_loop.max_epochs)

    def close(self, dataset: Dataset, max_epochs: int) -> None:
        """Set the epoch from which on a dataset mixes no images, in a run of ``max_epochs``."""
        if self.num_epochs <= 0:
            return
        for leaf in leaf_datasets(dataset):
            if isinstance(leaf, MixingDataset):
                leaf.mix_until_epoch = max(max_epochs - self.num_epochs, 0)
