"""Show a config after inheritance and options, and which file and line set each value.

    python tools/analyze/print_config.py configs/yolov8/seg_n_coco8.py --cfg-options data_root=/data/coco8-seg
"""

import argparse
import sys


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Show the final config, and where each value was set.')
    parser.add_argument('config', help='config file')
    parser.add_argument('--cfg-options', nargs='+', metavar='KEY=VALUE', help='as for tools/train.py')
    parser.add_argument('--plain', action='store_true', help='print the config as a Python file, without the places')
    return parser.parse_args(argv)


def main() -> None:
    args = parse_args()

    from detkit.config import load_config_with_origins
    from detkit.config.show import config_lines

    config, origins = load_config_with_origins(args.config, args.cfg_options, need_classes=False)
    print(config.pretty_text if args.plain else '\n'.join(config_lines(config, origins)))


if __name__ == '__main__':
    from detkit.utils.command_line import run_command

    sys.exit(run_command(main))
