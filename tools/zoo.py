"""List, show and fetch published weights.

A name may be given wherever a checkpoint is expected: the weights are fetched on first use, checked, converted, and
kept in a cache folder (DETKIT_CACHE). `python tools/zoo.py list` shows the names.

python tools/zoo.py list --task seg
python tools/zoo.py show yolov8n-seg
python tools/zoo.py fetch detr-r50
python tools/zoo.py fetch yolov8n --file downloads/yolov8n.pt
"""

import sys

from detkit.cli.main import find_command

command = find_command('zoo', prog='python tools/zoo.py')
parse_args, main = command.parse_args, command.main

if __name__ == '__main__':
    sys.exit(command.exit_status())
