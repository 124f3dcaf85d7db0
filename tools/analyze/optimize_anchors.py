"""Find anchors that fit the training data of a config, and show how well they and the config's own fit.

python tools/analyze/optimize_anchors.py configs/yolov5/det_n_coco8.py
"""

import argparse
import sys


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Find anchors that fit the training data of a config.')
    parser.add_argument('config', help='config file of a model whose head has anchors')
    parser.add_argument('--cfg-options', nargs='+', metavar='KEY=VALUE', help='as for tools/train.py')
    parser.add_argument('--img-size', type=int, metavar='N', help="side of the images in pixels (the config's)")
    parser.add_argument('--per-level', type=int, metavar='N', help="anchors at each level (as many as the config's)")
    parser.add_argument('--steps', type=int, default=1000, metavar='N', help='steps of evolution (%(default)s)')
    parser.add_argument('--seed', type=int, default=0, metavar='N', help='of the random choices (%(default)s)')
    return parser.parse_args(argv)


def main() -> None:
    args = parse_args()

    # Only now, so that --help needs no torch.
    from detkit.analysis.data.optimize_anchors import optimize_anchors

    report = optimize_anchors(args.config, args.cfg_options, args.img_size, args.per_level, args.steps, args.seed)
    print('\n'.join(report.lines()))


if __name__ == '__main__':
    from detkit.utils.command_line import run_command

    sys.exit(run_command(main))
