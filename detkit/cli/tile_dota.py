"""Cut DOTA's large images, and their labels, into tiles.

detkit tile-dota /data/DOTA/train data/dota/train
detkit tile-dota /data/DOTA/val data/dota/val --size 1024 --overlap 0.2
"""

import argparse

from detkit.cli.arguments import Switch, share, whole
from detkit.cli.command import CommandParser


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument('source', help='folder with images/ and labelTxt/ (none for a test set)')
    parser.add_argument('target', help='folder to write images/ and labelTxt/ to')
    parser.add_argument(
        '--size',
        type=whole(1),
        nargs='+',
        default=[1024],
        help='side of the tiles in pixels; several make tiles of each (default: 1024)',
    )
    parser.add_argument(
        '--overlap',
        type=float,
        default=200 / 1024,
        help='overlap of neighbours as a share of the size (default: 0.195, 200 of 1024 pixels)',
    )
    parser.add_argument(
        '--min-visible',
        type=share,
        default=0.7,
        help='objects of which a smaller share is in the tile are marked difficult (default: 0.7)',
    )
    parser.add_argument('--keep-empty', action=Switch, default=True, help='also write tiles that show no object')
    parser.add_argument('--format', choices=['jpg', 'png'], default='jpg', help='of the tiles (default: jpg)')
    parser.add_argument('--images', default='images', help='name of the folder of images (default: images)')
    parser.add_argument('--labels', default='labelTxt', help='name of the folder of label files (default: labelTxt)')
    parser.add_argument('--threads', type=whole(1), default=4, help='images worked on at a time (default: 4)')


def run(args: argparse.Namespace) -> None:
    # Only now, so that --help needs no torch.
    from detkit.datasets.dota_tiling import tile_dota
    from detkit.utils.printable import printable

    report = tile_dota(
        args.source,
        args.target,
        args.size,
        args.overlap,
        args.min_visible,
        args.keep_empty,
        args.format,
        args.images,
        args.labels,
        args.threads,
    )
    for path, line, reason, *_ in report.skipped:
        print(printable(f'skipped {path}{"" if line is None else f":{line}"}: {reason}'))
    print(
        f'{report.images} images cut into {report.tiles} tiles with {report.objects} objects, {report.cut} of them '
        f'too little in view to be learnt and marked difficult; in {args.target}'
    )
