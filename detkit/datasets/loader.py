"""Building a ``DataLoader`` whose workers each make whole batches."""

from __future__ import annotations

import logging
import os
import signal
import threading
import warnings
from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence, Sized
from functools import cache, partial
from typing import Any

import cv2
import torch
from mmengine.logging import print_log
from torch.utils.data import DataLoader

from detkit.datasets.base import check_choice
from detkit.datasets.batch_renderer import BatchRenderer, ImageElsewhere, ImageStore
from detkit.datasets.pipeline_dataset import PipelineDataset
from detkit.datasets.samplers import EpochSampler
from detkit.datasets.transforms.render import Render
from detkit.datasets.worker_context import no_workers_reason, worker_context
from detkit.datasets.wrappers import leaf_datasets
from detkit.registry import DATA_SAMPLERS, DATASETS, FUNCTIONS
from detkit.utils.allocator import trim_memory
from detkit.utils.errors import ConfigError, DataError, DetkitError, nearest
from detkit.utils.interrupts import signals_of
from detkit.utils.processors import processors
from detkit.utils.variables import number_in_variable

# Keys that a dataloader's config may hold, besides ``dataset``, ``sampler`` and ``collate_fn``, and its default.
_DEFAULTS: dict[str, Any] = {
    'batch_size': 1,
    'num_workers': 0,
    'persistent_workers': True,
    'pin_memory': None,
    'drop_last': False,
    'prefetch_factor': None,
    'timeout': 0,
    'render_on': 'workers',
}
_MOST_WORKERS = 8  # where the config leaves their number open
# The transforms behind Render whose work a renderer of batches can do.
_DRAWN_LATER = {'RandomHSV', 'PackInputs'}


class BatchLoader(DataLoader):
    """PyTorch's loader, whose persistent workers can be ended, and are started again where one of them dies.

    Attributes:
        render_device: where whole batches are drawn from the dataset's cached images; None where workers draw images.
    """

    render_device: torch.device | None = None
    _renderer: BatchRenderer | None = None

    def __iter__(self) -> Iterator[Any]:
        if self.render_device is not None:
            self._store_images()  # before workers are forked, which would keep the images
        if self.num_workers > 0 and self._iterator is None:
            self.multiprocessing_context = worker_context(self.multiprocessing_context)
        if self.num_workers == 0 or not isinstance(self.batch_sampler, EpochSampler):
            batches = super().__iter__()
        else:
            batches = _GuardedBatches(self)
        return batches if self.render_device is None else map(self._rendered, batches)

    def check_worker_number_rationality(self) -> None:
        """Warn, in place of PyTorch, where there are more workers than processors, which slows all of them down."""
        if self.num_workers > processors():
            warnings.warn(
                f'num_workers={self.num_workers} of a data loader are more processes than the {processors()} '
                'processors that this one may use: they wait for each other. Leave num_workers to its default (None), '
                f'or write num_workers={processors()} or less',
                stacklevel=1,  # of one place, so that it is shown once a program
            )

    def make_batch(self, keys: Sequence[Any]) -> Any:
        """Return the batch of some keys of the dataset, made in this process."""
        batch = self.collate_fn(self.dataset.__getitems__(keys))
        return batch if self.render_device is None else self._rendered(batch)

    def _rendered(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return a batch whose images are drawn."""
        self._store_images()
        plan = batch['inputs'].to(self.render_device, non_blocking=True)
        return {**batch, 'inputs': self._renderer(plan)}

    def _store_images(self) -> None:
        """Move the cached images to the device; the datasets keep their sizes."""
        if self._renderer is not None:
            return
        caches = [leaf.cached_images for leaf in leaf_datasets(self.dataset)]
        self._renderer = BatchRenderer(ImageStore(dict(ChainMap(*caches)), self.render_device))
        for images in caches:
            images.update({path: ImageElsewhere(img.shape) for path, img in images.items()})

    def start(self) -> Iterator[Any]:
        """Return PyTorch's iterator.

        It reports a dead worker when the next batch is asked for; by PyTorch's handler of SIGCHLD the error would come
        in the middle of whatever the main thread does, such as a step of the optimiser.
        """
        if self._iterator is None:  # workers are forked now
            trim_memory()
        before = signal.getsignal(signal.SIGCHLD) if hasattr(signal, 'SIGCHLD') else None
        batches = super().__iter__()
        if before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGCHLD, before)
        return batches

    def close(self) -> None:
        """End the workers at once; left to the garbage collector they take seconds each."""
        self._iterator = None  # PyTorch keeps them here and has no method that ends them


class _GuardedBatches:
    """The batches of an epoch; where a worker dies, the workers are started once more at the batch that is missing."""

    def __init__(self, loader: BatchLoader) -> None:
        self.loader = loader
        sampler = loader.batch_sampler
        self.epoch, self.done = sampler.epoch, sampler.skipped_batches
        self.restarted = False
        self.batches: Iterator[Any] | None = None
        try:
            self.batches = loader.start()
        except RuntimeError as error:  # a worker died while it waited for this epoch
            if not _is_death(error):
                raise
            self._restart(error)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        while True:
            try:
                batch = next(self.batches)
            except RuntimeError as error:
                if not _is_death(error):
                    raise
                self._restart(error)
            except DetkitError as error:
                raise type(error)(_text_of_worker(error)) from error
            else:
                self.done += 1
                return batch

    def _restart(self, error: RuntimeError) -> None:
        """Start the workers again after the ``error`` of a dead one."""
        if self.restarted:
            raise DataError(
                f'a worker process of the data loader died for the second time in an epoch, at batch {self.done + 1} '
                f'({error}). Most often the system ends a process as the memory is full: use fewer workers '
                f'(num_workers={max(self.loader.num_workers // 2, 1)}), a smaller prefetch_factor, or no cache.'
            ) from error
        print_log(f'{error}; the workers are started again', 'current', logging.WARNING)
        self.restarted = True
        self.batches = None  # which ends the other workers
        self.loader.close()
        sampler = self.loader.batch_sampler
        sampler.set_epoch(self.epoch)
        sampler.skip(self.done)
        self.batches = self.loader.start()


def _text_of_worker(error: DetkitError) -> str:
    """Return the text of an error that a worker process raised, without the traceback that PyTorch puts before it."""
    text = error.args[0]
    start = f'{type(error).__module__}.{type(error).__qualname__}: '
    return text.rpartition(f'\n{start}')[2].rstrip('\n') if text.startswith('Caught ') else text


def _is_death(error: RuntimeError) -> bool:
    """Return whether an error of PyTorch's loader says that a worker process has died."""
    return str(error).startswith('DataLoader worker (pid')


def number_of_workers(num_workers: int | None, num_batches: int | None = None) -> int:
    """Return the number of worker processes of a data loader.

    Args:
        num_workers: the config's; None for one a processor that this process may use, which the processes of a
            distributed run on a machine share, 8 at most, and none where the system lets nobody use any.
        num_batches: those of an epoch, which more workers could not make at once; None where unknown.

    Raises:
        ConfigError: the config asks for workers, and the system lets nobody use any.
    """
    reason = '' if num_workers == 0 else no_workers_reason()
    if num_workers is not None:
        if reason:
            raise ConfigError(f'num_workers={num_workers} asks for worker processes, but {reason}; write num_workers=0')
        return num_workers
    if reason:
        _note_no_workers(reason)
        return 0
    share = max(processors() // number_in_variable('LOCAL_WORLD_SIZE', 1, least=1), 1)
    return min(share, _MOST_WORKERS, *(() if num_batches is None else (num_batches,)))


@cache  # once a program
def _note_no_workers(reason: str) -> None:
    print_log(f'batches are made without worker processes, as {reason}', 'current', logging.WARNING)


def build_dataloader(cfg: dict, seed: int, device_type: str = 'cpu') -> BatchLoader:
    """Return a loader of the batches that ``cfg`` describes.

    The loader's ``batch_sampler`` is the ``EpochSampler``: call its ``set_epoch`` before each iteration, and its
    ``skip`` to enter an epoch midway.

    Args:
        cfg: ``dataset``, ``sampler`` and ``collate_fn`` (configs, or objects already built; the defaults are an
            ``EpochSampler`` and ``collate``), ``batch_size`` of one process, ``num_workers`` (see
            ``number_of_workers``), ``persistent_workers``, ``pin_memory`` (default: where the device is a GPU),
            ``drop_last``, ``prefetch_factor``, ``timeout``;
            ``render_on``: 'workers' to draw each image in a worker, or 'device' to draw whole batches on the device of
            the run, where all images are kept decoded (``cache='ram'`` of each dataset).
        seed: the run's seed, which keys the order and every random choice of the pipeline.
        device_type: where the batches will be used, 'cpu' or 'cuda'.

    Raises:
        ConfigError: a key is unknown, ``dataset`` is missing, its ``mix_group_size`` does not divide ``batch_size``, or
            its images cannot be drawn on the device.
        DataError: from the dataset.
    """
    cfg = dict(cfg)
    dataset = cfg.pop('dataset', None)
    sampler = cfg.pop('sampler', None) or {'type': 'EpochSampler'}
    collate = cfg.pop('collate_fn', None) or {'type': 'collate'}
    if dataset is None:
        raise ConfigError("a dataloader's config needs the key 'dataset'")
    for key in cfg.keys() - _DEFAULTS.keys():
        known = [*_DEFAULTS, 'dataset', 'sampler', 'collate_fn']
        raise ConfigError(
            f'a dataloader has no argument {key!r}; it takes {", ".join(sorted(known))}.{nearest(key, known)}'
        )
    options = {**_DEFAULTS, **cfg}
    if isinstance(dataset, dict):
        dataset = DATASETS.build(dataset)
    batch_size, drop_last = options['batch_size'], options['drop_last']
    _check_mix_groups(dataset, batch_size)
    if isinstance(sampler, dict):
        defaults = {'batch_size': batch_size, 'drop_last': drop_last, 'seed': seed}
        sampler = DATA_SAMPLERS.build({**defaults, **sampler, 'dataset': dataset})
    check_choice('render_on', options['render_on'], ('workers', 'device'))
    if options['render_on'] == 'device':
        divisor = collate.get('size_divisor', 1) if isinstance(collate, Mapping) else 1
        if divisor > 1:
            raise ConfigError(
                f"render_on='device' draws batches as large as their images, and pads none to size_divisor={divisor} "
                "of collate_fn: use render_on='workers'"
            )
        _defer_rendering(dataset)
    if isinstance(collate, dict):
        collate = _build_function(collate)
    num_workers = number_of_workers(options['num_workers'], len(sampler) if isinstance(sampler, Sized) else None)
    loader = BatchLoader(
        dataset,
        batch_sampler=sampler,
        collate_fn=collate,
        num_workers=num_workers,
        persistent_workers=options['persistent_workers'] and num_workers > 0,
        pin_memory=device_type == 'cuda' if options['pin_memory'] is None else options['pin_memory'],
        prefetch_factor=options['prefetch_factor'] if num_workers > 0 else None,
        timeout=options['timeout'] if num_workers > 0 else 0,
        worker_init_fn=init_worker,
        # Its own generator, because the loader draws from it at each epoch's start and must leave the global one alone.
        generator=torch.Generator(),
    )
    if options['render_on'] == 'device':
        loader.render_device = torch.device(device_type)
    return loader


def empty_epoch(num_images: int, batch_size: int) -> DataError:
    """Return the error for training images that do not fill a batch, where ``drop_last`` leaves out what is left."""
    images = 'is 1 training image' if num_images == 1 else f'are {num_images} training images'
    remedy = f'write batch_size={num_images}, or ' if num_images else 'write '
    return DataError(
        f'an epoch has no batch: there {images}, fewer than the {batch_size} of a batch, and '
        f'train_dataloader.drop_last leaves them out; {remedy}train_dataloader.drop_last=False'
    )


def init_worker(worker_id: int) -> None:
    """Keep a worker to one thread, and let the main process decide when it ends.

    A terminal or a scheduler sends its signals to a worker, too, which the main process still needs for the step in
    which it stops. The main process's thread count is never touched.
    """
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    for number in signals_of(('SIGINT', 'SIGHUP', 'SIGUSR1')):
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, 'sigwaitinfo'):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Wait for SIGTERM of the parent process, and end the worker; those of others are ignored."""
    parent = os.getppid()
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid not in (parent, os.getpid()):
        pass
    os._exit(0)


def _defer_rendering(dataset: Any) -> None:
    """Let pipelines describe their images instead of drawing them.

    Raises:
        ConfigError: images are not cached, or a transform needs their pixels.
    """
    for leaf in leaf_datasets(dataset):
        name = type(leaf).__name__
        if not isinstance(leaf, PipelineDataset) or leaf.cached_images is None:
            raise ConfigError(f"render_on='device' draws decoded images, but {name} keeps none: set cache='ram' in it")
        kinds = [type(step).__name__ for step in leaf.transforms]
        renders = [step for step in leaf.transforms if isinstance(step, Render)]
        if len(renders) != 1:
            raise ConfigError(
                f"render_on='device' needs one Render in the pipeline of {name}, which has {len(renders)}"
            )
        behind = kinds[kinds.index('Render') + 1 :]
        unfit = [kind for kind in behind if kind not in _DRAWN_LATER]
        unfit += [kind for kind in kinds if kind in ('RandAugment', 'RandomChoice')]
        if renders[0].resampling.antialias:
            unfit.append('Render(antialias=True)')
        if unfit:
            raise ConfigError(
                f"render_on='device' cannot do {', '.join(unfit)} in the pipeline of {name}: behind Render it knows "
                f"{' and '.join(sorted(_DRAWN_LATER))}. Leave the transform out, or use render_on='workers'"
            )
        renders[0].deferred = True


def _check_mix_groups(dataset: Any, batch_size: int) -> None:
    """Check that a batch holds whole mix groups, because a worker sees no image outside its batch."""
    for leaf in leaf_datasets(dataset):
        mix_group_size = getattr(leaf, 'mix_group_size', None)  # a user's dataset need not have it
        if mix_group_size is not None and batch_size % mix_group_size:
            raise ConfigError(
                f'mix_group_size={mix_group_size} of {type(leaf).__name__} does not divide batch_size={batch_size}'
                '; write a divisor of it, or another train_dataloader.batch_size'
            )


def _build_function(cfg: dict) -> Any:
    """Return the registered function of a config, with the config's other keys bound as arguments."""
    options = dict(cfg)
    function = FUNCTIONS.get(options.pop('type'))
    if function is None:
        name = cfg['type']
        raise ConfigError(f'the function {name!r} is not registered.{nearest(name, FUNCTIONS.module_dict)}')
    return partial(function, **options) if options else function
