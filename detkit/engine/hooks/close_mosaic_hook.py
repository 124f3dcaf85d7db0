"""``CloseMosaicHook``: the last epochs without mosaic."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from detkit.datasets.wrappers import leaf_datasets
from detkit.engine.hooks.hook import Hook
from detkit.registry import HOOKS

if TYPE_CHECKING:
    from detkit.engine.runner import Runner


@HOOKS.register_module()
class CloseMosaicHook(Hook):
    """Turns off the transforms that mix several images for the last epochs.

    It sets ``until_epoch`` of every transform that has it, before any worker starts. A transform compares it with its
    sample's epoch, so that nothing depends on when workers are started or on where a run is resumed.

    Args:
        num_epochs: number of epochs without them; 0 for none.
    """

    def __init__(self, num_epochs: int = 10) -> None:
        self.num_epochs = num_epochs

    def before_train(self, runner: Runner) -> None:
        self.close(runner.train_loop.dataloader.dataset, runner.train_loop.max_epochs)

    def close(self, dataset: Any, max_epochs: int) -> None:
        """Set the epoch from which on the transforms of a dataset are off, in a run of ``max_epochs``."""
        if self.num_epochs <= 0:
            return
        until = max(max_epochs - self.num_epochs, 0)
        for leaf in leaf_datasets(dataset):
            for transform in all_transforms(getattr(leaf, 'transforms', ())):
                if hasattr(transform, 'until_epoch'):
                    transform.until_epoch = until


def all_transforms(transforms: Iterable[Any]) -> Iterator[Any]:
    """Yield the transforms of a pipeline, and those inside others (``RandomChoice``)."""
    for transform in transforms:
        if isinstance(transform, list | tuple):
            yield from all_transforms(transform)
        else:
            yield transform
            yield from all_transforms(getattr(transform, 'transforms', ()))
