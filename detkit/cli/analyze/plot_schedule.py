"""Plot the learning rate, the momentum and the accumulation of a whole run, without training.

detkit analyze plot-schedule yolov8/det_n_coco8
detkit analyze plot-schedule yolov8/det_coco --num-images 118287 --processes 8
"""

import argparse

from detkit.cli.arguments import add_plot_arguments, add_shared_arguments, whole
from detkit.cli.command import CommandParser


def add_arguments(parser: CommandParser) -> None:
    add_shared_arguments(parser, '--labels', '--cfg-options')
    parser.add_argument('configs', nargs='+', metavar='CONFIG', help='config files, plotted over each other')
    parser.add_argument(
        '--num-images',
        type=whole(1),
        metavar='N',
        help='images of an epoch, if the training data are not on this machine',
    )
    parser.add_argument(
        '--processes', type=whole(1), default=1, metavar='N', help='processes of a distributed run (default: 1)'
    )
    parser.add_argument('--log', action='store_true', help='use a logarithmic scale for the learning rate')
    add_plot_arguments(parser, 'schedule.png')


def run(args: argparse.Namespace) -> None:
    # Only now, so that --help needs no torch.
    from detkit.analysis.charts import save_figure
    from detkit.analysis.errors.compare import unique_labels
    from detkit.analysis.runs.schedule_charts import plot_schedules
    from detkit.analysis.runs.schedule_plan import plan_schedule, plan_text, write_plans
    from detkit.config import load_config

    labels = unique_labels(args.configs, args.labels)
    plans = []
    for path, label in zip(args.configs, labels, strict=True):
        config = load_config(path, args.cfg_options, need_classes=False)
        plans.append(plan_schedule(config, args.num_images, args.processes, label))
        print(plan_text(plans[-1]), flush=True)
    save_figure(plot_schedules(plans, args.log), args.out)
    if args.csv:
        write_plans(plans, args.csv)
    print(f'schedule in {args.out}' + (f', values in {args.csv}' if args.csv else ''))
