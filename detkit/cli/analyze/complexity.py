"""List parameters, multiply-adds, memory and time of each module of a network.

detkit analyze complexity yolov8/seg_coco
detkit analyze complexity yolov8/seg_coco --under head --depth 1
"""

import argparse

from detkit.cli.arguments import add_shared_arguments, output_file, whole
from detkit.cli.command import CommandParser


def add_arguments(parser: CommandParser) -> None:
    add_shared_arguments(parser, 'config', '--device', '--cfg-options')
    parser.add_argument(
        '--checkpoint',
        metavar='FILE',
        help='checkpoint file, which decides the number of classes (default: random weights)',
    )
    parser.add_argument(
        '--img-size',
        type=whole(1),
        nargs='+',
        metavar='SIDE',
        help="side of the image, or height and width (default: the config's test size)",
    )
    parser.add_argument('--depth', type=whole(0), default=2, help='levels of modules to list; 0 for all (default: 2)')
    parser.add_argument('--under', metavar='MODULE', default='', help='list only what is in this module, e.g. neck')
    parser.add_argument(
        '--rounds', type=whole(1), default=20, help='number of timed passes, whose median is listed (default: 20)'
    )
    parser.add_argument('--json', type=output_file('.json'), metavar='FILE', help='write all modules')
    parser.add_argument('--csv', type=output_file('.csv'), metavar='FILE', help='write all modules')
    parser.mistake = _mistake


def _mistake(args: argparse.Namespace) -> str | None:
    if args.img_size and len(args.img_size) > 2:
        return '--img-size takes one side, or height and width'
    return None


def run(args: argparse.Namespace) -> None:
    # Only now, so that --help needs no torch.
    from detkit.analysis.speed.complexity import costs_table, module_costs, select, write_costs
    from detkit.inference import Predictor, init_detector

    model = init_detector(args.config, args.checkpoint, args.device, fuse=False, options=args.cfg_options)
    sides = args.img_size or [Predictor(model=model).img_size]
    height, width = sides[0], sides[-1]
    costs = module_costs(model, (height, width), args.rounds)
    whole = costs[0]
    print(costs_table(select(costs, args.depth or None, args.under)))
    print(
        f'one image of {height} x {width}: {whole.parameters:,} parameters ({whole.trainable:,} trainable), '
        f'{2 * whole.macs / 1e9:.2f} GFLOPs (2 a multiply-add)'
    )
    for path in (args.json, args.csv):
        if path:
            write_costs(costs, path)
            print(f'{len(costs)} modules in {path}')
