"""Print a config after inheritance and options with the file and line of each value, or how two configs differ.

python tools/analyze/print_config.py configs/yolov8/seg_n_coco8.py --cfg-options data_root=/data/coco8-seg
python tools/analyze/print_config.py --diff configs/yolov8/det_n_coco8.py configs/yolov8/seg_n_coco8.py
"""

import argparse
import sys

from detkit.utils.command_line import run_command, shared_arguments


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Print the final config, and the file and line of each value.',
        parents=[shared_arguments('--cfg-options')],
    )
    parser.add_argument('config', nargs='?', help='config file')
    parser.add_argument(
        '--diff', nargs=2, metavar=('A', 'B'), help='print the values in which config B differs from config A'
    )
    parser.add_argument(
        '--plain',
        action='store_true',
        help='print no files and lines: the config as a Python file, the differences alone',
    )
    args = parser.parse_args(argv)
    if (args.config is None) == (args.diff is None):
        parser.error('give a config, or two configs after --diff')
    return args


def main() -> None:
    args = parse_args()

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


if __name__ == '__main__':
    sys.exit(run_command(main))
