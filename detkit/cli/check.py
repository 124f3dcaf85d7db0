"""Run a training in small, to find within a minute what would stop or spoil the real one after hours.

detkit check yolov8/seg_n_coco8
detkit check yolov8/seg_coco --cfg-options data_root=/data/coco batch_size=32
"""

import argparse

from detkit.cli.arguments import add_shared_arguments, output_file, real, whole
from detkit.cli.command import CommandParser


def add_arguments(parser: CommandParser) -> None:
    add_shared_arguments(parser, 'config', '--device', '--cfg-options')
    parser.add_argument(
        '--sample',
        type=whole(0),
        default=200,
        metavar='IMAGES',
        help='number of images of each dataset to decode (default: 200)',
    )
    parser.add_argument('--seconds', type=real(0), default=10.0, help='time to measure training for (default: 10)')
    parser.add_argument('--strict', action='store_true', help='exit with code 1 after a warning, too')
    parser.add_argument('--json', type=output_file('.json'), metavar='FILE', help='write the results of the checks')


def run(args: argparse.Namespace) -> int:
    # Only now, so that --help needs no torch.
    import json

    from detkit.analysis.runs.dry_run import dry_run
    from detkit.utils.files import write_text

    checks = dry_run(args.config, args.cfg_options, args.device, args.sample, args.seconds)
    print(checks.summary)
    if args.json:
        write_text(args.json, json.dumps(checks.as_dicts(), indent=1) + '\n')
        print(f'{len(checks.checks)} checks in {args.json}')
    return int(checks.count('failed') > 0 or args.strict and checks.count('warned') > 0)
