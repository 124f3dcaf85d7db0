"""Arguments that several commands have, of one name and meaning."""

import argparse
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from pathlib import PurePath
from typing import Any

from detkit.utils.call_options import CallOptions


class Switch(argparse.BooleanOptionalAction):
    """``--name`` and ``--no-name``, with the help as it is written; Python 3.10 adds the default to it."""

    def __init__(self, *args: Any, help: str | None = None, **kwargs: Any) -> None:
        super().__init__(*args, help=help, **kwargs)
        self.help = help


def whole(low: int, high: float = math.inf) -> Callable[[str], int]:
    """Return the ``type`` of an argument that is a whole number from ``low`` to ``high``, both included."""
    return _in_range(int, 'whole number', low, high)


def real(low: float, high: float = math.inf) -> Callable[[str], float]:
    """Return the ``type`` of an argument that is a number from ``low`` to ``high``, both included; NaN is none."""
    return _in_range(float, 'number', low, high)


def _in_range(kind: type, noun: str, low: float, high: float) -> Callable[[str], Any]:
    limits = f'of at least {low}' if high == math.inf else f'from {low} to {high}'

    def number_of(text: str) -> Any:
        with suppress(ValueError):
            value = kind(text)
            if low <= value <= high and math.isfinite(value):  # NaN is in no range
                return value
        raise argparse.ArgumentTypeError(f'{text!r} is no {noun} {limits}')

    return number_of


# A score or the like, so that 25 for 0.25 is refused; and what a generator of random numbers takes.
share = real(0, 1)
seed = whole(0, 2**32 - 1)


def overlap(text: str) -> float:
    """Return the least overlap of a match, the ``type`` of an argument: at 0 all that does not touch would match."""
    value = share(text)
    if not value:
        raise argparse.ArgumentTypeError(f'{text!r} matches boxes that do not touch; the least overlap is above 0')
    return value


def level(text: str) -> float:
    """Return the level of an interval, the ``type`` of an argument."""
    value = share(text)
    if value in (0, 1):
        raise argparse.ArgumentTypeError(f'{text!r} is no level between 0 and 1, such as 0.95')
    return value


def output_file(*suffixes: str) -> Callable[[str], str]:
    """Return the ``type`` of an argument that names a file to write: refuses the suffix of another kind of file.

    So ``--out best.pth`` replaces no checkpoint by what is no checkpoint. A name without a suffix is taken.
    """

    def path_of(text: str) -> str:
        path = PurePath(text)
        if path.suffix and path.suffix.lower() not in suffixes:
            names = ' or '.join(suffixes)
            raise argparse.ArgumentTypeError(
                f"{text!r} would be a {suffixes[0]} file: its name ends in {names}, such as '{path.stem}{suffixes[0]}'"
            )
        return text

    return path_of


_ARGUMENTS = {
    'config': dict(help="config file, or the name of one of detkit's, e.g. yolov8/seg_n_coco8"),
    'checkpoint': dict(help='checkpoint file (.pth)'),
    '--split': dict(
        choices=['test', 'val', 'train'],
        default='test',
        help='data to evaluate on, as for detkit test (default: test)',
    ),
    '--kind': dict(
        choices=['bbox', 'segm', 'keypoints', 'rbbox'],
        help="kind of overlap (default: the one that the config's metric evaluates last)",
    ),
    '--iou-thr': dict(type=overlap, default=0.5, help='least overlap of a match (default: 0.5)'),
    '--labels': dict(nargs='+', help="names to show (default: the configs' names)"),
    '--confidence': dict(type=level, default=0.95, help='level of the intervals (default: 0.95)'),
    '--device': dict(help='cpu, cuda, cuda:1, ... (default: the accelerator, if there is one)'),
    '--runtime': dict(
        help='runtime of an exported file; must be named for files that may run code (torchscript, torch_export). '
        'In prediction also of a checkpoint: torch (default), onnx, openvino, or auto for the fastest'
    ),
    '--custom-imports': dict(
        nargs='+',
        metavar='MODULE',
        help='modules with components of your own, which lie here or are installed: for models that are given without '
        'their config, whose key custom_imports names them',
    ),
    '--amp': dict(
        action=Switch,
        default=None,
        help='mixed precision in training on or off (default: as the config says)',
    ),
    '--batch-size': dict(type=whole(1), help="images at a time (default: the config's)"),
    '--cfg-options': dict(nargs='+', metavar='KEY=VALUE', help='values to replace in the config, or in each config'),
}


def add_shared_arguments(parser: argparse.ArgumentParser, *names: str) -> None:
    """Add arguments that several commands have to the parser of one."""
    for name in names:
        parser.add_argument(name, **_ARGUMENTS[name])


def import_given(args: argparse.Namespace) -> None:
    """Import the modules of ``--custom-imports``."""
    if args.custom_imports:
        from detkit.config.own_imports import import_modules  # only now, so that --help needs no torch

        import_modules(args.custom_imports)


def add_option_arguments(parser: argparse.ArgumentParser, kind: type[CallOptions], **helps: str) -> None:
    """Add an argument for each option of a class: for ``img_size`` it is ``--img-size``.

    Args:
        parser: the command's.
        kind: the class of the options.
        helps: texts for options that mean something else in this command, by name.
    """
    for option in fields(kind):
        names = [f'--{option.name.replace("_", "-")}', *option.metadata['aliases']]
        argument = {'default': option.default, **option.metadata['argument']}
        argument['help'] = helps.get(option.name, argument['help'])
        if argument.keys() == {'default', 'help'}:  # a switch
            argument['action'] = 'store_true' if option.default is False else Switch
        parser.add_argument(*names, **argument)


def given_options(args: argparse.Namespace, kind: type[CallOptions]) -> dict[str, Any]:
    """Return the options of a class among the arguments of a command; True for one that is given without a value."""
    values = {name: getattr(args, name) for name in kind.names()}
    return {name: True if value == [] else value for name, value in values.items()}


def add_plot_arguments(parser: argparse.ArgumentParser, default: str) -> None:
    """Add the files of a plot: its picture, named ``default`` where no name is given, and its values."""
    parser.add_argument(
        '--out',
        type=output_file('.png', '.svg', '.pdf'),
        metavar='FILE',
        default=default,
        help=f'PNG, SVG or PDF, by its suffix (default: {default})',
    )
    parser.add_argument('--csv', type=output_file('.csv'), metavar='FILE', help='also write the values')


def add_video_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is chosen of a video."""
    parser.add_argument('--frame-stride', type=whole(1), default=1, metavar='N', help='use one frame of N (default: 1)')
    parser.add_argument(
        '--start', type=real(0), default=0.0, metavar='SECONDS', help='leave the beginning of a video out'
    )
    parser.add_argument('--stop', type=float, default=float('inf'), metavar='SECONDS', help='end a video at this time')
