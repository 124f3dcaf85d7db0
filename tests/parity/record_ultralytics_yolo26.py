"""Records what ultralytics 8.4.190 computes for YOLO26 models with seeded weights, into yolo26.npz.

Run in an environment that has ultralytics 8.4.190 (it is no dependency of detkit):

    cd tests && python -m parity.record_ultralytics_yolo26

Images and ground truth are those of ``record_ultralytics_yolo11.py``, and so are the weights of detectors and
classifiers; those of the other tasks are made by ``yolo26_state.py``. For sizes n and m of the five tasks (80 classes;
pose 1 class and 17 keypoints of 3 values; classifiers 1000) the file holds

- ``<model>.<mode>.<head>.<output>``: fingerprints of the raw outputs, (B, channels, P) each, of the heads ``one2many``
  and ``one2one``, in training and evaluation mode, and ``<model>.<mode>.<output>``, what both have in common:
  prototypes and, in training mode, semantic logits;
- ``<model>.losses``: in the order of ``LOSSES`` (l1 is in the place of dfl), each times the batch size, weighted .8 and
  .2 over the heads as in the first epoch; ``<model>.losses.one2many`` and ``.one2one``: before they are weighted;
- ``gradients``: a table of fingerprints of 6 samples (float32), padded with zeros, of each parameter's gradient of
  their sum, and ``gradient_names``, its rows' ``<model>.grad.<parameter>``;
- ``<model>.detections.<image>``: a fingerprint of the table of the 300 best end-to-end predictions, as the reference's
  post-processing selects them: x0, y0, x1, y1 (rotated: cx, cy, w, h), score, label, and what the task adds: 32
  coefficients of masks, 17 keypoints of x, y, score, or the angle.

Of classifiers the file holds what it does of YOLO11's.

What to know of this release: a model from a YAML file predicts by its one-to-many head until ``end2end`` is set; the
semantic loss takes a map of classes, in which the background is recognised by the map of instances alone.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import ultralytics
from parity import record_ultralytics_yolo11
from parity.record_ultralytics_yolo11 import LABELS, MODELS, SEED, SIZES, build, record_classifier, record_gradients
from parity.seeded import fingerprint
from parity.yolo26_state import yolo26_state
from torch import nn

GRADIENT_SAMPLES = 6
HEADS = ('one2many', 'one2one')
OUTPUTS = {
    'boxes': 'boxes',
    'scores': 'scores',
    'mask_coefficient': 'coefficients',
    'kpts': 'keypoints',
    'kpts_sigma': 'deviations',
    'angle': 'angle',
}
LOSSES = {
    'det': ('box', 'cls', 'l1'),
    'seg': ('box', 'seg', 'cls', 'l1', 'sem'),
    'pose': ('box', 'pose', 'kobj', 'cls', 'l1', 'rle'),
    'obb': ('box', 'cls', 'l1', 'angle'),
}


def weights(shapes: dict[str, tuple[int, ...]], task: str, size: str) -> dict[str, torch.Tensor]:
    return yolo26_state(shapes, task, SEED)


def reference_batch(task: str) -> dict[str, torch.Tensor]:
    batch = record_ultralytics_yolo11.reference_batch(task)
    if task == 'seg':
        first = [int((batch['batch_idx'] < image).sum()) for image in range(len(batch['img']))]
        labels = batch['cls'].flatten().long()
        numbers = batch['masks'].long()
        classes = [labels[(image - 1 + start).clamp(min=0)] for image, start in zip(numbers, first, strict=True)]
        batch['sem_masks'] = torch.stack(classes)  # the background has some class, too
    return batch


def record_outputs(name: str, mode: str, both: dict[str, dict], recorded: dict) -> None:
    for head in HEADS:
        for theirs, ours in OUTPUTS.items():
            if theirs in both[head]:
                recorded[f'{name}.{mode}.{head}.{ours}'] = fingerprint(both[head][theirs])
    protos = both['one2many'].get('proto')
    if protos is not None:
        protos, *semantic = protos if isinstance(protos, tuple) else (protos,)
        recorded[f'{name}.{mode}.protos'] = fingerprint(protos)
        if semantic:
            recorded[f'{name}.{mode}.semantic'] = fingerprint(semantic[0])


def record_detector(
    name: str, task: str, model: nn.Module, recorded: dict, batch: dict[str, torch.Tensor] | None = None
) -> None:
    batch = batch or reference_batch(task)
    model.model[-1].end2end = True
    with torch.no_grad():
        tables, raw = model.eval()(batch['img'])
    tables = tables[0] if isinstance(tables, tuple) else tables
    for image, table in enumerate(tables):
        recorded[f'{name}.detections.{image}'] = fingerprint(table)
        recorded[f'{name}.detections.{image}.count'] = len(table)
    record_outputs(name, 'eval', raw, recorded)
    output = model.train()(batch['img'])
    record_outputs(name, 'train', output, recorded)
    criterion = model.init_criterion()
    losses, items = criterion(output, batch)
    losses.sum().backward()
    assert tuple(items) == tuple(f'{key}_loss' for key in LOSSES[task])
    recorded[f'{name}.losses'] = losses.detach().numpy()
    for head in HEADS:
        single, _ = getattr(criterion, head).loss(output[head], batch)
        recorded[f'{name}.losses.{head}'] = single.detach().numpy()
    record_gradients(name, model, recorded, GRADIENT_SAMPLES)
    print(name, losses.tolist(), {key: float(value) for key, value in items.items()}, tables.shape)


def packed(recorded: dict) -> dict:
    """What was recorded, with one table in place of the many arrays of gradients."""
    names = sorted(key for key in recorded if '.grad.' in key)
    table = [np.pad(recorded.pop(name), (0, GRADIENT_SAMPLES + 2))[: GRADIENT_SAMPLES + 2] for name in names]
    return {**recorded, 'gradient_names': '\n'.join(names), 'gradients': np.stack(table)}


def main() -> None:
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double
    recorded = {'version': ultralytics.__version__, 'seed': SEED, 'labels': LABELS}
    for task in MODELS:
        for size in SIZES:
            model, name = build('yolo26', task, size, weights), f'{task}_{size}'
            if task == 'cls':
                record_classifier(name, model, recorded, GRADIENT_SAMPLES)
            else:
                record_detector(name, task, model, recorded)
    np.savez_compressed(Path(__file__).with_name('yolo26.npz'), **packed(recorded))


if __name__ == '__main__':
    main()
