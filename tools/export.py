"""Export a model to ONNX, OpenVINO, ncnn, ExecuTorch or another format, and check the file against PyTorch.

The file is loaded back by its runtime and run on pictures. The largest differences of boxes and scores from PyTorch are
printed; above the tolerance the file is kept under another name, and the exit status is 2. It holds all that prediction
needs besides pictures: detkit predict, test and serve take it in place of a checkpoint.

python tools/export.py work_dirs/seg_n_coco8/best.pth
python tools/export.py work_dirs/seg_n_coco8/best.pth --format openvino --half --images photos
python tools/export.py work_dirs/seg_n_coco8/best.pth --dynamic --batch-size 4
python tools/export.py yolov8n --nms --score-thr 0.4 --out detector.onnx
python tools/export.py best.pth --format openvino --int8 --calibration images/train --data data.yaml
"""

import sys

from detkit.cli.main import find_command

command = find_command('export', prog='python tools/export.py')
parse_args, main = command.parse_args, command.main

if __name__ == '__main__':
    sys.exit(command.exit_status())
