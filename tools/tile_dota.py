"""Cut DOTA's large images, and their labels, into tiles.

python tools/tile_dota.py /data/DOTA/train data/dota/train
python tools/tile_dota.py /data/DOTA/val data/dota/val --size 1024 --overlap 0.2
"""

import sys

from detkit.cli.main import find_command

command = find_command('tile-dota', prog='python tools/tile_dota.py')
parse_args, main = command.parse_args, command.main

if __name__ == '__main__':
    sys.exit(command.exit_status())
