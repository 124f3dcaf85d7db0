"""Records what pixeltable-yolox 0.4.3 computes for YOLOX models with seeded weights, into yolox.npz.

Run in an environment that has pixeltable-yolox 0.4.3 (it is no dependency of detkit):

    cd tests && python -m parity.record_pixeltable_yolox

Weights and images are made by ``yolox_shapes.py`` and ``seeded.py``, ground truth by ``shapes.py`` (three images, one
without objects), all in float64 (torch's default type too). Normalisation has momentum 1 here, so that evaluation,
which comes after a training step, has the statistics of that step's images: those of random weights drift over the
layers. For the sizes nano, s and darknet53 at 80 classes the file holds

- ``<size>.eval.bboxes``, ``.scores``: fingerprints of the decoded boxes (xyxy) and of objectness times classes;
- ``<size>.train.bboxes``, ``.obj_logits``, ``.cls_logits``, ``.bbox_preds``: the same of the outputs in training mode,
  boxes decoded and raw;
- ``<size>.losses``: total, box (times 5), objectness, classes, and L1, which is turned on;
- ``<size>.matches.<image>``: ``(3, F)``, the point, the object and the overlap of each of the F foreground points of an
  image, in the order of the points: SimOTA's foreground mask and matches;
- ``<size>.grad.<parameter>``: a fingerprint of 14 samples (float32) of each parameter's gradient of the total;
- ``<size>.detections.<image>``: a fingerprint of the table of detections after suppression (IoU .3, score .01): x0, y0,
  x1, y1 (clipped), score, label, best first, and ``.count``, its length;
- ``<size>.picture`` for nano and tiny, in float32: the table of detections on a picture that is padded to a square,
  ``(N, 6)``: x0, y0, x1, y1 in its pixels (clipped), score, label, best first.

What to know of this release: modules are made with PyTorch's settings of batch normalisation and get eps 1e-3 and
momentum .03 afterwards, by ``YoloxConfig.get_model``; the networks were trained on BGR images from 0 to 255, although
its ``YoloxProcessor`` hands over RGB ones; its head computes the cost of classes in float32, which is lifted here. It
has no config for Darknet-53, which is put together as the authors' repository does.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from parity.seeded import fingerprint, seeded_tensor
from parity.shapes import IMG_SHAPE, ground_truth
from parity.yolox_shapes import (
    IOU_THR,
    PICTURE_MODELS,
    PICTURE_SIZE,
    SCORE_THR,
    picture,
    picture_state,
    yolox_state,
)
from torch import nn
from yolox.config import YoloxConfig
from yolox.data import ValTransform
from yolox.models.yolo_fpn import YoloFpn
from yolox.models.yolo_head import YoloxHead
from yolox.models.yolox import YoloxModule
from yolox.utils import postprocess

SEED = 37
GRADIENT_SAMPLES = 14
SIZES = ('nano', 's', 'darknet53')
NUM_CLASSES = 80


def build(size: str) -> YoloxModule:
    if size == 'darknet53':
        head = YoloxHead(NUM_CLASSES, 1.0, in_channels=[128, 256, 512], act='lrelu')
        model = YoloxModule(YoloFpn(), head)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = 1e-3
    else:
        model = YoloxConfig.get_named_config(f'yolox_{size}').get_model()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    model.double()
    model.load_state_dict(yolox_state({k: tuple(v.shape) for k, v in model.state_dict().items()}, SEED))
    return model


def targets() -> torch.Tensor:
    """Labels and boxes (cxcywh), zeros behind the last one: ``(3, M, 5)``."""
    images = ground_truth()
    table = torch.zeros(len(images), max(len(labels) for labels, _, _ in images), 5)
    for row, (labels, bboxes, _) in zip(table, images, strict=True):
        bboxes = torch.from_numpy(bboxes)
        row[: len(labels), 0] = torch.from_numpy(labels)
        row[: len(labels), 1:3] = (bboxes[:, :2] + bboxes[:, 2:]) / 2
        row[: len(labels), 3:5] = bboxes[:, 2:] - bboxes[:, :2]
    return table


def to_xyxy(bboxes: torch.Tensor) -> torch.Tensor:
    centres, halves = bboxes[..., :2], bboxes[..., 2:4] / 2
    return torch.cat([centres - halves, centres + halves], -1)


def record_training(size: str, model: YoloxModule, images: torch.Tensor, recorded: dict) -> None:
    head, inner_losses, inner_assignments, matches = model.head, model.head.get_losses, model.head.get_assignments, {}

    def get_losses(imgs, x_shifts, y_shifts, strides, labels, outputs, origin_preds, dtype):
        recorded[f'{size}.train.bboxes'] = fingerprint(to_xyxy(outputs))
        recorded[f'{size}.train.obj_logits'] = fingerprint(outputs[..., 4])
        recorded[f'{size}.train.cls_logits'] = fingerprint(outputs[..., 5:])
        recorded[f'{size}.train.bbox_preds'] = fingerprint(torch.cat(origin_preds, 1))
        return inner_losses(imgs, x_shifts, y_shifts, strides, labels, outputs, origin_preds, dtype)

    def get_assignments(image, *args):
        found = inner_assignments(image, *args)
        _, fg_mask, ious, gt_inds, _ = found
        matches[image] = torch.stack([fg_mask.nonzero().squeeze(1).double(), gt_inds.double(), ious])
        return found

    head.get_losses, head.get_assignments, head.use_l1 = get_losses, get_assignments, True
    losses = model.train()(images, targets())
    losses['total_loss'].backward()
    names = ('total_loss', 'iou_loss', 'conf_loss', 'cls_loss', 'l1_loss')
    recorded[f'{size}.losses'] = np.array([losses[name].item() for name in names])
    for image, found in matches.items():
        recorded[f'{size}.matches.{image}'] = found.numpy()
    for name, parameter in model.named_parameters():
        recorded[f'{size}.grad.{name}'] = fingerprint(parameter.grad, GRADIENT_SAMPLES).astype(np.float32)
    claims = {image: np.bincount(found[1].long()).tolist() for image, found in matches.items()}
    print(size, dict(zip(names, recorded[f'{size}.losses'], strict=True)), 'points of each object', claims)


def record_detections(size: str, model: YoloxModule, images: torch.Tensor, recorded: dict) -> None:
    with torch.no_grad():
        decoded = model.eval()(images)
    recorded[f'{size}.eval.bboxes'] = fingerprint(to_xyxy(decoded))
    recorded[f'{size}.eval.scores'] = fingerprint(decoded[..., 4:5] * decoded[..., 5:])
    tables = postprocess(decoded, NUM_CLASSES, 0.01, 0.3)
    for image, table in enumerate(tables):
        limits = torch.tensor(IMG_SHAPE[::-1]).repeat(2)
        bboxes = table[:, :4].clamp(min=0).minimum(limits)
        table = torch.cat([bboxes, (table[:, 4] * table[:, 5]).unsqueeze(1), table[:, 6:]], 1)
        recorded[f'{size}.detections.{image}'] = fingerprint(table)
        recorded[f'{size}.detections.{image}.count'] = len(table)
    print(size, 'detections', [len(table) for table in tables])


def record_picture(size: str, recorded: dict) -> None:
    model = YoloxConfig.get_named_config(f'yolox_{size}').get_model().float()
    model.load_state_dict(picture_state({k: tuple(v.shape) for k, v in model.state_dict().items()}, SEED))
    img = picture(SEED)
    inputs, _ = ValTransform(legacy=False)(img, None, (PICTURE_SIZE, PICTURE_SIZE))
    with torch.no_grad():
        decoded = model.eval()(torch.from_numpy(inputs)[None].to(torch.float32))
    (table,) = postprocess(decoded, NUM_CLASSES, SCORE_THR, IOU_THR)
    ratio = PICTURE_SIZE / max(img.shape[:2])
    limits = torch.tensor([*img.shape[1::-1]] * 2, dtype=torch.float32)
    bboxes = (table[:, :4] / ratio).clamp(min=0).minimum(limits)
    table = torch.cat([bboxes, (table[:, 4] * table[:, 5]).unsqueeze(1), table[:, 6:]], 1)
    recorded[f'{size}.picture'] = table.numpy().astype(np.float32)
    print(size, 'picture', len(table), table[0].tolist(), table[-1].tolist(), table[:, 5].unique().numel())


def main() -> None:
    recorded = {'version': version('pixeltable-yolox'), 'seed': SEED}
    for size in PICTURE_MODELS:
        record_picture(size, recorded)
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double  # its cost of classes would be in float32
    images = seeded_tensor((3, 3, *IMG_SHAPE), 'image', SEED)
    for size in SIZES:
        model = build(size)
        record_training(size, model, images, recorded)
        record_detections(size, model, images, recorded)
    np.savez_compressed(Path(__file__).with_name('yolox.npz'), **recorded)


if __name__ == '__main__':
    main()
