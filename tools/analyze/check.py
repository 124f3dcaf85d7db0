"""A training run in small: finds within a minute what would end or spoil it after hours.

python tools/analyze/check.py configs/yolov8/seg_n_coco8.py
python tools/analyze/check.py configs/yolov8/seg_coco.py --cfg-options data_root=/data/coco batch_size=32
"""

import argparse
import sys


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='A training run in small: builds all, trains and validates a little, estimates time and memory, '
        'and looks for what would go wrong later. Writes nothing.',
        epilog='The exit code is 0 where nothing failed, else 1.',
    )
    parser.add_argument('config', help='config file, e.g. configs/yolov8/seg_n_coco8.py')
    parser.add_argument(
        '--sample',
        type=int,
        default=200,
        metavar='IMAGES',
        help='how many images of each dataset to decode, 0 for none (default: 200)',
    )
    parser.add_argument('--seconds', type=float, default=10.0, help='how long to time training (default: 10)')
    parser.add_argument('--strict', action='store_true', help='exit with 1 after a warning, too')
    parser.add_argument('--json', metavar='FILE', help='write the checks')
    parser.add_argument('--device', help='cpu, cuda, cuda:1, ... (default: the accelerator, if there is one)')
    parser.add_argument('--cfg-options', nargs='+', metavar='KEY=VALUE', help='replace values of the config')
    args = parser.parse_args(argv)
    if args.sample < 0:
        parser.error('--sample must not be negative')
    return args


def main() -> int:
    args = parse_args()

    # Only now, so that --help needs no torch.
    import json
    from pathlib import Path

    from detkit.analysis.runs.dry_run import dry_run

    checks = dry_run(args.config, args.cfg_options, args.device, args.sample, args.seconds)
    print(checks.summary)
    if args.json:
        Path(args.json).write_text(json.dumps(checks.as_dicts(), indent=1) + '\n', encoding='utf-8')
        print(f'{len(checks.checks)} checks in {args.json}')
    return int(checks.count('failed') > 0 or args.strict and checks.count('warned') > 0)


if __name__ == '__main__':
    from detkit.utils.command_line import run_command

    sys.exit(run_command(main))
