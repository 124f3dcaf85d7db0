r"""Draw the feature maps of a network's modules, or the regions of an image that a prediction depends on (CAM).

detkit analyze feature-maps yolov8/seg_n_coco8 work_dirs/seg_n_coco8/best.pth photo.jpg
detkit analyze feature-maps yolov8/seg_n_coco8 work_dirs/seg_n_coco8/best.pth photos/ \
    --method maps --module backbone.stem 'neck.*'
"""

import argparse

from detkit.cli.arguments import add_shared_arguments, share, whole
from detkit.cli.command import CommandParser


def add_arguments(parser: CommandParser) -> None:
    add_shared_arguments(parser, 'config', 'checkpoint', '--device', '--cfg-options')
    parser.add_argument('source', nargs='?', help='image, folder or glob pattern')
    parser.add_argument(
        '--method',
        choices=['gradcam', 'eigencam', 'maps'],
        default='gradcam',
        help='heat map by Grad-CAM or Eigen-CAM, or the channels of feature maps side by side (default: gradcam)',
    )
    parser.add_argument(
        '--module',
        nargs='+',
        metavar='NAME',
        help="modules whose output is drawn: one for a heat map, any number for feature maps, also as 'neck.*', "
        "or 'neck.**' for those inside them too (default: the last one before the head)",
    )
    parser.add_argument('--list', action='store_true', help='list the names of all modules')
    parser.add_argument(
        '--class',
        dest='class_name',
        metavar='NAME',
        help="the class that Grad-CAM explains (default: that of an image's best prediction)",
    )
    parser.add_argument(
        '--out', metavar='FOLDER', default='feature_maps', help='folder of the pictures (default: feature_maps)'
    )
    parser.add_argument(
        '--channels', type=whole(1), default=64, help='number of channels to draw of a feature map (default: 64)'
    )
    parser.add_argument('--img-size', type=whole(1), help="longer side of the images (default: the config's test size)")
    parser.add_argument(
        '--score-thr',
        type=share,
        default=0.25,
        help='least score of a prediction that is drawn or explained (default: 0.25)',
    )
    parser.without_effect(lambda args: args.method != 'gradcam', '--class', why='without --method gradcam')
    parser.without_effect(lambda args: args.method != 'maps', '--channels', why='without --method maps')
    parser.mistake = _mistake


def _mistake(args: argparse.Namespace) -> str | None:
    if args.source is None and not args.list:
        return 'which images? Give one, a folder or a pattern, or --list for the names of the modules'
    if args.method != 'maps' and len(args.module or ()) > 1:
        return '--method gradcam and eigencam take one --module'
    return None


def run(args: argparse.Namespace) -> None:
    # Only now, so that --help needs no torch.
    from detkit.analysis.features.feature_maps import default_module, write_activations, write_cams
    from detkit.inference import Predictor
    from detkit.utils.numbers import count_text

    predictor = Predictor(
        args.config,
        args.checkpoint,
        device=args.device,
        img_size=args.img_size,
        score_thr=args.score_thr,
        fuse=False,
        cfg_options=args.cfg_options,
    )
    if args.list:
        for name, module in predictor.model.named_modules():
            print(f'{name or "(all)"}  {type(module).__name__}')
        return
    modules = args.module or [default_module(predictor.model)]
    if args.method == 'maps':
        files = write_activations(predictor, args.source, modules, args.out, args.channels)
    else:
        files = write_cams(predictor, args.source, args.method, args.out, modules[0], args.class_name)
    print(f'{count_text(len(files), "picture")} in {args.out}')
