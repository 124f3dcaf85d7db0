"""Shared parts of the tools: arguments of one name and meaning, and how a mistake is reported."""

import argparse
import errno
import os
import sys
from collections.abc import Callable

from detkit.utils.errors import DetkitError

_SHARED_ARGUMENTS = {
    'config': dict(help='config file, e.g. configs/yolov8/seg_n_coco8.py'),
    'checkpoint': dict(help='checkpoint file (.pth)'),
    '--split': dict(
        choices=['test', 'val', 'train'],
        default='test',
        help='data to evaluate on, as for tools/test.py (default: test)',
    ),
    '--kind': dict(
        choices=['bbox', 'segm', 'keypoints', 'rbbox'],
        help="kind of overlap (default: the one that the config's metric evaluates last)",
    ),
    '--iou-thr': dict(type=float, default=0.5, help='least overlap of a match (default: 0.5)'),
    '--labels': dict(nargs='+', help="names to show (default: the configs' names)"),
    '--confidence': dict(type=float, default=0.95, help='level of the intervals (default: 0.95)'),
    '--device': dict(help='cpu, cuda, cuda:1, ... (default: the accelerator, if there is one)'),
    '--batch-size': dict(type=int, help="images at a time (default: the config's)"),
    '--cfg-options': dict(nargs='+', metavar='KEY=VALUE', help='values to replace in the config, or in each config'),
}
# System errors for a path that cannot be made, read or written; any other error is a bug of a tool.
_WRONG_PATH = {
    getattr(errno, name)
    for name in 'ENOENT EACCES EPERM EROFS ENOTDIR EISDIR EEXIST ENAMETOOLONG ENOSPC EDQUOT'.split()
    if hasattr(errno, name)
}


def shared_arguments(*names: str) -> argparse.ArgumentParser:
    """Return a parser of arguments that several tools have, to be given to another parser as one of its ``parents``."""
    parser = argparse.ArgumentParser(add_help=False)
    for name in names:
        parser.add_argument(name, **_SHARED_ARGUMENTS[name])
    return parser


def run_command(main: Callable[[], int | None]) -> int:
    """Run a tool's main function.

    Returns:
        Its exit code (0 for None); 2 after a mistake that the user can correct, 130 when interrupted.
    """
    try:
        return main() or 0
    except DetkitError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            # The reader of the output (head, less) has gone; Python must not flush to it when it ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        if error.errno not in _WRONG_PATH:
            raise
        where = f'{error.filename}: ' if error.filename is not None else ''
        print(f'error: {where}{error.strerror}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        return 130
