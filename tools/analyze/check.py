"""Run a training in small, to find within a minute what would stop or spoil the real one after hours.

python tools/analyze/check.py configs/yolov8/seg_n_coco8.py
python tools/analyze/check.py configs/yolov8/seg_coco.py --cfg-options data_root=/data/coco batch_size=32
"""

import argparse
import sys

from detkit.utils.command_line import run_command, shared_arguments


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Run a training in small: build everything, train and validate a few batches, estimate time and '
        'memory, and report what would go wrong later. Nothing is written.',
        epilog='The exit code is 1 if a check failed, else 0.',
        parents=[shared_arguments('config', '--device', '--cfg-options')],
    )
    parser.add_argument(
        '--sample',
        type=int,
        default=200,
        metavar='IMAGES',
        help='number of images of each dataset to decode (default: 200)',
    )
    parser.add_argument('--seconds', type=float, default=10.0, help='time to measure training for (default: 10)')
    parser.add_argument('--strict', action='store_true', help='exit with code 1 after a warning, too')
    parser.add_argument('--json', metavar='FILE', help='write the results of the checks')
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
    sys.exit(run_command(main))
