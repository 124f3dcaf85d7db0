"""Compare training runs in one table: parameters, epochs, time, best and last metrics, gain over the first run.

detkit analyze summarize-runs work_dirs/cls_weather*
detkit analyze summarize-runs work_dirs --metrics coco/bbox_mAP50 train/box --markdown
"""

import argparse

from detkit.cli.command import CommandParser


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument('runs', nargs='+', metavar='FOLDER', help='folders of runs, or folders of such folders')
    parser.add_argument(
        '--metrics',
        nargs='+',
        metavar='NAME',
        help="columns of results.csv, without 'metrics/' (default: mAP, top-1 accuracy)",
    )
    parser.add_argument('--markdown', action='store_true', help='print a Markdown table')


def run(args: argparse.Namespace) -> None:
    from detkit.analysis.runs.run_logs import read_usable
    from detkit.analysis.runs.run_table import find_runs, run_table, summarize_run

    folders, empty = find_runs(args.runs)
    summaries, failed = read_usable(summarize_run, folders)
    print(run_table(summaries, args.metrics, args.markdown))
    for line in (*(f'no results in {path}' for path in empty), *(f'left out: {error}' for error in failed)):
        print(line)
