"""Count the objects that cross lines and those in zones of a video.

Objects are tracked, and count at the middle of their boxes. A line is crossed 'in' towards its right-hand side as it is
seen from its first to its second point. Points are x,y in pixels, or shares of width and height where none is above 1.

python tools/count.py work_dirs/seg_n_coco8/best.pth street.mp4 --line gate 0.1,0.5 0.9,0.5
python tools/count.py yolov8n street.mp4 --zone lane 0,300 640,300 640,480 0,480 --anchor bottom --classes car bus
"""

import sys

from detkit.cli.main import find_command

command = find_command('count', prog='python tools/count.py')
parse_args, main = command.parse_args, command.main

if __name__ == '__main__':
    sys.exit(command.exit_status())
