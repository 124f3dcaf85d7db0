"""Count the objects that cross lines and those in zones of a video.

Objects are tracked, and count at the middle of their boxes. A line is crossed 'in' towards its right-hand side as it is
seen from its first to its second point. Points are x,y in pixels, or shares of width and height where none is above 1.

detkit count work_dirs/seg_n_coco8/best.pth street.mp4 --line gate 0.1,0.5 0.9,0.5
detkit count yolov8n street.mp4 --zone lane 0,300 640,300 640,480 0,480 --anchor bottom --classes car bus
"""

import argparse
from typing import Any

from detkit.cli import track
from detkit.cli.command import CommandParser


def add_arguments(parser: CommandParser) -> None:
    track.add_arguments(parser, 'counts')
    parser.add_argument(
        '--line', nargs='+', action='append', default=[], metavar='NAME X,Y', help='a name and the two ends of a line'
    )
    parser.add_argument(
        '--zone', nargs='+', action='append', default=[], metavar='NAME X,Y', help='a name and the corners of a zone'
    )
    parser.add_argument(
        '--anchor',
        choices=['center', 'bottom'],
        default='center',
        help='point of a box that counts: its middle, or that of its lower side (default: center)',
    )


def run(args: argparse.Namespace) -> None:
    # Only now, so that --help needs no torch.
    from detkit.inference.counting import check_areas, parse_area

    given: list[tuple[list[str], Any]] = [*((words, True) for words in args.line), *((w, False) for w in args.zone)]
    areas = [parse_area(words[0], words[1:], is_line) for words, is_line in given]
    check_areas(areas)
    track.track(args, areas)
