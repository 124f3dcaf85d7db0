"""Compare training runs in one table: parameters, epochs, time, best and last metrics, gain over the first run.

python tools/analyze/summarize_runs.py work_dirs/cls_weather*
python tools/analyze/summarize_runs.py work_dirs --metrics coco/bbox_mAP50 train/box --markdown
"""

import argparse
import sys

from detkit.utils.command_line import run_command


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Compare training runs in one table.')
    parser.add_argument('runs', nargs='+', metavar='FOLDER', help='folders of runs, or folders of such folders')
    parser.add_argument(
        '--metrics',
        nargs='+',
        metavar='NAME',
        help="columns of results.csv, without 'metrics/' (default: mAP, top-1 accuracy)",
    )
    parser.add_argument('--markdown', action='store_true', help='print a Markdown table')
    return parser.parse_args(argv)


def main() -> None:
    args = parse_args()

    from detkit.analysis.runs.run_table import find_runs, run_table, summarize_run

    print(run_table([summarize_run(folder) for folder in find_runs(args.runs)], args.metrics, args.markdown))


if __name__ == '__main__':
    sys.exit(run_command(main))
