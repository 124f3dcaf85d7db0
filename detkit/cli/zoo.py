"""List, show and fetch published weights.

A name may be given wherever a checkpoint is expected: the weights are fetched on first use, checked, converted, and
kept in a cache folder (DETKIT_CACHE). `detkit zoo list` shows the names.

detkit zoo list --task seg
detkit zoo show yolov8n-seg
detkit zoo fetch detr-r50
detkit zoo fetch yolov8n --file downloads/yolov8n.pt
"""

import argparse
import os

from detkit.cli.command import CommandParser


def add_arguments(parser: CommandParser) -> None:
    actions = parser.add_subparsers(dest='action', metavar='ACTION', required=True)
    text = 'list the names, with licences and published metrics'
    action = actions.add_parser('list', help=text, description=f'{text.capitalize()}.')
    action.add_argument('--task', help='only those of a task: det, seg, pose, obb, cls, panoptic, backbone')
    action.add_argument('--family', help="only those of a family, such as DETR (any part of the family's name)")
    text = 'show all that is known about weights'
    action = actions.add_parser('show', help=text, description=f'{text.capitalize()}.')
    action.add_argument('name', nargs='+', help='names of weights')
    text = 'fetch weights into the cache, and print the path of the result'
    action = actions.add_parser('fetch', help=text, description=f'{text.capitalize()}.')
    action.add_argument('name', nargs='+', help='names of weights')
    action.add_argument('--file', help='the weights as they were fetched by other means, in place of a download')


def run(args: argparse.Namespace) -> None:
    from detkit.utils.errors import ConfigError
    from detkit.zoo.table import describe, text_list

    if args.action == 'list':
        print(text_list(args.task, args.family))
    elif args.action == 'show':
        print('\n\n'.join(map(describe, args.name)))
    else:
        if args.file is not None and len(args.name) > 1:
            raise ConfigError('--file is one file, but several names are given')
        from detkit.zoo import fetch

        for name in args.name:
            print(os.fspath(fetch(name, args.file)))
