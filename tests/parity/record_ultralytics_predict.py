"""Records what ultralytics 8.4.190 finds on real pictures that shrink to less than half, into ultralytics_predict.npz,
and with YOLO26 into ultralytics_yolo26_predict.npz.

Run in an environment that has ultralytics 8.4.190 (it is no dependency of detkit), with the folder of real pictures:

    cd tests && python -m parity.record_ultralytics_predict /path/to/data

For each task, a model of size n with the weights of ``record_ultralytics_pt.py``, whose scores ``real_pictures.py``
spreads, predicts on the pictures and at the sizes named there, with all else as ``YOLO(...).predict`` has it but the
least score. (At a size where a picture's rounded side needs no padding, such as 256 for 640x481 pixels, the reference
rescales boxes by another factor than it resized the picture by, and its boxes are off by up to a pixel of the input.)
Recorded are

- ``<task>.<picture>``: the table of the ``ROWS`` best detections: x0, y0, x1, y1 and score of a box, and keypoints
  after these; or cx, cy, w, h, angle and score of a rotated box, w the longer side, the angle in
  [-pi / 4, 3 pi / 4); or the scores of a classifier;
- ``<task>.<picture>.count``: the number of all detections.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import ultralytics
from parity.real_pictures import ROWS, SCORE_THR, SIZES, pictures_of, with_spread_boxes, with_spread_scores
from parity.record_ultralytics_pt import SEED, SUFFIXES, build
from ultralytics import YOLO

TASKS = {'det': 'detect', 'seg': 'segment', 'pose': 'pose', 'obb': 'obb', 'cls': 'classify'}


def table(task: str, result: ultralytics.engine.results.Results) -> np.ndarray:
    if task == 'cls':
        return result.probs.data.numpy()
    if task == 'obb':
        data = result.obb.data.numpy()  # cx, cy, w, h, angle, score, label
        along = data[:, 2] >= data[:, 3]
        angles = np.where(along, data[:, 4], data[:, 4] + np.pi / 2)
        sides = np.sort(data[:, 2:4], 1)[:, ::-1]
        angles = (angles + np.pi / 4) % np.pi - np.pi / 4
        return np.concatenate([data[:, :2], sides, angles[:, None], data[:, 5:6]], 1)
    keypoints = result.keypoints.xy.numpy().reshape(len(result.boxes), -1) if task == 'pose' else None
    boxes = result.boxes.data.numpy()[:, :5]
    return boxes if keypoints is None else np.concatenate([boxes, keypoints], 1)


def record(data: Path, family: str, target: str) -> None:
    spread = with_spread_boxes if family == 'yolo26' else with_spread_scores
    recorded = {'version': np.array(ultralytics.__version__), 'seed': np.array(SEED), 'score_thr': np.array(SCORE_THR)}
    for task, size in SIZES.items():
        with tempfile.TemporaryDirectory() as folder:
            wrapper, path = YOLO(f'{family}n{SUFFIXES[task]}.yaml'), Path(folder) / 'model.pt'
            wrapper.model = build(task, 'n', family)
            wrapper.model.load_state_dict(spread(wrapper.model.state_dict()))
            wrapper.model.task = TASKS[task]
            wrapper.save(path)
            model = YOLO(path)
            # YOLO26's one-to-one branches, which a model that is built anew leaves out.
            more = {'end2end': True} if family == 'yolo26' and task != 'cls' else {}
            for picture in pictures_of(task):
                result = model.predict(data / picture, imgsz=size, conf=SCORE_THR, verbose=False, device='cpu', **more)[
                    0
                ]
                found = table(task, result)
                scores = np.zeros(0) if task == 'cls' else found[:, 5 if task == 'obb' else 4]
                recorded[f'{task}.{Path(picture).stem}'] = found[:ROWS]
                recorded[f'{task}.{Path(picture).stem}.count'] = np.array(len(found))
                print(task, result.orig_shape, len(found), scores[:3], scores[ROWS - 1 : ROWS + 1])
    assert set(SIZES) == set(SUFFIXES)
    torch.set_default_dtype(torch.float32)
    np.savez_compressed(Path(__file__).with_name(target), **recorded)


def main() -> None:
    record(Path(sys.argv[1]), 'yolov8', 'ultralytics_predict.npz')
    record(Path(sys.argv[1]), 'yolo26', 'ultralytics_yolo26_predict.npz')


if __name__ == '__main__':
    main()
