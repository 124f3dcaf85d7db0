"""Find anchors that fit the training data of a config, and compare their fit with that of the config's anchors.

detkit analyze optimize-anchors yolov5/det_n_coco8
"""

import argparse

from detkit.cli.arguments import add_shared_arguments, seed, whole
from detkit.cli.command import CommandParser


def add_arguments(parser: CommandParser) -> None:
    add_shared_arguments(parser, 'config', '--cfg-options')
    parser.add_argument(
        '--img-size', type=whole(1), metavar='N', help="side of the images in pixels (default: the config's)"
    )
    parser.add_argument(
        '--per-level', type=whole(1), metavar='N', help="number of anchors at each level (default: the config's)"
    )
    parser.add_argument(
        '--steps', type=whole(0), default=1000, metavar='N', help='steps of evolution (default: %(default)s)'
    )
    parser.add_argument('--seed', type=seed, default=0, metavar='N', help='seed of the search (default: %(default)s)')


def run(args: argparse.Namespace) -> None:
    # Only now, so that --help needs no torch.
    from detkit.analysis.data.anchors import optimize_anchors

    report = optimize_anchors(args.config, args.cfg_options, args.img_size, args.per_level, args.steps, args.seed)
    print('\n'.join(report.lines()))
