"""Records what ultralytics 8.4.190 computes for YOLO11 models with seeded weights, into yolo11.npz.

Run in an environment that has ultralytics 8.4.190 (it is no dependency of detkit):

    cd tests && python -m parity.record_ultralytics_yolo11

Weights and images are made by ``seeded.py``, ground truth by ``shapes.py`` and its kin (three images, one without
objects), all in float64 (torch's default type too). For sizes n and m (bottlenecks, and ``C3k``, in the blocks) of the
five tasks (80 classes; pose 1 class and 17 keypoints of 3 values; classifiers 1000) the file holds

- ``<model>.<mode>.<output>``: fingerprints of the head's raw outputs in training and evaluation mode; an angle is in
  radians in evaluation mode;
- ``<model>.losses``: in the order of ``LOSSES``, each times the batch size, in training mode;
- ``<model>.grad.<parameter>``: a fingerprint of 14 samples (float32) of each parameter's gradient of their sum;
- ``<model>.detections.<image>``: a fingerprint of the table of detections after suppression (IoU .7, 300 at most,
  several labels a point; score above .001, of rotated boxes .01): x0, y0, x1, y1 (clipped), score, label and what the
  task adds, and ``.count``, its length. Of a classifier ``<model>.scores``.

What to know of this release: its models from YAML files have the activation in SPPF's first convolution (other releases
of 8.4 lack it); sides of ground truth below 16 pixels are enlarged when candidates are collected, in every family; and
sizes m, l and x have ``C3k`` in every block although the YAML files say otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import ultralytics
from parity import record_ultralytics_loss, record_ultralytics_obb, record_ultralytics_pose
from parity.rotated_shapes import rotated_state
from parity.seeded import fingerprint, seeded_tensor
from parity.shapes import IMG_SHAPE, loss_state
from torch import nn
from ultralytics.cfg import get_cfg
from ultralytics.nn import tasks
from ultralytics.utils.nms import non_max_suppression

SEED = 31
GRADIENT_SAMPLES = 14
SIZES = 'nm'
MODELS = {
    'det': (tasks.DetectionModel, '', 80),
    'seg': (tasks.SegmentationModel, '-seg', 80),
    'pose': (tasks.PoseModel, '-pose', 1),
    'obb': (tasks.OBBModel, '-obb', 80),
    'cls': (tasks.ClassificationModel, '-cls', 1000),
}
LOSSES = {
    'det': ('box', 'cls', 'dfl'),
    'seg': ('box', 'seg', 'cls', 'dfl'),
    'pose': ('box', 'pose', 'kobj', 'cls', 'dfl'),
    'obb': ('box', 'cls', 'dfl', 'angle'),
}
OUTPUTS = {
    'boxes': 'boxes',
    'scores': 'scores',
    'mask_coefficient': 'coefficients',
    'proto': 'protos',
    'kpts': 'keypoints',
    'angle': 'angle',
}
LABELS = (7, 999, 7)  # of a classifier
CONSTANTS = re.compile(r'\.dfl\.|\.flow_model\.(loc|cov|mask)$')  # which are no weights


def reference_batch(task: str) -> dict[str, torch.Tensor]:
    if task == 'obb':
        batch = record_ultralytics_obb.reference_batch()
    elif task == 'pose':
        batch = record_ultralytics_pose.reference_batch(1, 17)
    else:
        batch = record_ultralytics_loss.reference_batch()
    return batch | dict(img=seeded_tensor((3, 3, *IMG_SHAPE), 'image', SEED))


def usual_state(shapes: dict[str, tuple[int, ...]], task: str, size: str) -> dict[str, torch.Tensor]:
    return rotated_state(shapes, size, SEED) if task == 'obb' else loss_state(shapes, SEED)


def build(family: str, task: str, size: str, state: Callable[..., dict[str, torch.Tensor]] = usual_state) -> nn.Module:
    cls, suffix, num_classes = MODELS[task]
    more = {'data_kpt_shape': (17, 3)} if task == 'pose' else {}
    model = cls(f'{family}{size}{suffix}.yaml', ch=3, nc=num_classes, verbose=False, **more).double()
    shapes = {key: tuple(v.shape) for key, v in model.state_dict().items() if not CONSTANTS.search(key)}
    model.load_state_dict(state(shapes, task, size), False)
    model.args = get_cfg()
    return model


def record_gradients(name: str, model: nn.Module, recorded: dict, samples: int = GRADIENT_SAMPLES) -> None:
    for key, parameter in model.named_parameters():
        if parameter.grad is not None:
            recorded[f'{name}.grad.{key}'] = fingerprint(parameter.grad, samples).astype(np.float32)


def record_detections(
    name: str, task: str, decoded: torch.Tensor, recorded: dict, shape: tuple[int, int] = IMG_SHAPE
) -> None:
    tables = non_max_suppression(
        decoded,
        0.01 if task == 'obb' else 0.001,
        0.7,
        multi_label=True,
        max_det=300,
        nc=MODELS[task][2],
        max_time_img=1e3,  # the reference gives up after a time limit, which is lifted here
        rotated=task == 'obb',
    )
    for image, table in enumerate(tables):
        recorded[f'{name}.detections.{image}'] = fingerprint(clipped(task, table, shape))
        recorded[f'{name}.detections.{image}.count'] = len(table)
    print(name, 'detections', [len(table) for table in tables])


def clipped(task: str, table: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    """The table with boxes and keypoints clipped to the image; masks' coefficients are left out."""
    if task == 'obb':
        return table
    size = torch.tensor(shape[::-1])
    boxes = table[:, :4].clamp(min=0).minimum(size.repeat(2))
    if task != 'pose':
        return torch.cat([boxes, table[:, 4:6]], 1)
    keypoints = table[:, 6:].reshape(len(table), 17, 3).clone()
    keypoints[..., :2] = keypoints[..., :2].clamp(min=0).minimum(size)
    return torch.cat([boxes, table[:, 4:6], keypoints.flatten(1)], 1)


def record_detector(
    name: str,
    task: str,
    model: nn.Module,
    recorded: dict,
    batch: dict[str, torch.Tensor] | None = None,
    samples: int = GRADIENT_SAMPLES,
) -> None:
    batch = batch or reference_batch(task)
    with torch.no_grad():
        decoded, raw = model.eval()(batch['img'])
    decoded = decoded[0] if isinstance(decoded, tuple) else decoded
    record_detections(name, task, decoded, recorded, tuple(batch['img'].shape[2:]))
    output = model.train()(batch['img'])
    for mode, tensors in (('eval', raw), ('train', output)):
        for theirs, key in OUTPUTS.items():
            if theirs in tensors:
                recorded[f'{name}.{mode}.{key}'] = fingerprint(tensors[theirs])
    losses, items = model.init_criterion()(output, batch)
    losses.sum().backward()
    values = [float(items[f'{key}_loss']) * len(batch['img']) for key in LOSSES[task]]
    assert np.isclose(sum(values), losses.sum().item(), rtol=1e-12), 'the parts do not add up to the loss'
    recorded[f'{name}.losses'] = np.array(values)
    record_gradients(name, model, recorded, samples)
    print(name, values)


def record_classifier(name: str, model: nn.Module, recorded: dict, samples: int = GRADIENT_SAMPLES) -> None:
    images = seeded_tensor((3, 3, *IMG_SHAPE), 'image', SEED)
    with torch.no_grad():
        scores, logits = model.eval()(images)
    recorded[f'{name}.scores'], recorded[f'{name}.eval.logits'] = fingerprint(scores), fingerprint(logits)
    logits = model.train()(images)
    recorded[f'{name}.train.logits'] = fingerprint(logits)
    loss, _ = model.init_criterion()(logits, dict(cls=torch.tensor(LABELS)))
    loss.backward()
    recorded[f'{name}.losses'] = np.array([loss.item()])
    record_gradients(name, model, recorded, samples)
    print(name, loss.item())


def main() -> None:
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double  # its loss of visibilities would be in float32
    recorded = {'version': ultralytics.__version__, 'seed': SEED, 'labels': LABELS}
    for task in MODELS:
        for size in SIZES:
            model, name = build('yolo11', task, size), f'{task}_{size}'
            if task == 'cls':
                record_classifier(name, model, recorded)
            else:
                record_detector(name, task, model, recorded)
    np.savez_compressed(Path(__file__).with_name('yolo11.npz'), **recorded)


if __name__ == '__main__':
    main()
