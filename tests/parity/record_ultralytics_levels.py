"""Records what ultralytics 8.4.190 computes for YOLOv8 and YOLO26 with a level of stride 4 or 64.

Run in an environment that has ultralytics 8.4.190 (it is no dependency of detkit):

    cd tests && python -m parity.record_ultralytics_levels

Into yolov8_levels.npz and yolo26_levels.npz: weights and what is recorded are those of ``record_ultralytics_yolo11.py``
and ``record_ultralytics_yolo26.py``, for the models p2_n and p6_n (80 classes), the gradients in one table; images and
ground truth are twice as large as there, as a stride of 64 needs.

Into yolov8_p6_tasks.npz: the same of yolov8-seg-p6 and yolov8-pose-p6, of size n.

Into ultralytics_levels_pt.npz: what ``record_ultralytics_pt.py`` records of saved files, for yolov8_p2, yolov8_p6,
yolo26_p2, yolo26_p6, yolov8_p6_seg and yolov8_p6_pose of size n, also with larger images.

In this release SPPF of YOLO26 with a stride of 64 has no shortcut; that of YOLO26's other models has one.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import torch
import ultralytics
from parity import record_ultralytics_yolo11, record_ultralytics_yolo26
from parity.layout import layout
from parity.levels_shapes import LEVELS, SHAPE, TASKS
from parity.record_ultralytics_pt import IMAGES, SCORE_THR, build, detections, saved_and_loaded
from parity.record_ultralytics_pt import SEED as FILE_SEED
from parity.record_ultralytics_yolo11 import LABELS, MODELS, SEED, reference_batch
from parity.record_ultralytics_yolo26 import GRADIENT_SAMPLES, packed
from parity.seeded import fingerprint, seeded_tensor
from parity.shapes import loss_state
from ultralytics.cfg import get_cfg
from ultralytics.nn.tasks import DetectionModel

FAMILIES = ('yolov8', 'yolo26')


def batch(task: str = 'det') -> dict[str, torch.Tensor]:
    """The ground truth is relative to the image; each pixel of a mask becomes four."""
    found = reference_batch(task) | dict(img=seeded_tensor((3, 3, *SHAPE), 'image', SEED))
    if task == 'seg':
        found['masks'] = found['masks'].repeat_interleave(2, 1).repeat_interleave(2, 2)
    return found


def record_models(family: str) -> None:
    recorded = {'version': ultralytics.__version__, 'seed': SEED, 'labels': LABELS}
    for level in LEVELS:
        model = DetectionModel(f'{family}n-{level}.yaml', ch=3, nc=80, verbose=False).double()
        shapes = {key: tuple(v.shape) for key, v in model.state_dict().items() if '.dfl.' not in key}
        model.load_state_dict(loss_state(shapes, SEED), strict=False)
        model.args = get_cfg()
        if family == 'yolo26':
            record_ultralytics_yolo26.record_detector(f'{level}_n', 'det', model, recorded, batch())
        else:
            record_ultralytics_yolo11.record_detector(f'{level}_n', 'det', model, recorded, batch(), GRADIENT_SAMPLES)
    np.savez_compressed(Path(__file__).with_name(f'{family}_levels.npz'), **packed(recorded))


def record_tasks() -> None:
    recorded = {'version': ultralytics.__version__, 'seed': SEED}
    for task, num_classes in TASKS.items():
        cls, suffix, _ = MODELS[task]
        model = cls(f'yolov8n{suffix}-p6.yaml', ch=3, nc=num_classes, verbose=False).double()
        shapes = {key: tuple(v.shape) for key, v in model.state_dict().items() if '.dfl.' not in key}
        model.load_state_dict(loss_state(shapes, SEED), strict=False)
        model.args = get_cfg()
        record_ultralytics_yolo11.record_detector(f'{task}_n', task, model, recorded, batch(task), GRADIENT_SAMPLES)
    np.savez_compressed(Path(__file__).with_name('yolov8_p6_tasks.npz'), **packed(recorded))


def record_files() -> None:
    recorded = {
        'version': ultralytics.__version__, 'seed': FILE_SEED, 'images': IMAGES, 'score_thr': SCORE_THR,
    }  # fmt: skip
    layouts, files = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        models = {f'{family}_{level}': ('det', family, f'-{level}') for family in FAMILIES for level in LEVELS}
        models |= {f'yolov8_p6_{task}': (task, 'yolov8', '-p6') for task in TASKS}
        for name, (task, family, level) in models.items():
            content, model = saved_and_loaded(build(task, 'n', family, level), folder)
            layouts[name] = layout(model)
            files.setdefault('saved', {key: type(value).__name__ for key, value in content.items()})
            for image, table in enumerate(detections(task, model, SHAPE)):
                recorded[f'{name}.detections.{image}'] = fingerprint(table)
                recorded[f'{name}.detections.{image}.count'] = len(table)
                print(name, image, tuple(table.shape))
    for key, value in (('layouts', layouts), ('files', files)):
        recorded[key] = np.frombuffer(json.dumps(value).encode(), np.uint8)
    np.savez_compressed(Path(__file__).with_name('ultralytics_levels_pt.npz'), **recorded)


def main() -> None:
    for level in LEVELS:
        counts = [DetectionModel(f'yolov8{size}-{level}.yaml', verbose=False) for size in 'nsmlx']
        print(level, [sum(param.numel() for param in model.parameters()) for model in counts])
    for task in TASKS:
        cls, suffix, _ = MODELS[task]
        counts = [cls(f'yolov8{size}{suffix}-p6.yaml', verbose=False) for size in 'nsmlx']
        print(task, [sum(param.numel() for param in model.parameters()) for model in counts])
    torch.set_default_dtype(torch.float64)
    record_files()
    torch.Tensor.float = torch.Tensor.double
    for family in FAMILIES:
        record_models(family)
    record_tasks()


if __name__ == '__main__':
    main()
