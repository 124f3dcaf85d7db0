"""Records what YOLOv5 7.0.14 computes for seeded weights, into loss_yolov5.npz.

Run in an environment that has the package yolov5 7.0.14 (it is no dependency of detkit):

    cd tests && python -m parity.record_yolov5_loss

Weights and ground truth are those of ``crowds.py``, images of ``seeded.py``, all in float64. For
the sizes n and m (80 classes, COCO's anchors) the file holds

- ``<size>.<mode>.levels.<i>``: fingerprints of the raw outputs (B, 3, h, w, 85) of each level, in evaluation mode
  ('eval') and training mode ('train');
- ``<size>.decoded``: one of the output (B, P, 85) in evaluation mode: centre, width, height in pixels, scores;
- ``<size>.detections.<image>``: one of the table x0, y0, x1, y1 (clipped), score, label after suppression (score above
  .001, IoU .6, several labels a place, 300 at most), and ``.count``, its length; ``<size>.best.<image>``: the same
  with the best label of each place alone;
- ``<size>.losses``: box, objectness and class loss in training mode, times the batch size, with the weights that its
  training sets for images of ``IMG_SIZE`` pixels; ``<size>.grad.<parameter>``: a fingerprint (float32) of each
  parameter's gradient of their sum;
- ``n.losses.focal``, ``n.losses.smooth``: the losses with focal loss (γ 1.5) and with label smoothing (ε .1);
- ``n.losses.single``: the losses of a model of one class.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import yolov5
from parity.crowds import EVAL_SCALES, crowded_state, crowded_truth
from parity.seeded import fingerprint, seeded_tensor
from parity.shapes import IMG_SHAPE
from yolov5 import models
from yolov5.models.yolo import DetectionModel
from yolov5.utils.general import non_max_suppression
from yolov5.utils.loss import ComputeLoss

SEED = 31
IMG_SIZE = 512


def hyp(num_classes: int, fl_gamma: float = 0.0, label_smoothing: float = 0.0) -> dict[str, float]:
    """The weights of its default recipe, scaled as its training scales them to three levels, classes and image."""
    return dict(
        box=0.05,
        cls=0.5 * num_classes / 80,
        obj=1.0 * (IMG_SIZE / 640) ** 2,
        cls_pw=1.0,
        obj_pw=1.0,
        anchor_t=4.0,
        fl_gamma=fl_gamma,
        label_smoothing=label_smoothing,
    )


def build(size: str, num_classes: int = 80, **options: float) -> torch.nn.Module:
    path = Path(models.__file__).parent / f'yolov5{size}.yaml'
    model = DetectionModel(str(path), ch=3, nc=num_classes).double()
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items() if 'anchor' not in key}
    model.load_state_dict(crowded_state(shapes, SEED, num_classes, **options), strict=False)
    return model


def reference_targets(num_classes: int) -> torch.Tensor:
    """``(N, 6)``: image, class, centre, width and height relative to the image."""
    height, width = IMG_SHAPE
    rows = []
    for image, (labels, bboxes) in enumerate(crowded_truth()):
        scaled = bboxes / [width, height, width, height]
        centres, sizes = (scaled[:, :2] + scaled[:, 2:]) / 2, scaled[:, 2:] - scaled[:, :2]
        rows.append(np.column_stack([np.full(len(labels), image), labels % num_classes, centres, sizes]))
    return torch.from_numpy(np.concatenate(rows))


def losses(model: torch.nn.Module, images: torch.Tensor, **options: float) -> tuple[torch.Tensor, np.ndarray]:
    num_classes = model.model[-1].nc
    model.hyp = hyp(num_classes, **options)
    total, items = ComputeLoss(model)(model.train()(images), reference_targets(num_classes))
    values = items.double().numpy() * len(images)
    assert np.isclose(values.sum(), total.item(), rtol=1e-12), 'the parts do not add up to the loss'
    print(options, values)
    return total, values


def record_model(size: str, recorded: dict) -> None:
    model = build(size, scale=EVAL_SCALES[size])
    images = seeded_tensor((len(crowded_truth()), 3, *IMG_SHAPE), 'image', SEED)
    with torch.no_grad():
        decoded, levels = model.eval()(images)
    recorded[f'{size}.decoded'] = fingerprint(decoded)
    for i, level in enumerate(levels):
        recorded[f'{size}.eval.levels.{i}'] = fingerprint(level)
    for kind, multi_label in (('detections', True), ('best', False)):
        # One at a time, as the reference gives up after a time limit, but never during the first image.
        tables = [
            non_max_suppression(output.clone().unsqueeze(0), 0.001, 0.6, multi_label=multi_label, max_det=300)[0]
            for output in decoded
        ]
        for image, table in enumerate(tables):
            table[:, :4] = table[:, :4].clamp(min=0).minimum(torch.tensor(IMG_SHAPE[::-1] * 2))
            recorded[f'{size}.{kind}.{image}'] = fingerprint(table)
            recorded[f'{size}.{kind}.{image}.count'] = len(table)
        print(size, kind, [len(table) for table in tables])
    print([(round(level.std().item(), 2), round(level[..., 4].max().item(), 2)) for level in levels])
    model = build(size)
    with torch.no_grad():
        for i, level in enumerate(model.train()(images)):
            recorded[f'{size}.train.levels.{i}'] = fingerprint(level)
    total, recorded[f'{size}.losses'] = losses(model, images)
    total.backward()
    for key, parameter in model.named_parameters():
        recorded[f'{size}.grad.{key}'] = fingerprint(parameter.grad).astype(np.float32)
    if size == 'n':
        with torch.no_grad():
            recorded['n.losses.focal'] = losses(model, images, fl_gamma=1.5)[1]
            recorded['n.losses.smooth'] = losses(model, images, label_smoothing=0.1)[1]
            recorded['n.losses.single'] = losses(build('n', 1), images)[1]


def main() -> None:
    torch.set_default_dtype(torch.float64)
    recorded = {'version': yolov5.__version__, 'seed': SEED, 'img_size': IMG_SIZE}
    for size in ('n', 'm'):
        record_model(size, recorded)
    np.savez_compressed(Path(__file__).with_name('loss_yolov5.npz'), **recorded)


if __name__ == '__main__':
    main()
