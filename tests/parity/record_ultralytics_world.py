"""Records what ultralytics 8.4.190 computes for YOLO-World detectors with seeded weights, into yolo_world.npz.

Run in an environment that has ultralytics 8.4.190 (it is no dependency of detkit):

    cd tests && python -m parity.record_ultralytics_world

Weights and texts are made by ``world_shapes.py``, images and ground truth are those of ``record_ultralytics_yolo11.py``
(three images, one without objects), all in float64. The file holds for both versions ('v1' has image pooling
attention), all sizes and 80 texts of 512 numbers

- ``<version>_<size>.parameters``: the number of parameters, the 16 fixed ones of the integral of distributions
  included.

and for the sizes s and m

- ``<model>.<mode>.<output>``: fingerprints of raw boxes (B, 64, P) and scores (B, 80, P) in training and evaluation;
- ``<model>.losses``: box, cls and dfl, each times the batch size, in training mode;
- ``<model>.grad.<parameter>``: a fingerprint of 14 samples (float32) of each parameter's gradient of their sum;
- ``<model>.detections.<image>``: a fingerprint of the table x0, y0, x1, y1 (clipped), score, label after suppression
  (IoU .7, 300 at most, several labels a point, score above .001), and ``.count``, its length.

What to know of this release: the texts are used as they are given, of which the class scores normalise a copy; a model
from a YAML file begins with random texts that are not of length 1.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import ultralytics
from parity.record_ultralytics_yolo11 import LOSSES, SEED, record_detections, record_gradients, reference_batch
from parity.seeded import fingerprint
from parity.world_shapes import SIZES, VERSIONS, texts, world_state
from ultralytics.cfg import get_cfg
from ultralytics.nn.tasks import WorldModel


def build(version: str, size: str) -> WorldModel:
    model = WorldModel(f'yolov8{size}-world{version.removeprefix("v1")}.yaml', ch=3, nc=80, verbose=False).double()
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items() if '.dfl.' not in key}
    model.load_state_dict(world_state(shapes, SEED), False)
    model.txt_feats = texts(SEED).unsqueeze(0)
    model.args = get_cfg()
    return model


def record(name: str, model: WorldModel, recorded: dict) -> None:
    batch = reference_batch('det')
    with torch.no_grad():
        decoded, raw = model.eval()(batch['img'])
    record_detections(name, 'det', decoded, recorded)
    output = model.train()(batch['img'])
    for mode, tensors in (('eval', raw), ('train', output)):
        for key in ('boxes', 'scores'):
            recorded[f'{name}.{mode}.{key}'] = fingerprint(tensors[key])
    losses, items = model.init_criterion()(output, batch)
    losses.sum().backward()
    values = [float(items[f'{key}_loss']) * len(batch['img']) for key in LOSSES['det']]
    assert np.isclose(sum(values), losses.sum().item(), rtol=1e-12), 'the parts do not add up to the loss'
    recorded[f'{name}.losses'] = np.array(values)
    record_gradients(name, model, recorded)
    print(name, values)


def main() -> None:
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double
    recorded = {'version': ultralytics.__version__, 'seed': SEED}
    for version in VERSIONS:
        for size in 'smlx':
            model, name = build(version, size), f'{version}_{size}'
            recorded[f'{name}.parameters'] = sum(param.numel() for param in model.parameters())
            if size in SIZES:
                record(name, model, recorded)
    np.savez_compressed(Path(__file__).with_name('yolo_world.npz'), **recorded)


if __name__ == '__main__':
    main()
