r"""Write a dataset in another format; what the format cannot hold is counted by reason.

    python tools/convert_dataset.py configs/yolov8/det_coco.py --to yolo --out data/coco-yolo
    python tools/convert_dataset.py --from voc data/VOCdevkit/VOC2007 --options splits={split} --split trainval test \
        --to coco --out data/voc-coco
    python tools/convert_dataset.py --from yolo data/mine --options data_yaml=data.yaml split={split} \
        --split train val --to voc --out data/mine-voc

The source is the data of a config, or a folder of a format that a dataset class reads.
"""

import sys

from detkit.cli.main import find_command

command = find_command('convert-dataset', prog='python tools/convert_dataset.py')
parse_args, main = command.parse_args, command.main

if __name__ == '__main__':
    sys.exit(command.exit_status())
