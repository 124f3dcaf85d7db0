"""Records what ultralytics 8.4.190 computes for YOLO26 detectors with seeded weights, into yolo26.npz.

Run in an environment that has ultralytics 8.4.190 (it is no dependency of detkit):

    cd tests && python -m parity.record_ultralytics_yolo26

Weights, images and ground truth are those of ``record_ultralytics_yolo11.py``. For the sizes n and m (80 classes) the
file holds

- ``<model>.<mode>.<head>.<output>``: fingerprints of raw boxes (B, 4, P) and scores (B, 80, P) of the heads
  ``one2many`` and ``one2one``, in training and evaluation mode;
- ``<model>.losses``: box, cls and L1 (in place of dfl), each times the batch size, weighted .8 and .2 over the heads
  as in the first epoch; ``<model>.losses.one2many`` and ``.one2one``: the same before they are weighted;
- ``<model>.grad.<parameter>``: a fingerprint of 14 samples (float32) of each parameter's gradient of their sum;
- ``<model>.detections.<image>``: a fingerprint of the table x0, y0, x1, y1, score, label of the 300 best end-to-end
  predictions, as the reference's post-processing selects them.

What to know of this release: a model from a YAML file predicts by its one-to-many head until ``end2end`` is set.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import ultralytics
from parity.record_ultralytics_yolo11 import SEED, SIZES, build, record_gradients, reference_batch
from parity.seeded import fingerprint

HEADS = ('one2many', 'one2one')
OUTPUTS = ('boxes', 'scores')
LOSSES = ('box', 'cls', 'dfl')


def record_detector(name: str, task: str, model: torch.nn.Module, recorded: dict) -> None:
    batch = reference_batch(task)
    model.model[-1].end2end = True
    with torch.no_grad():
        tables, raw = model.eval()(batch['img'])
    for image, table in enumerate(tables):
        recorded[f'{name}.detections.{image}'] = fingerprint(table)
        recorded[f'{name}.detections.{image}.count'] = len(table)
    output = model.train()(batch['img'])
    for mode, both in (('eval', raw), ('train', output)):
        for head in HEADS:
            for key in OUTPUTS:
                recorded[f'{name}.{mode}.{head}.{key}'] = fingerprint(both[head][key])
    criterion = model.init_criterion()
    losses, items = criterion(output, batch)
    losses.sum().backward()
    recorded[f'{name}.losses'] = losses.detach().numpy()
    for head in HEADS:
        single, _ = getattr(criterion, head).loss(output[head], batch)
        recorded[f'{name}.losses.{head}'] = single.detach().numpy()
    record_gradients(name, model, recorded)
    print(name, losses.tolist(), {key: float(value) for key, value in items.items()}, tables.shape)


def main() -> None:
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double
    recorded = {'version': ultralytics.__version__, 'seed': SEED}
    for size in SIZES:
        record_detector(f'det_{size}', 'det', build('yolo26', 'det', size), recorded)
    np.savez_compressed(Path(__file__).with_name('yolo26.npz'), **recorded)


if __name__ == '__main__':
    main()
