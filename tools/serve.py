"""Serve a model over HTTP: predictions for programs, and one page for people.

POST an image to /predict: as a file of a form, as the bytes of a file, or in JSON as base64. The options of a
prediction are those of the query (?score_thr=0.5); the answer is JSON, or a picture (?format=jpg). /health, /metrics
and /info describe the server and its model; the page at / shows what is found in a picture. Where the environment
variable DETKIT_SERVE_TOKEN is set, requests must send that token.

python tools/serve.py work_dirs/seg_n_coco8/best.pth
python tools/serve.py work_dirs/seg_n_coco8/best.pth --port 9000 --batch-size 16 --max-wait-ms 10
python tools/serve.py yolov8n --host 0.0.0.0 --allow-urls images.example.org
"""

import sys

from detkit.cli.main import find_command

command = find_command('serve', prog='python tools/serve.py')
parse_args, main = command.parse_args, command.main

if __name__ == '__main__':
    sys.exit(command.exit_status())
