"""Plot the curves of several training runs: losses, average precisions, learning rate.

    detkit analyze plot-logs work_dirs/det_n_coco8 work_dirs/det_n_coco8-2
    detkit analyze plot-logs work_dirs/* --keys 'coco/bbox_mAP*' train/box --smooth 0.8 --x time --out a.svg

A star marks the best value of each metric.
"""

import argparse
import sys

from detkit.cli.arguments import add_plot_arguments
from detkit.cli.command import CommandParser


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument(
        'runs',
        nargs='+',
        metavar='RUN',
        help='folders of runs, folders of such folders, or results.csv or scalars.json files',
    )
    parser.add_argument('--labels', nargs='+', help="names to show (default: the folders' names)")
    parser.add_argument(
        '--keys',
        nargs='+',
        metavar='NAME',
        help='names of curves, * and ? allowed (default: losses, average precisions, accuracies, first learning rate)',
    )
    parser.add_argument('--list', action='store_true', help='only list the names of the curves')
    parser.add_argument(
        '--smooth',
        type=float,
        default=0.0,
        metavar='WEIGHT',
        help='weight of the past in a moving average, at least 0 and less than 1 (default: 0, none)',
    )
    parser.add_argument(
        '--x',
        choices=['epoch', 'iter', 'time'],
        default='epoch',
        help="horizontal axis; 'iter' reads scalars.json (default: epoch)",
    )
    add_plot_arguments(parser, 'logs.png')
    parser.mistake = _mistake


def _mistake(args: argparse.Namespace) -> str | None:
    if not 0 <= args.smooth < 1:
        return '--smooth must be at least 0 and less than 1'
    return None


def run(args: argparse.Namespace) -> None:
    # Only now, so that --help needs nothing else.
    from detkit.analysis.charts import save_figure
    from detkit.analysis.runs.run_charts import plot_runs
    from detkit.analysis.runs.run_logs import choose_names, find_logs, logs_table, read_run, read_usable, write_logs

    logs = find_logs(args.runs, args.labels)
    runs, failed = read_usable(lambda log: read_run(log[0], args.x, log[1]), logs)
    for error in failed:
        print(f'left out: {error}', file=sys.stderr)
    names = choose_names(runs, args.keys)
    if args.list:
        print('\n'.join(dict.fromkeys(name for run in runs for name in run.curves)))
        return
    print(logs_table(runs, names, args.x))
    save_figure(plot_runs(runs, names, args.smooth, args.x), args.out)
    if args.csv:
        write_logs(runs, names, args.csv, args.smooth, args.x)
    print(f'curves in {args.out}' + (f', values in {args.csv}' if args.csv else ''))
