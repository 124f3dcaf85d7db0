"""Compare the speed of models in prediction or training: parameters, GFLOPs, latency, images/s, memory.

    python tools/analyze/benchmark.py configs/yolov8/det_coco.py configs/yolov5/det_coco.py --batch-size 1 8
    python tools/analyze/benchmark.py configs/yolov8/det_coco.py --amp --compile --runtimes onnx openvino --device cpu
    python tools/analyze/benchmark.py runs/a/config.py --checkpoints runs/a/best.pth --runtimes onnx openvino --metrics
    python tools/analyze/benchmark.py configs/yolov8/seg_n_coco8.py configs/yolov8/det_n_coco8.py --train

The variants run in turns, so that other load on the machine affects all of them equally. Each is compared with the
first: the ratio of their times has a confidence interval, which contains 1 for two copies of one model.
"""

import sys

from detkit.cli.main import find_command

command = find_command('analyze benchmark', prog='python tools/analyze/benchmark.py')
parse_args, main = command.parse_args, command.main

if __name__ == '__main__':
    sys.exit(command.exit_status())
