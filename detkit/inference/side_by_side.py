"""Two batches of small inputs at a time, each in a thread of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier, BrokenBarrierError
from typing import TypeVar

import torch
from torch import nn
from torch.nn.modules.module import _has_any_global_hook
from torch.overrides import _get_current_function_mode
from torch.utils._python_dispatch import _get_current_dispatch_mode

from detkit.inference.source_image import SourceImage
from detkit.models.layers.norm_silu import has_hooks
from detkit.models.layers.precision import autocast_type

T = TypeVar('T')
# Pixels of a batch up to which two at a time were found to be faster than one with all threads.
MAX_BATCH_PIXELS = 1 << 19
# Layers and other parts of other packages may keep what they compute in attributes, which two threads would mix up.
_STATELESS = ('detkit.models.', 'torch.nn.')
_STATELESS_PARTS = ('builtins', 'collections', 'detkit.', 'torch')
_READERS = 4  # threads that read files
_BATCHES_AHEAD = 4  # of files


def is_faster_side_by_side(model: nn.Module, images: Iterable[SourceImage], batch_size: int, img_size: int) -> bool:
    """Return whether two batches at a time are faster, and may be worked on by two threads.

    The network has to be on the CPU, to consist of parts of detkit and PyTorch without hooks, and to predict no masks
    that are drawn when they are asked for, as the caller would draw them beside it. The caller must not be in autocast
    or in a mode that looks at operations, both of which hold for one thread.

    Args:
        model: a detector.
        images: a sequence of images at hand; of an iterator, such as a video, the next may come later.
        batch_size: of them.
        img_size: the longer side of an input.
    """
    return (
        isinstance(images, Sequence)
        and len(images) > batch_size
        and batch_size * img_size**2 <= MAX_BATCH_PIXELS
        and torch.get_num_threads() > 1
        and model.data_preprocessor.device.type == 'cpu'
        and 'retina_masks' not in model.head.TEST_KEYS
        and autocast_type('cpu') is None
        and _get_current_dispatch_mode() is None
        and _get_current_function_mode() is None
        and not _has_any_global_hook()
        and all(_is_stateless(layer) and not has_hooks(layer) for layer in model.modules())
        and not any(image.is_remote for image in images)
    )


def _is_stateless(layer: nn.Module) -> bool:
    """Return whether a layer is one of detkit or PyTorch, and so are the parts that are no layers, such as coders."""
    parts = {type(part).__module__ for part in vars(layer).values()}
    return type(layer).__module__.startswith(_STATELESS) and all(name.startswith(_STATELESS_PARTS) for name in parts)


def side_by_side(
    work: Callable[[Sequence[SourceImage], int], Sequence[T]], images: Sequence[SourceImage], batch_size: int
) -> Iterator[T]:
    """Yield the results of images in their order, two batches of which are worked on at a time.

    After each layer PyTorch's threads wait for each other, and one that decodes images beside them holds all of them
    up. Two batches on half of the threads each do not wait. The last of an odd number is worked on by the caller's
    thread with all threads, so that what is computed does not depend on which batch is ready first.

    Args:
        work: returns the results of a batch whose first image has an index, in any thread.
        images: the images, whose files are read ahead.
        batch_size: of them.
    """
    threads, ready = torch.get_num_threads(), Barrier(3)
    starts = range(0, len(images), batch_size)
    paired = len(starts) // 2 * 2

    def work_on(start: int) -> Sequence[T]:
        preload(start + _BATCHES_AHEAD * batch_size, 1)
        return work(images[start : start + batch_size], start)

    def preload(start: int, batches: int) -> None:
        for image in images[start : start + batches * batch_size]:
            readers.submit(image.preload)

    with (
        ThreadPoolExecutor(_READERS) as readers,
        ThreadPoolExecutor(2, 'detkit-predict', _take_threads, (threads // 2, ready)) as pool,
    ):
        preload(0, _BATCHES_AHEAD)
        try:
            waiting = deque(pool.submit(work_on, start) for start in starts[:2])  # each starts a thread
            ready.wait()
        except BaseException:  # the system has no more threads, or an interrupt
            ready.abort()  # else those that have started would wait for the others, and the pool for them
            raise
        torch.set_num_threads(threads)  # for threads to come: those of the pool have set theirs as well
        for start in starts[2:paired]:
            found = waiting.popleft().result()
            waiting.append(pool.submit(work_on, start))
            yield from found
        while waiting:
            yield from waiting.popleft().result()
        for start in starts[paired:]:
            yield from work_on(start)


def _take_threads(count: int, ready: Barrier) -> None:
    torch.get_num_threads()  # PyTorch sets its default number in a thread when it is first asked for
    torch.set_num_threads(count)
    with suppress(BrokenBarrierError):  # nobody waits for the results of this thread any more
        ready.wait()
