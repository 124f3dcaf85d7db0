r"""Train several configs and compare them: the better one, the certainty of that, and where they differ.

    detkit compare yolov8/det_n_coco8 yolov5/det_n_coco8
    detkit compare my_baseline.py my_variant.py --seeds 0 1 2 --out compared.html
    detkit compare yolov8/det_custom my_variant.py --cfg-options data_yaml=data.yaml max_epochs=50

Calling it again goes on: what has been trained is not trained again, and a run that was stopped is resumed. With
several seeds each model is one of them, so that the noise of training shows beside the differences.
"""

import argparse

from detkit.cli.analyze.compare import add_comparison_arguments, show_comparison
from detkit.cli.arguments import add_shared_arguments, seed
from detkit.cli.command import CommandParser


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument(
        'configs', nargs='+', metavar='CONFIG', help="config files, or names of detkit's; the first is the baseline"
    )
    parser.add_argument(
        '--work-dir', default='work_dirs/compare', help='folder of the runs (default: work_dirs/compare)'
    )
    parser.add_argument(
        '--seeds', nargs='+', type=seed, default=[], help="train each config with each of these (default: the config's)"
    )
    add_shared_arguments(parser, '--amp')
    add_comparison_arguments(parser)
    parser.mistake = _mistake


def _mistake(args: argparse.Namespace) -> str | None:
    """Return what the comparison would refuse when hours of training are over."""
    count, labels = len(args.configs) * max(len(args.seeds), 1), args.labels
    if labels and (len(labels) != count or len(set(labels)) != count):
        each = f', {len(args.seeds)} of each config' if len(args.seeds) > 1 else ''
        return f'--labels: {len(labels)} labels ({", ".join(labels)}) for {count} models{each}; each needs its own'
    return None


def run(args: argparse.Namespace) -> None:
    # Only now, so that --help needs no torch.
    from detkit.analysis.runs.variants import train_variants

    models = train_variants(args.configs, args.work_dir, args.cfg_options, args.seeds, args.device, args.amp)
    show_comparison(models, args)
