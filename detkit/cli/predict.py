"""Detect objects in images, or classify images, with a trained model.

detkit predict yolov8/seg_n_coco8 work_dirs/seg_n_coco8/best.pth photo.jpg
detkit predict yolov8/seg_n_coco8 work_dirs/seg_n_coco8/best.pth 'photos/*.jpg' --score-thr 0.5
"""

import argparse

from detkit.cli.arguments import add_shared_arguments
from detkit.cli.command import CommandParser


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument('config', help="config file, or '-' for the config that the checkpoint holds")
    parser.add_argument('checkpoint', help='checkpoint file (.pth)')
    parser.add_argument('source', nargs='+', help='images, folders, or patterns in quotes')
    parser.add_argument('--out-dir', default='predictions', help='folder for the results (default: predictions)')
    parser.add_argument('--score-thr', type=float, help="lowest score of a prediction (default: the config's, 0.25)")
    parser.add_argument(
        '--iou-thr',
        type=float,
        help="IoU threshold of non-maximum suppression (default: the config's, 0.7)",
    )
    parser.add_argument('--classes', nargs='+', metavar='CLASS', help='report only these classes, by name or number')
    parser.add_argument(
        '--max-per-img', '--max-det', type=int, help="most predictions of an image (default: the config's, 300)"
    )
    parser.add_argument(
        '--class-agnostic', '--agnostic-nms', action='store_true', help='suppress predictions across classes too'
    )
    parser.add_argument(
        '--retina-masks',
        action=argparse.BooleanOptionalAction,
        default=None,
        help="draw masks at the image's resolution, not at the network's (default: as the config says)",
    )
    add_shared_arguments(parser, '--device')
    parser.add_argument(
        '--img-size', type=int, metavar='PIXELS', help="length the longer side is scaled to (default: the config's)"
    )
    parser.add_argument('--batch-size', type=int, default=1, help='images in a batch (default: 1)')
    parser.add_argument('--amp', action='store_true', help='mixed precision: faster, slightly different results')
    parser.add_argument(
        '--pictures', action=argparse.BooleanOptionalAction, default=True, help='write a picture of each image'
    )
    parser.add_argument(
        '--color-by',
        choices=['instance', 'class'],
        help='a colour for each object or for each class (default: by instance for masks and keypoints, else by class)',
    )
    parser.add_argument(
        '--save-json', action=argparse.BooleanOptionalAction, default=True, help='write predictions.json'
    )
    parser.add_argument('--cfg-options', nargs='+', metavar='KEY=VALUE', help='replace values of the config')


def run(args: argparse.Namespace) -> None:
    # Only now, so that --help needs no torch.
    from detkit.inference import Predictor, find_images, require_images
    from detkit.inference.to_folder import predict_to_folder

    images = require_images(find_images(args.source))  # a mistyped source is found before the model is built
    predictor = Predictor(
        None if args.config == '-' else args.config,
        args.checkpoint,
        device=args.device,
        img_size=args.img_size,
        batch_size=args.batch_size,
        score_thr=args.score_thr,
        iou_thr=args.iou_thr,
        classes=args.classes,
        max_per_img=args.max_per_img,
        class_agnostic=args.class_agnostic,
        retina_masks=args.retina_masks,
        amp=args.amp,
        options=args.cfg_options,
    )
    json_name = 'predictions.json' if args.save_json else None
    predict_to_folder(predictor, images, args.out_dir, args.pictures, json_name, args.color_by)
