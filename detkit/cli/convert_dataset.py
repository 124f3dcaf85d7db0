r"""Write a dataset in another format; what the format cannot hold is counted by reason.

    detkit convert-dataset yolov8/det_coco --to yolo --out data/coco-yolo
    detkit convert-dataset --from voc data/VOCdevkit/VOC2007 --options splits={split} --split trainval test \
        --to coco --out data/voc-coco
    detkit convert-dataset --from yolo data/mine --options data_yaml=data.yaml split={split} \
        --split train val --to voc --out data/mine-voc

The source is the data of a config, or a folder of a format that a dataset class reads.
"""

import argparse

from detkit.cli.arguments import add_shared_arguments
from detkit.cli.command import CommandParser


def add_arguments(parser: CommandParser) -> None:
    add_shared_arguments(parser, '--cfg-options')
    parser.add_argument('source', help='config file; or, with --from, the folder of the data')
    parser.add_argument('--from', dest='source_format', metavar='FORMAT', help='format of the folder: coco, voc, ...')
    parser.add_argument(
        '--options',
        nargs='+',
        default=[],
        metavar='KEY=VALUE',
        help="with --from: arguments of the format's dataset class; {split} in a value is the split's name",
    )
    parser.add_argument('--split', nargs='+', default=['train', 'val'], help='splits to write (default: train val)')
    parser.add_argument(
        '--to', required=True, choices=['coco', 'yolo', 'voc', 'dota', 'image_folder'], help='format to write'
    )
    parser.add_argument('--out', required=True, metavar='DIR', help='folder to write, new or empty')
    parser.add_argument(
        '--images',
        choices=['link', 'copy', 'leave'],
        default='link',
        help='hard links (copies where there are none), copies, or images left where they are (default: link)',
    )
    parser.add_argument(
        '--labels',
        choices=['box', 'outline', 'pose', 'obb'],
        help="kind of YOLO's labels (default: what the objects have)",
    )
    parser.mistake = _mistake


def _mistake(args: argparse.Namespace) -> str | None:
    if args.source_format is None and args.options:
        return '--options belong to --from FORMAT; a config takes --cfg-options'
    if args.source_format is not None and args.cfg_options:
        return '--cfg-options belong to a config; --from FORMAT takes --options'
    return None


def run(args: argparse.Namespace) -> None:
    # Only now, so that --help needs no torch.
    from detkit.config import load_config
    from detkit.converters.dataset_source import datasets_of_config, datasets_of_folder
    from detkit.datasets.writers import convert_dataset

    if args.source_format is None:
        config = load_config(args.source, args.cfg_options, need_classes=False)
        datasets = datasets_of_config(config, args.split)
    else:
        datasets = datasets_of_folder(args.source_format, args.source, args.options, args.split)
    done = convert_dataset(datasets, args.out, args.to, args.images, args.labels)
    print('\n'.join(done.lines()))
