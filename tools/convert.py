"""Make a checkpoint of another project's weights.

    python tools/convert.py ultralytics yolov8n-seg.pt yolov8n-seg.pth
    python tools/convert.py yolov5 yolov5s.pt yolov5s.pth
    python tools/convert.py darknet yolov3-spp.weights yolov3-spp.pth
    python tools/convert.py yolox yolox_s.pth yolox-s.pth
    python tools/convert.py detr detr-r50-e632da11.pth detr-r50.pth
    python tools/convert.py rfdetr rf-detr-nano.pth rfdetr-n.pth
    python tools/convert.py deimv2 deimv2_hgnetv2_pico_coco.pth deimv2-pico.pth
    python tools/convert.py rtdetr rtdetr_r18vd_dec3_6x_coco_from_paddle.pth rtdetr-r18.pth
    python tools/convert.py dfine dfine_n_coco.pth dfine-n.pth
    python tools/convert.py torchvision retinanet_resnet50_fpn_coco-eeacb38b.pth retinanet-r50.pth

Then predict with it, test it, or train from it (load_from=yolov8n-seg.pth); the tool says with which config.
"""

import sys

from detkit.cli.main import find_command

command = find_command('convert', prog='python tools/convert.py')
parse_args, main = command.parse_args, command.main

if __name__ == '__main__':
    sys.exit(command.exit_status())
