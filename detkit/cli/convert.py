"""Make a checkpoint of another project's weights.

    detkit convert ultralytics yolov8n-seg.pt yolov8n-seg.pth
    detkit convert yolov5 yolov5s.pt yolov5s.pth
    detkit convert darknet yolov3-spp.weights yolov3-spp.pth
    detkit convert yolox yolox_s.pth yolox-s.pth
    detkit convert detr detr-r50-e632da11.pth detr-r50.pth
    detkit convert rfdetr rf-detr-nano.pth rfdetr-n.pth
    detkit convert deimv2 deimv2_hgnetv2_pico_coco.pth deimv2-pico.pth
    detkit convert rtdetr rtdetr_r18vd_dec3_6x_coco_from_paddle.pth rtdetr-r18.pth
    detkit convert dfine dfine_n_coco.pth dfine-n.pth
    detkit convert torchvision retinanet_resnet50_fpn_coco-eeacb38b.pth retinanet-r50.pth

Then predict with it, test it, or train from it (load_from=yolov8n-seg.pth); the tool says with which config.
"""

import argparse
from importlib import import_module
from pathlib import Path

from detkit.cli.command import CommandParser

_SAME_MODEL = {
    'config': 'the config of the same model, instead of the one that the weights are found to be of',
    'names': 'class names, one a line, where neither the file nor COCO says them',
}
_METAVARS = {'size': 'SIZE', 'classes': 'NUMBER'}
# For each project: what its files are, the function that converts one, and what else that function takes.
CONVERTERS = {
    'ultralytics': (
        'YOLOv8, YOLOv10, YOLO11, YOLO26 or YOLO-World of any task and size, a .pt file',
        'detkit.converters.ultralytics',
        'convert_ultralytics',
        {},
    ),
    'yolov5': (
        'a YOLOv5 detector of any size, release 5.0 to 7.0, a .pt file',
        'detkit.converters.yolov5',
        'convert_yolov5',
        {},
    ),
    'darknet': (
        'YOLOv3, YOLOv3-SPP or YOLOv3-tiny, a .weights file; or a checkpoint of one back to a .weights file',
        'detkit.converters.darknet',
        'convert_darknet',
        {
            'cfg': 'the .cfg file: checks that it is one of these models, takes its anchors, classes and size',
            'names': 'the .names file: class names, one a line',
        },
    ),
    'yolox': (
        "YOLOX of any size, its authors' .pth of release 0.1.1rc0 or of their training",
        'detkit.converters.yolox',
        'convert_yolox',
        _SAME_MODEL,
    ),
    'detr': (
        "DETR on ResNet, with masks or without: its authors' .pth, or model.safetensors of the Hugging Face Hub",
        'detkit.converters.detr',
        'convert_detr',
        {
            'size': 'r50, r101, r50_dc5 or r101_dc5, where nothing in the file says whether it is a DC5',
            **_SAME_MODEL,
        },
    ),
    'rfdetr': (
        "RF-DETR, with masks or without: its authors' .pth, or model.safetensors of the Hugging Face Hub",
        'detkit.converters.rfdetr',
        'convert_rfdetr',
        _SAME_MODEL,
    ),
    'rtdetr': (
        "RT-DETR or RT-DETRv2: its authors' .pth, or model.safetensors of the Hugging Face Hub",
        'detkit.converters.rtdetr',
        'convert_rtdetr',
        _SAME_MODEL,
    ),
    'dfine': (
        "D-FINE: its authors' .pth, or model.safetensors of the Hugging Face Hub",
        'detkit.converters.rtdetr',
        'convert_dfine',
        _SAME_MODEL,
    ),
    'deim': (
        "DEIM on D-FINE or RT-DETRv2: its authors' .pth, whose weights do not show that they are DEIM's",
        'detkit.converters.rtdetr',
        'convert_deim',
        _SAME_MODEL,
    ),
    'torchvision': (
        "torchvision's Faster, Mask or Keypoint R-CNN, RetinaNet or FCOS, a .pth file; or a checkpoint of one back",
        'detkit.converters.torchvision',
        'convert_torchvision',
        {
            'classes': "80 (the default) or 91: COCO's classes, or all category ids of a file that counts these",
            **_SAME_MODEL,
        },
    ),
    'deimv2': (
        "DEIMv2 Atto, Femto, Pico or N: its authors' .pth or model.safetensors, or transformers' model.safetensors",
        'detkit.converters.deim',
        'convert_deimv2',
        _SAME_MODEL,
    ),
}


def add_arguments(parser: CommandParser) -> None:
    projects = parser.add_subparsers(dest='project', metavar='PROJECT', required=True)
    for name, (what, _, _, options) in CONVERTERS.items():
        project = projects.add_parser(name, help=what, description=f'Convert {what}. Nothing in the file is run.')
        project.add_argument('source', metavar='IN', help='the file to convert')
        project.add_argument('target', metavar='OUT', help='the checkpoint to write (.pth)')
        for option, meaning in options.items():
            project.add_argument(f'--{option}', metavar=_METAVARS.get(option, 'FILE'), help=meaning)


def run(args: argparse.Namespace) -> None:
    _, module, function, options = CONVERTERS[args.project]

    # Only now, so that --help needs no torch.
    from detkit.config import configs_folder
    from detkit.utils.errors import CheckpointError
    from detkit.utils.printable import printable

    convert = getattr(import_module(module), function)
    given = {option: getattr(args, option) for option in options}
    try:
        lines = convert(args.source, args.target, configs_folder(), **given)
    except CheckpointError as error:
        other = _other_project(args)
        if other is None or 'detkit convert' in str(error):
            raise
        raise CheckpointError(f'{error} It is a file for `detkit convert {other}`.') from error
    print(printable('\n'.join(lines)))


def _other_project(args: argparse.Namespace) -> str | None:
    """Return the project whose files are such as the given one; None for none, or one that shares a converter."""
    from detkit.converters.any_file import project_of
    from detkit.utils.errors import CheckpointError

    try:
        found = project_of(Path(args.source))
    except CheckpointError:
        return None
    return None if found is None or CONVERTERS[found][1] == CONVERTERS[args.project][1] else found
