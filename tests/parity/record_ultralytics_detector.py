"""Records what ultralytics 8.4.190 predicts on real pictures, from file to result, into ultralytics_detector.npz.

Run in an environment that has ultralytics 8.4.190 (it is no dependency of detkit), with the folder of real pictures:

    cd tests && python -m parity.record_ultralytics_detector FOLDER

``FOLDER`` holds coco8-seg and dota8. For each task a file of size n is saved, with the weights of
``record_ultralytics_pt.py``, changed by ``predicted.spread``, and opened by ``YOLO``. Recorded are, for each image and
image size, ``<task>.<img_size>.<image>``: the 20 best detections ``(N, 6 + more)``: x0, y0, x1, y1, score, label, and
x, y of each keypoint, or of a mask at the image's resolution its area and centre; or cx, cy, w, h, angle, score, label
of a rotated box (w the longer side, angle within [-pi / 4, 3 pi / 4)); of a classifier the probabilities, which the
reference rounds to three digits. No image shrinks by more than 2.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import ultralytics
from parity.predicted import BEST, IMAGES, IOU_THR, SCORE_THR, SCORE_THRS, SIZES, spread
from parity.record_ultralytics_pt import SEED, SUFFIXES, build
from ultralytics import YOLO


def table(task: str, result) -> np.ndarray:
    if task == 'cls':
        return result.probs.data.numpy()
    if task == 'obb':
        found = result.obb
        cx, cy, w, h, angle = found.xywhr.double().unbind(1)
        angle = torch.where(w >= h, angle, angle + np.pi / 2)
        angle = (angle + np.pi / 4) % np.pi - np.pi / 4
        ends = [found.conf.double(), found.cls.double()]
        return torch.stack([cx, cy, torch.maximum(w, h), torch.minimum(w, h), angle, *ends], 1).numpy()
    columns = [result.boxes.xyxy, result.boxes.conf[:, None], result.boxes.cls[:, None]]
    if task == 'pose':
        columns.append(result.keypoints.xy.flatten(1))
    if task == 'seg':
        masks = result.masks.data > 0.5
        rows, cols = (torch.arange(side, dtype=torch.float64) + 0.5 for side in masks.shape[1:])
        areas = masks.sum((1, 2)).double()
        centres = [
            (masks * cols).sum((1, 2)) / areas.clamp(min=1),
            (masks * rows[:, None]).sum((1, 2)) / areas.clamp(min=1),
        ]
        columns.append(torch.stack([areas, *centres], 1))
    return torch.cat([column.double() for column in columns], 1).numpy()


def main() -> None:
    data = Path(sys.argv[1])
    recorded: dict[str, object] = {'version': ultralytics.__version__, 'seed': SEED}
    with tempfile.TemporaryDirectory() as folder:
        for task in SUFFIXES:
            wrapper, path = YOLO(f'yolov8n{SUFFIXES[task]}.yaml'), Path(folder) / f'{task}.pt'
            torch.set_default_dtype(torch.float64)
            network = build(task, 'n')
            network.load_state_dict(spread(network.state_dict()))
            torch.set_default_dtype(torch.float32)
            network.args, network.task = wrapper.model.args, wrapper.task
            wrapper.model = network
            wrapper.save(path)
            model = YOLO(path)
            for size in SIZES[task]:
                for number, image in enumerate(IMAGES[task]):
                    (result,) = model.predict(
                        data / image,
                        imgsz=size,
                        conf=SCORE_THRS.get((task, size), SCORE_THR),
                        iou=IOU_THR,
                        max_det=BEST,
                        device='cpu',
                        retina_masks=True,
                        verbose=False,
                    )
                    found = table(task, result)
                    recorded[f'{task}.{size}.{number}'] = found
                    print(task, size, image, found.shape, found[:3].round(3).tolist())
    np.savez_compressed(Path(__file__).with_name('ultralytics_detector.npz'), **recorded)


if __name__ == '__main__':
    main()
