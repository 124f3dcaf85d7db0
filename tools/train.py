"""Train a detector from a config file.

python tools/train.py configs/yolov8/seg_n_coco8.py
python tools/train.py configs/yolov8/seg_n_coco8.py --cfg-options data_root=/data/coco8-seg batch_size=8
python tools/train.py work_dirs/seg_n_coco8/config.py --cfg-options max_epochs=200
"""

import sys

from detkit.cli.main import find_command

command = find_command('train', prog='python tools/train.py')
parse_args, main = command.parse_args, command.main

if __name__ == '__main__':
    sys.exit(command.exit_status())
