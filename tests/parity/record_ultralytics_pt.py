"""Records how ultralytics 8.4.190 writes YOLOv8, YOLOv10, YOLO11 and YOLO26 files, and what it finds with such a file.

Results are ultralytics_pt.npz, ultralytics_yolo11_pt.npz, ultralytics_yolo26_pt.npz and ultralytics_yolov10_pt.npz,
the last of detectors alone.

Run in an environment that has ultralytics 8.4.190 (it is no dependency of detkit):

    cd tests && python -m parity.record_ultralytics_pt

For each task and the sizes n and m (3 classes; pose: 5 keypoints of 2 values) a file is saved and loaded again. Its
weights are those of ``shapes.py``'s ``loss_state``, rounded to half precision as such files have them. Recorded are

- ``layouts``: as JSON in bytes, for each model the modules in order, ``[name, class, attributes, parameters,
  buffers]``, of which the last two map names to shapes, and attributes are the plain ones; ``files``: the entries of a
  saved file and of one that training wrote, with the names of their types;
- ``<model>.detections.<image>``: a fingerprint of the table of detections in float64 after suppression (score above
  .05, IoU .7, one label a point, 300 at most), and ``.count``, its length: x0, y0, x1, y1, score, label and x, y of
  each keypoint, all clipped; or, of rotated boxes, cx, cy, w, h, score, label, angle, w being the longer side and the
  angle within [-pi / 4, 3 pi / 4). Of a classifier it is the scores. The one-to-one heads are turned on, whose
  detections above .05 are not suppressed.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import torch
import ultralytics
from parity.layout import layout
from parity.seeded import fingerprint, seeded_tensor
from parity.shapes import IMG_SHAPE, loss_state
from torch import nn
from ultralytics import YOLO
from ultralytics.utils.nms import non_max_suppression

SEED = 27
NUM_CLASSES = 3
KEYPOINT_SHAPE = [5, 2]
IMAGES = 2
SCORE_THR = 0.05
SUFFIXES = {'det': '', 'seg': '-seg', 'pose': '-pose', 'obb': '-obb', 'cls': '-cls'}


def build(task: str, size: str, family: str = 'yolov8', level: str = '') -> nn.Module:
    from ultralytics.nn import tasks

    cls = {
        'det': tasks.DetectionModel,
        'seg': tasks.SegmentationModel,
        'pose': tasks.PoseModel,
        'obb': tasks.OBBModel,
        'cls': tasks.ClassificationModel,
    }[task]
    more = {'data_kpt_shape': KEYPOINT_SHAPE} if task == 'pose' else {}
    model = cls(f'{family}{size}{SUFFIXES[task]}{level}.yaml', ch=3, nc=NUM_CLASSES, verbose=False, **more)
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items() if '.dfl.' not in key}
    model.load_state_dict(loss_state(shapes, SEED), strict=False)
    return model


def saved_and_loaded(model: nn.Module, folder: str) -> tuple[dict, nn.Module]:
    """The content of a file that ``YOLO.save`` writes, and its model in float64."""
    wrapper = YOLO('yolov8n.yaml')
    wrapper.model, path = model, Path(folder) / 'model.pt'
    wrapper.save(path)
    content = torch.load(path, weights_only=False)
    return content, content['model'].double()


def detections(task: str, model: nn.Module, shape: tuple[int, int] = IMG_SHAPE) -> list[torch.Tensor]:
    images = seeded_tensor((IMAGES, 3, *shape), 'image', SEED)
    one_to_one = hasattr(model.model[-1], 'one2one_cv2')
    if one_to_one:
        model.model[-1].end2end = True
    with torch.no_grad():
        output = model.eval()(images)
    while isinstance(output, tuple):
        output = output[0]
    if one_to_one and task != 'cls':
        tables = [table[table[:, 4] > SCORE_THR] for table in output]
        return [canonical(task, table if task == 'obb' else ordered(table), shape) for table in tables]
    if task == 'cls':
        return list(output)
    # The reference gives up after a time limit, which is lifted here.
    tables = non_max_suppression(
        output, SCORE_THR, 0.7, max_det=300, nc=NUM_CLASSES, max_time_img=1e3, rotated=task == 'obb'
    )
    return [canonical(task, table, shape) for table in tables]


def ordered(table: torch.Tensor) -> torch.Tensor:
    """The table with corners in order, which untrained distances, being of any sign, do not give."""
    corners = [table[:, :2].minimum(table[:, 2:4]), table[:, :2].maximum(table[:, 2:4])]
    return torch.cat([*corners, table[:, 4:]], 1)


def canonical(task: str, table: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    """The table as predictors report it."""
    if task == 'obb':
        along = table[:, 2] >= table[:, 3]
        angles = torch.where(along, table[:, 6], table[:, 6] + np.pi / 2)
        sides = table[:, 2:4].sort(1, descending=True).values
        return torch.cat([table[:, :2], sides, table[:, 4:6], (angles.unsqueeze(1) + np.pi / 4) % np.pi - np.pi / 4], 1)
    size = torch.tensor(shape[::-1])
    boxes = table[:, :4].clamp(min=0).minimum(size.repeat(2))
    keypoints = [table[:, 6:].clamp(min=0).minimum(size.repeat(KEYPOINT_SHAPE[0]))] if task == 'pose' else []
    return torch.cat([boxes, table[:, 4:6], *keypoints], 1)


def trained_entries() -> dict[str, str]:
    """The entries of a file that training wrote: of names, the types."""
    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(0)
        import cv2

        for split in ('train', 'val'):
            for name in ('cat', 'dog'):
                (Path(folder) / 'data' / split / name).mkdir(parents=True)
                for number in range(2):
                    path = Path(folder) / 'data' / split / name / f'{number}.png'
                    cv2.imwrite(str(path), rng.integers(0, 256, (32, 32, 3), np.uint8))
        trained = YOLO('yolov8n-cls.yaml').train(
            data=f'{folder}/data',
            epochs=1,
            imgsz=32,
            batch=2,
            workers=0,
            device='cpu',
            project=folder,
            plots=False,
            save_period=1,
        )
        content = torch.load(trained.save_dir / 'weights' / 'epoch0.pt', weights_only=False)
        return {key: type(value).__name__ for key, value in content.items()}


def record(family: str, target: str, tasks: tuple[str, ...] = tuple(SUFFIXES)) -> None:
    torch.set_default_dtype(torch.float64)
    recorded, layouts, files = (
        {'version': ultralytics.__version__, 'seed': SEED, 'images': IMAGES, 'score_thr': SCORE_THR},
        {},
        {},
    )
    with tempfile.TemporaryDirectory() as folder:
        for task in tasks:
            for size in ('n', 'm'):
                name = f'{task}_{size}'
                content, model = saved_and_loaded(build(task, size, family), folder)
                layouts[name] = layout(model)
                files['saved'] = {key: type(value).__name__ for key, value in content.items()}
                for image, table in enumerate(detections(task, model)):
                    recorded[f'{name}.detections.{image}'] = fingerprint(table)
                    recorded[f'{name}.detections.{image}.count'] = len(table)
                    print(name, image, tuple(table.shape))
    torch.set_default_dtype(torch.float32)
    files['trained'] = trained_entries()
    for key, value in (('layouts', layouts), ('files', files)):
        recorded[key] = np.frombuffer(json.dumps(value).encode(), np.uint8)
    np.savez_compressed(Path(__file__).with_name(target), **recorded)


def main() -> None:
    record('yolov8', 'ultralytics_pt.npz')
    record('yolo11', 'ultralytics_yolo11_pt.npz')
    record('yolo26', 'ultralytics_yolo26_pt.npz')
    record('yolov10', 'ultralytics_yolov10_pt.npz', ('det',))


if __name__ == '__main__':
    main()
