"""Follow objects through videos: each gets a number that stays with it.

Beside each video with its tracks drawn there is a text in MOTChallenge's format. Images, such as those of a folder, are
taken for the frames of one video. --score-thr is 0.1 by default, as trackers use boxes of low scores too.

python tools/track.py work_dirs/seg_n_coco8/best.pth clip.mp4
python tools/track.py work_dirs/seg_n_coco8/best.pth clip.mp4 --tracker ocsort --classes person --frame-stride 2
python tools/track.py yolov8n rtsp://192.168.0.20/stream --no-pictures
"""

import sys

from detkit.cli.main import find_command

command = find_command('track', prog='python tools/track.py')
parse_args, main = command.parse_args, command.main

if __name__ == '__main__':
    sys.exit(command.exit_status())
