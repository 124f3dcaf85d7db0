"""Types of the scripts' options, which refuse before a measurement what would end it, and how a script ends."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

Found = TypeVar('Found')


def at_least(least: int) -> Callable[[str], int]:
    """Return a type of whole numbers of at least ``least``; ``argparse`` prints the sentence otherwise."""

    def number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f'must be a whole number of at least {least}, not {text}')
        return value

    return number


positive = at_least(1)
not_negative = at_least(0)


def thread_count(text: str) -> int:
    """Return a number of threads: at least one, and no more than the machine has processors."""
    count, most = positive(text), os.cpu_count() or 1
    if count > most:
        raise argparse.ArgumentTypeError(f'must be at most {most}, the processors of this machine, not {text}')
    return count


def image_side(text: str) -> int:
    """Return the side of an image for a network of stride 32: whole cells, and more than one of them."""
    side = positive(text)
    if side % 32 or side < 64:
        nearest = max(64, side + -side % 32)
        raise argparse.ArgumentTypeError(f'must be a multiple of 32 and at least 64, such as {nearest}, not {text}')
    return side


def device(text: str) -> str:
    """Return the name of a device, which this machine has."""
    import torch  # late: not every script needs it

    try:
        kind = torch.device(text).type
        if kind == 'cuda' and not torch.cuda.is_available():
            raise argparse.ArgumentTypeError(f'PyTorch {torch.__version__} finds no GPU for {text}; there is cpu')
        torch.empty(0, device=text)
    except (RuntimeError, AssertionError) as error:  # raised by PyTorch for an unknown name or a missing driver
        reason = str(error).splitlines()[0]
        raise argparse.ArgumentTypeError(f'{text} is no device of this machine: {reason}') from error
    return text


def program(text: str) -> str:
    """Return the path of a program that can be run."""
    found = shutil.which(text)
    if found is None:
        raise argparse.ArgumentTypeError(f'{text} is no program that can be run')
    return found


def output_folder(text: str) -> Path:
    """Return a folder, which is made if need be, and into which files can be written."""
    folder = Path(text)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b'a full disk holds no byte more')
            file.flush()
            return folder
    except OSError as error:
        raise argparse.ArgumentTypeError(f'{text} is no folder to write into: {error.strerror}') from error


def output_file(text: str) -> Path:
    """Return the path of a file that can be written; its folder is made if need be."""
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f'{text} is a folder; name a file in it')
    output_folder(str(path.parent))
    return path


def run(main: Callable[[], Found]) -> Found:
    """Run a script; an error of detkit's input, or of a file that cannot be written, ends it with its sentence."""
    try:
        return main()
    except OSError as error:
        if error.filename is None:
            raise
        sys.exit(f'error: {error.filename}: {error.strerror}')
    except Exception as error:
        errors = sys.modules.get('detkit.utils.errors')  # absent from the Python of a peer
        if errors is None or not isinstance(error, errors.DetkitError):
            raise
        sys.exit(f'error: {error}')
