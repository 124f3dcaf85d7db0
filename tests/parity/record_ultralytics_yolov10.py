"""Records what ultralytics 8.4.190 computes for YOLOv10 models with seeded weights, into yolov10.npz.

Run in an environment that has ultralytics 8.4.190 (it is no dependency of detkit):

    cd tests && python -m parity.record_ultralytics_yolov10

Images, ground truth and weights are those of the detectors of ``record_ultralytics_yolo11.py``, with an image without
objects. For sizes n, s and b (80 classes), which have ``C2fCIB`` with a large kernel in one position and in two, and
without it in four, the file holds

- ``det_<size>.<mode>.<head>.<output>``: fingerprints of the raw outputs, (B, channels, P) each, of the heads
  ``one2many`` and ``one2one``, in training and evaluation mode;
- ``det_<size>.losses.<head>``: box, cls and dfl, each times the batch size, with one positive of a box in ``one2one``,
  and ``det_<size>.losses.one2one_7``, with the best of 7, as this release has it;
- ``gradients``: a table of fingerprints of 6 samples (float32), padded with zeros, of each parameter's gradient of the
  sum of the losses of both heads, and ``gradient_names``, its rows' ``det_<size>.grad.<parameter>``;
- ``det_<size>.detections.<image>``: a fingerprint of the table of the 300 best end-to-end predictions, as the
  reference's post-processing selects them: x0, y0, x1, y1, score, label.

What to know of this release: it trains YOLOv10 as YOLO26, by one-to-one positives that are the best of 7 candidates and
by weights of the two losses that change from .8 and .2, where the paper has one candidate and the losses' sum; a model
from a YAML file predicts by its one-to-many head until ``end2end`` is set.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import ultralytics
from parity.record_ultralytics_yolo11 import SEED, build, record_gradients, reference_batch
from parity.record_ultralytics_yolo26 import GRADIENT_SAMPLES, HEADS, packed, record_outputs
from parity.seeded import fingerprint
from torch import nn

SIZES = 'nsb'


def record_detector(name: str, model: nn.Module, recorded: dict) -> None:
    batch = reference_batch('det')
    model.model[-1].end2end = True
    with torch.no_grad():
        tables, raw = model.eval()(batch['img'])
    for image, table in enumerate(tables):
        recorded[f'{name}.detections.{image}'] = fingerprint(table)
        recorded[f'{name}.detections.{image}.count'] = len(table)
    record_outputs(name, 'eval', raw, recorded)
    output = model.train()(batch['img'])
    record_outputs(name, 'train', output, recorded)
    criterion = model.init_criterion()
    assert criterion.one2one.assigner.topk == 7 and criterion.one2one.assigner.topk2 == 1
    single, _ = criterion.one2one.loss(output['one2one'], batch)
    recorded[f'{name}.losses.one2one_7'] = single.detach().numpy()
    criterion.one2one.assigner.topk = 1
    for head in HEADS:
        single, _ = getattr(criterion, head).loss(output[head], batch)
        recorded[f'{name}.losses.{head}'] = single.detach().numpy()
    criterion.o2m = criterion.o2o = 1.0
    losses, _ = criterion(output, batch)
    expected = sum(recorded[f'{name}.losses.{head}'].sum() for head in HEADS)
    assert np.isclose(losses.sum().item(), expected, rtol=1e-12), 'the losses of both heads do not add up'
    losses.sum().backward()
    record_gradients(name, model, recorded, GRADIENT_SAMPLES)
    print(name, losses.tolist(), {key: value for key, value in recorded.items() if f'{name}.losses' in key})


def main() -> None:
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double
    recorded = {'version': ultralytics.__version__, 'seed': SEED}
    for size in SIZES:
        record_detector(f'det_{size}', build('yolov10', 'det', size), recorded)
    np.savez_compressed(Path(__file__).with_name('yolov10.npz'), **packed(recorded))


if __name__ == '__main__':
    main()
