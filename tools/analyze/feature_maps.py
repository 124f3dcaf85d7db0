r"""Draw the feature maps of a network's modules, or the regions of an image that a prediction depends on (CAM).

python tools/analyze/feature_maps.py configs/yolov8/seg_n_coco8.py work_dirs/seg_n_coco8/best.pth photo.jpg
python tools/analyze/feature_maps.py configs/yolov8/seg_n_coco8.py work_dirs/seg_n_coco8/best.pth photos/ \
    --method maps --module backbone.stem 'neck.*'
"""

import sys

from detkit.cli.main import find_command

command = find_command('analyze feature-maps', prog='python tools/analyze/feature_maps.py')
parse_args, main = command.parse_args, command.main

if __name__ == '__main__':
    sys.exit(command.exit_status())
