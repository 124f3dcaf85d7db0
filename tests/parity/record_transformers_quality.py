"""Records transformers' varifocal and matchability-aware losses and its matching by a focal cost, into quality.npz.

Run in an environment that has transformers 5.24.0 (it is no dependency of detkit):

    cd tests && python -m parity.record_transformers_quality

Inputs are made by ``quality_shapes.py``, in float64. The file holds ``vfl`` and ``mal``, the losses of RT-DETR and of
DEIMv2 with its published γ of 1.5 (the library has 2), divided by the number of objects; ``<name>.grad``, the gradients
of the logits; and ``costs.<image>``, ``(10, N)``, by which RT-DETR matches queries and objects.
"""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import numpy as np
import torch
import transformers
from parity.quality_shapes import NUM_CLASSES, objects, predictions
from transformers import Deimv2Config, RTDetrConfig
from transformers.loss import loss_rt_detr
from transformers.loss.loss_deimv2 import Deimv2Loss


def main() -> None:
    recorded = {'version': transformers.__version__}
    logits, bboxes = predictions()
    targets = [dict(class_labels=labels, boxes=own) for labels, own, _ in objects()]
    indices = [(queries, torch.arange(len(queries))) for _, _, queries in objects()]
    count = sum(len(queries) for queries, _ in indices)
    losses = dict(
        vfl=loss_rt_detr.RTDetrLoss(RTDetrConfig(num_labels=NUM_CLASSES)).loss_labels_vfl,
        mal=Deimv2Loss(Deimv2Config(num_labels=NUM_CLASSES, focal_loss_gamma=1.5)).loss_labels_mal,
    )
    for name, function in losses.items():
        leaf = logits.clone().requires_grad_()
        (loss,) = function(dict(logits=leaf, pred_boxes=bboxes), targets, indices, count).values()
        loss.backward()
        recorded[name], recorded[f'{name}.grad'] = loss.item(), leaf.grad.numpy()
        print(name, loss.item())
    costs = []
    with mock.patch.object(loss_rt_detr, 'linear_sum_assignment', lambda cost: costs.append(cost) or ([], [])):
        loss_rt_detr.RTDetrHungarianMatcher(RTDetrConfig())(dict(logits=logits, pred_boxes=bboxes), targets)
    for image, cost in enumerate(costs):
        recorded[f'costs.{image}'] = cost.numpy()
    np.savez_compressed(Path(__file__).with_name('quality.npz'), **recorded)


if __name__ == '__main__':
    main()
