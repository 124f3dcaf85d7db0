"""Records what ultralytics 8.4.190 computes for YOLOv8 with rotated boxes, into obb_yolov8.npz.

Run in an environment that has ultralytics 8.4.190 (it is no dependency of detkit):

    cd tests && python -m parity.record_ultralytics_obb

Images are made by ``seeded.py``, weights and ground truth by ``rotated_shapes.py``, all in float64; torch's default
type is float64 too. For models n and m (80 classes) the file holds

- ``<model>.<mode>.<output>``: fingerprints of ``boxes`` (B, 64, P), ``scores`` (B, 80, P) and ``angle`` (B, 1, P; in
  evaluation mode it is in radians), in training and evaluation mode;
- ``<model>.decoded``: a fingerprint of (B, 4 + 80 + 1, P): centre, width, height in pixels, scores, angle;
- ``<model>.losses``: box, cls, dfl, angle, each times the batch size, of the model in training mode;
- ``<model>.grad.<parameter>``: a fingerprint (float32) of each parameter's gradient of their sum;
- ``<model>.detections.<image>``: a fingerprint of the table cx, cy, w, h, score, label, angle after suppression (score
  above .01, IoU .7, several labels a point, 300 at most), and ``.count``, its length;
- ``prob_iou``: the overlaps of the ground-truth boxes of image 0 with those of image 2, and ``xywhr``: the rectangles
  around ``corners`` (N, 8), some of which are none themselves.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import ultralytics
from parity.rotated_shapes import rotated_ground_truth, rotated_state
from parity.seeded import fingerprint, seeded_array, seeded_tensor
from parity.shapes import IMG_SHAPE
from ultralytics.cfg import get_cfg
from ultralytics.nn.tasks import OBBModel
from ultralytics.utils import metrics, ops
from ultralytics.utils.nms import non_max_suppression

SEED = 25
MODELS = {'obb_n': 'yolov8n-obb.yaml', 'obb_m': 'yolov8m-obb.yaml'}


def reference_batch() -> dict[str, torch.Tensor]:
    """The ground truth as the reference takes it: centre and sides relative to the image, angle."""
    height, width = IMG_SHAPE
    truth = rotated_ground_truth()
    rbboxes = torch.from_numpy(np.concatenate([boxes for _, boxes in truth]))
    return dict(
        img=seeded_tensor((len(truth), 3, *IMG_SHAPE), 'image', SEED),
        batch_idx=torch.from_numpy(np.repeat(np.arange(len(truth)), [len(labels) for labels, _ in truth])).double(),
        cls=torch.from_numpy(np.concatenate([labels for labels, _ in truth])).double().unsqueeze(1),
        bboxes=rbboxes / torch.tensor([width, height, width, height, 1.0]),
    )


def record_model(name: str, model: torch.nn.Module, recorded: dict) -> None:
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items() if '.dfl.' not in key}
    model.load_state_dict(rotated_state(shapes, name[-1], SEED), strict=False)
    model.args = get_cfg()
    batch = reference_batch()
    with torch.no_grad():
        decoded, raw = model.eval()(batch['img'])
    recorded[f'{name}.decoded'] = fingerprint(decoded)
    # The reference gives up after a time limit, which is lifted here.
    tables = non_max_suppression(
        decoded, 0.01, 0.7, multi_label=True, max_det=300, nc=80, max_time_img=1e3, rotated=True
    )
    for image, table in enumerate(tables):
        recorded[f'{name}.detections.{image}'] = fingerprint(table)
        recorded[f'{name}.detections.{image}.count'] = len(table)
    model.train()
    output = model(batch['img'])
    for mode, tensors in (('eval', raw), ('train', output)):
        for key in ('boxes', 'scores', 'angle'):
            recorded[f'{name}.{mode}.{key}'] = fingerprint(tensors[key])
    losses, items = model.init_criterion()(output, batch)
    losses.sum().backward()
    values = [float(items[f'{key}_loss']) * len(batch['img']) for key in ('box', 'cls', 'dfl', 'angle')]
    assert np.isclose(sum(values), losses.sum().item(), rtol=1e-12), 'the parts do not add up to the loss'
    recorded[f'{name}.losses'] = np.array(values)
    for key, parameter in model.named_parameters():
        if parameter.grad is not None:
            recorded[f'{name}.grad.{key}'] = fingerprint(parameter.grad).astype(np.float32)
    print(name, values, [int(value) for key, value in recorded.items() if key.startswith(name) and 'count' in key])


def record_boxes(recorded: dict) -> None:
    first, _, third = (torch.from_numpy(rbboxes) for _, rbboxes in rotated_ground_truth())
    recorded['prob_iou'] = metrics.batch_probiou(first, third).numpy()
    corners = ops.xywhr2xyxyxyxy(torch.cat([first, third])).reshape(-1, 8).numpy()
    corners[::3] += seeded_array(corners[::3].shape, 'corners', SEED) * 4  # as an annotator's quadrilaterals
    recorded['corners'] = corners.astype(np.float32)
    recorded['xywhr'] = ops.xyxyxyxy2xywhr(recorded['corners'])


def main() -> None:
    torch.set_default_dtype(torch.float64)
    recorded = {'version': ultralytics.__version__, 'seed': SEED}
    for name, yaml in MODELS.items():
        record_model(name, OBBModel(yaml, ch=3, nc=80, verbose=False).double(), recorded)
    record_boxes(recorded)
    np.savez_compressed(Path(__file__).with_name('obb_yolov8.npz'), **recorded)


if __name__ == '__main__':
    main()
