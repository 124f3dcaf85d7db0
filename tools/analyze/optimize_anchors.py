"""Find anchors that fit the training data of a config, and compare their fit with that of the config's anchors.

python tools/analyze/optimize_anchors.py configs/yolov5/det_n_coco8.py
"""

import argparse
import sys

from detkit.utils.command_line import run_command, shared_arguments


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Find anchors that fit the training data of a config.',
        parents=[shared_arguments('config', '--cfg-options')],
    )
    parser.add_argument(
        '--img-size', type=int, metavar='N', help="side of the images in pixels (default: the config's)"
    )
    parser.add_argument(
        '--per-level', type=int, metavar='N', help="number of anchors at each level (default: the config's)"
    )
    parser.add_argument(
        '--steps', type=int, default=1000, metavar='N', help='steps of evolution (default: %(default)s)'
    )
    parser.add_argument('--seed', type=int, default=0, metavar='N', help='seed of the search (default: %(default)s)')
    return parser.parse_args(argv)


def main() -> None:
    args = parse_args()

    # Only now, so that --help needs no torch.
    from detkit.analysis.data.anchors import optimize_anchors

    report = optimize_anchors(args.config, args.cfg_options, args.img_size, args.per_level, args.steps, args.seed)
    print('\n'.join(report.lines()))


if __name__ == '__main__':
    sys.exit(run_command(main))
