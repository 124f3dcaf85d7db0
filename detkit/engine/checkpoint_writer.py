"""``CheckpointWriter``: writes checkpoints in the background, while training goes on."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Thread
from typing import Any

import torch
from torch import Tensor, UntypedStorage

from detkit.engine.checkpoint import check_plain, copy_checkpoint, save_checkpoint
from detkit.utils.files import SaveError


class CheckpointWriter:
    """Writes checkpoints in a thread, one after the other.

    A checkpoint is copied before ``write`` returns, so that the file holds the state of that moment. Python waits for
    the thread before it ends.

    Args:
        show: called in the main thread with a line about a file that could not be written.

    Attributes:
        errors: the files that could not be written at the last try, and the reason.
    """

    def __init__(self, show: Callable[[str], None]) -> None:
        self.errors: dict[Path, SaveError] = {}
        self._show = show
        self._thread: Thread | None = None
        self._outcomes: dict[Path, SaveError | None] = {}  # not reported yet
        self._fault: Exception | None = None

    def write(self, checkpoint: dict[str, Any], paths: Sequence[Path], background: bool = True) -> None:
        """Write ``checkpoint`` to each of ``paths``, after the write that is under way.

        Args:
            checkpoint: plain types and tensors, on any device.
            paths: the files; each is replaced as a whole.
            background: return as soon as ``checkpoint`` is copied; otherwise when the files are written.

        Raises:
            TypeError: something in it is neither a plain type nor a tensor.
        """
        self.wait()
        check_plain(checkpoint)
        if background:
            self._thread = Thread(target=self._write, args=(snapshot(checkpoint), paths), name='checkpoint')
            self._thread.start()
        else:
            self._write(checkpoint, paths)
            self._report()

    def wait(self) -> None:
        """Wait for the write that is under way, and report it; an error that is not the disk's is raised."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
            self._report()

    def report_finished(self) -> None:
        """Report the last write where it has ended, as ``wait`` does, without waiting."""
        if self._thread is not None and not self._thread.is_alive():
            self.wait()

    def _write(self, checkpoint: dict[str, Any], paths: Sequence[Path]) -> None:
        written: Path | None = None
        try:
            for path in paths:
                try:
                    if written is None:
                        save_checkpoint(checkpoint, path)
                    else:
                        copy_checkpoint(written, path)
                    written, self._outcomes[path] = path, None
                except SaveError as error:
                    self._outcomes[path] = error
        except Exception as error:
            self._fault = error

    def _report(self) -> None:
        outcomes, self._outcomes = self._outcomes, {}
        for path, error in outcomes.items():
            self.errors.pop(path, None)
            if error is not None:
                self.errors[path] = error
                self._show(f'note     {error} The run goes on.')
        fault, self._fault = self._fault, None
        if fault is not None:
            raise fault


def snapshot(value: Any) -> Any:
    """Return a copy of a checkpoint on the CPU.

    What is shared, containers or the memory of tensors, is shared in the copy, so that both make the same file.
    """
    containers: dict[int, Any] = {}
    storages: dict[int, UntypedStorage] = {}

    def copied(item: Any) -> Any:
        if isinstance(item, Tensor):
            return _copy_tensor(item.detach(), storages)
        if not isinstance(item, dict | list | tuple):
            return item
        if id(item) not in containers:
            if isinstance(item, dict):
                result = copy.copy(item)
                for key, child in item.items():
                    result[key] = copied(child)
            else:
                children = [copied(child) for child in item]
                result = children if type(item) is list else tuple(children) if type(item) is tuple else item
            containers[id(item)] = result
        return containers[id(item)]

    return copied(value)


def _copy_tensor(tensor: Tensor, storages: dict[int, UntypedStorage]) -> Tensor:
    """Copy a tensor with its layout; ``storages`` holds the copies of memory so far, by the original's address."""
    original = tensor.untyped_storage()
    address = original.data_ptr()
    if address == 0 or address not in storages:  # 0: an empty tensor
        storages[address] = original.clone() if original.device.type == 'cpu' else original.cpu()
    empty = torch.empty(0, dtype=tensor.dtype)
    return empty.set_(storages[address], tensor.storage_offset(), tensor.size(), tensor.stride())
