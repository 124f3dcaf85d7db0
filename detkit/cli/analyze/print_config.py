"""Print a config after inheritance and options with the file and line of each value, or how two configs differ.

detkit analyze print-config yolov8/seg_n_coco8 --cfg-options data_root=/data/coco8-seg
detkit analyze print-config --diff yolov8/det_n_coco8 yolov8/seg_n_coco8
"""

import argparse

from detkit.cli.arguments import add_shared_arguments
from detkit.cli.command import CommandParser


def add_arguments(parser: CommandParser) -> None:
    add_shared_arguments(parser, '--cfg-options')
    parser.add_argument('config', nargs='?', help='config file')
    parser.add_argument(
        '--diff', nargs=2, metavar=('A', 'B'), help='print the values in which config B differs from config A'
    )
    parser.add_argument(
        '--plain',
        action='store_true',
        help='print no files and lines: the config as a Python file, the differences alone',
    )
    parser.mistake = _mistake


def _mistake(args: argparse.Namespace) -> str | None:
    if (args.config is None) == (args.diff is None):
        return 'give a config, or two configs after --diff'
    return None


def run(args: argparse.Namespace) -> None:
    from detkit.config import load_config_with_origins, resolved_text
    from detkit.config.difference import config_differences, difference_lines
    from detkit.config.show import config_lines

    paths = args.diff or [args.config]
    loaded = [load_config_with_origins(path, args.cfg_options, need_classes=False) for path in paths]
    if args.diff:
        (first, origins), (second, other_origins) = loaded
        differences = config_differences(first, second)
        print(
            '\n'.join(
                [
                    f'A: {args.diff[0]}',
                    f'B: {args.diff[1]}',
                    '',
                    *difference_lines(differences, ('A', 'B'), None if args.plain else (origins, other_origins)),
                ]
            )
        )
        print(f'\n{len(differences)} values differ' if len(differences) != 1 else '\n1 value differs')
        return
    config, origins = loaded[0]
    print(resolved_text(config) if args.plain else '\n'.join(config_lines(config, origins)))
