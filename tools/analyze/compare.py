r"""Compare models on the same images: the better one, the certainty of that, and where they differ.

    python tools/analyze/compare.py \
        configs/yolov8/seg_n_coco8.py work_dirs/seg_n_coco8/best.pth \
        work_dirs/seg_n_coco8-2/config.py work_dirs/seg_n_coco8-2/best.pth --out compared.html

The console shows the metrics with intervals and a verdict for each pair; the page also holds classes, sizes, pictures
and the differences of the configs.
"""

import sys

from detkit.cli.main import find_command

command = find_command('analyze compare', prog='python tools/analyze/compare.py')
parse_args, main = command.parse_args, command.main

if __name__ == '__main__':
    sys.exit(command.exit_status())
