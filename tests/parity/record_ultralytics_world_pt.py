"""Records how ultralytics 8.4.190 writes YOLO-World files, and what it finds with such a file.

Run in an environment that has ultralytics 8.4.190 (it is no dependency of detkit):

    cd tests && python -m parity.record_ultralytics_world_pt

For both versions in size s with 3 classes a file is saved and loaded again, as ``record_ultralytics_pt.py`` does it.
Weights and texts are those of ``world_shapes.py``, rounded to half precision. ultralytics_world_pt.npz holds what that
file says of ``layouts``, ``files`` and detections, of scores above .005. Of the attributes of the whole model a file
also has the texts, ``txt_feats (1, 3, 512)``, as a plain tensor.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import torch
import ultralytics
from parity import record_ultralytics_pt
from parity.layout import layout
from parity.record_ultralytics_pt import IMAGES, NUM_CLASSES, SEED, detections, saved_and_loaded
from parity.seeded import fingerprint
from parity.world_shapes import VERSIONS, texts, world_state
from ultralytics.nn.tasks import WorldModel

SCORE_THR = 0.005


def build(version: str) -> WorldModel:
    model = WorldModel(f'yolov8s-world{version.removeprefix("v1")}.yaml', ch=3, nc=NUM_CLASSES, verbose=False)
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items() if '.dfl.' not in key}
    model.load_state_dict(world_state(shapes, SEED), strict=False)
    model.txt_feats = texts(SEED)[:NUM_CLASSES].unsqueeze(0).half().double()
    return model


def main() -> None:
    torch.set_default_dtype(torch.float64)
    record_ultralytics_pt.SCORE_THR = SCORE_THR
    recorded = {'version': ultralytics.__version__, 'seed': SEED, 'images': IMAGES, 'score_thr': SCORE_THR}
    layouts, files = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for version in VERSIONS:
            content, model = saved_and_loaded(build(version), folder)
            assert model.txt_feats.shape == (1, NUM_CLASSES, 512)
            layouts[version] = layout(model)
            files['saved'] = {key: type(value).__name__ for key, value in content.items()}
            for image, table in enumerate(detections('det', model)):
                recorded[f'{version}.detections.{image}'] = fingerprint(table)
                recorded[f'{version}.detections.{image}.count'] = len(table)
                print(version, image, tuple(table.shape))
    for key, value in (('layouts', layouts), ('files', files)):
        recorded[key] = np.frombuffer(json.dumps(value).encode(), np.uint8)
    np.savez_compressed(Path(__file__).with_name('ultralytics_world_pt.npz'), **recorded)


if __name__ == '__main__':
    main()
