"""Records how YOLOv5 writes its files, and what it finds with such a file, into yolov5_pt.npz.

Run once with each of the packages yolov5 5.0.10, 6.2.3 and 7.0.14 (they are no dependency of detkit), the first two
unpacked to a folder of their own if need be (6.2.3 also wants IPython); what the others recorded is kept:

    cd tests && PYTHONPATH=/path/to/yolov5-5.0.10 python -m parity.record_yolov5_pt 5

For each release and the sizes n and m (3 classes, anchors of its own) a file is written as training writes it, in half
precision and with an average, then stripped as training does at its end, and loaded again. Its weights are those of
``yolov5_state``, rounded to half precision. Recorded are

- ``layouts``: as JSON in bytes, for each model the modules in order, ``[name, class, attributes, parameters,
  buffers]``, of which the last two map names to shapes, and attributes are the plain ones; ``files``: the entries of
  the file as training wrote it and stripped, with the names of their types;
- ``<release>_<size>.detections.<image>``: a fingerprint of the table of detections in float64 after suppression (score
  above .05, IoU .6, several labels a place, 300 at most), and ``.count``, its length: x0, y0, x1, y1, score, label,
  clipped to the image.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from copy import deepcopy
from datetime import datetime
from pathlib import Path

import numpy as np
import torch
from parity.layout import layout
from parity.seeded import fingerprint, seeded_tensor
from parity.shapes import IMG_SHAPE
from parity.yolov5_state import ANCHORS, FACTORS, IMAGES, IOU_THR, NUM_CLASSES, SCORE_THR, SEED, yolov5_state
from torch import nn
from yolov5.models.yolo import Model
from yolov5.utils.general import non_max_suppression, strip_optimizer

TARGET = Path(__file__).with_name('yolov5_pt.npz')


def build(size: str, release: str) -> nn.Module:
    import yaml
    from yolov5 import models

    described = yaml.safe_load((Path(models.__file__).parent / 'yolov5s.yaml').read_text(encoding='utf-8'))
    described['depth_multiple'], described['width_multiple'] = FACTORS[size]
    described['anchors'] = [np.ravel(level).tolist() for level in ANCHORS]
    model = Model(described, ch=3, nc=NUM_CLASSES)
    model.names = ['cat', 'dog', 'bird'] if release < '7' else {0: 'cat', 1: 'dog', 2: 'bird'}  # as training does
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items() if 'anchor' not in key}
    model.load_state_dict(yolov5_state(shapes, SEED), strict=False)
    return model


def saved_and_loaded(model: nn.Module, folder: str) -> tuple[dict, dict, nn.Module]:
    """What is in a file as training writes it, what after stripping, and the latter's model in float64."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    torch.save(
        {
            'epoch': 3,
            'best_fitness': np.array([0.5]),
            'model': deepcopy(model).half(),
            'ema': deepcopy(model).half(),
            'updates': 12,
            'optimizer': optimizer.state_dict(),
            'opt': {'imgsz': 416, 'project': Path('runs')},
            'date': datetime(2024, 1, 1).isoformat(),
        },
        f'{folder}/last.pt',
    )
    load = torch.load
    torch.load = lambda *args, **kwargs: load(*args, **{**kwargs, 'weights_only': False})  # as torch did before 2.6
    content = torch.load(f'{folder}/last.pt')
    strip_optimizer(f'{folder}/last.pt', f'{folder}/stripped.pt')
    stripped = torch.load(f'{folder}/stripped.pt')
    torch.load = load
    return content, stripped, stripped['model'].double()


def detections(model: nn.Module) -> list[torch.Tensor]:
    images = seeded_tensor((IMAGES, 3, *IMG_SHAPE), 'image', SEED)
    size = torch.tensor(IMG_SHAPE[::-1]).repeat(2)
    with torch.no_grad():
        output = model.eval()(images)[0]
    # One image at a time, as the reference leaves out further ones after a time limit.
    tables = [
        non_max_suppression(output[[image]], SCORE_THR, IOU_THR, multi_label=True, max_det=300)[0]
        for image in range(IMAGES)
    ]
    return [torch.cat([table[:, :4].clamp(min=0).minimum(size), table[:, 4:]], 1) for table in tables]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument('release', choices=['5', '6', '7'], help='the first number of the version that is imported')
    release = parser.parse_args().release
    torch.set_default_dtype(torch.float64)
    recorded = {'seed': SEED, 'score_thr': SCORE_THR}
    texts = {'layouts': {}, 'files': {}}
    if TARGET.exists():
        with np.load(TARGET) as before:
            recorded = {key: before[key] for key in before.files if not key.startswith(release)}
        texts = {key: json.loads(recorded[key].tobytes()) for key in texts}
    for size in FACTORS:
        name = f'{release}_{size}'
        with tempfile.TemporaryDirectory() as folder:
            content, stripped, model = saved_and_loaded(build(size, release), folder)
        texts['layouts'][name] = layout(model)
        texts['files'][release] = [
            {key: type(value).__name__ for key, value in entries.items()} for entries in (content, stripped)
        ]
        for image, table in enumerate(detections(model)):
            recorded[f'{name}.detections.{image}'] = fingerprint(table)
            recorded[f'{name}.detections.{image}.count'] = len(table)
            print(name, image, tuple(table.shape))
    for key, value in texts.items():
        recorded[key] = np.frombuffer(json.dumps(value).encode(), np.uint8)
    np.savez_compressed(TARGET, **recorded)


if __name__ == '__main__':
    main()
