"""Records what transformers 5.24 computes for RF-DETRs of published sizes with seeded weights, into rfdetr_sizes.npz.

Run in an environment that has transformers 5.24.0 (it is no dependency of detkit):

    cd tests && python -m parity.record_transformers_rfdetr_sizes

Weights and images are made by ``rfdetr_shapes.py``, in float64; of two images one is empty. For each size the file has
the keys of ``record_transformers_rfdetr`` for outputs, losses and gradients of the detector in training and outputs and
detections in evaluation, behind ``<size>.``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import transformers
from parity.record_transformers_rfdetr import layers_of, load
from parity.rfdetr_shapes import PUBLISHED, PUBLISHED_CLASSES, published_images, published_objects
from parity.seeded import fingerprint
from transformers import RfDetrConfig, RfDetrDinov2Config, RfDetrForObjectDetection, RfDetrImageProcessor


def record(size: str) -> dict[str, np.ndarray]:
    side, layers = PUBLISHED[size]
    backbone = RfDetrDinov2Config(
        hidden_size=384,
        num_attention_heads=6,
        image_size=side,
        patch_size=16,
        num_windows=2,
        out_features=['stage3', 'stage6', 'stage9', 'stage12'],
    )
    config = RfDetrConfig(
        backbone_config=backbone,
        layer_norm_eps=1e-6,
        decoder_layers=layers,
        decoder_n_points=2,
        dropout=0.0,
        num_labels=PUBLISHED_CLASSES,
        class_cost=2,
        bbox_cost=5,
        giou_cost=2,
    )
    model, recorded = load(RfDetrForObjectDetection(config).double()), {}
    labels, bboxes = published_objects()
    targets = [dict(class_labels=labels, boxes=bboxes), dict(class_labels=labels[:0], boxes=bboxes[:0])]
    for mode in ('eval', 'train'):
        output = model.train(mode == 'train')(published_images(side), labels=targets if mode == 'train' else None)
        for name, (logits, boxes) in layers_of(model, output).items():
            recorded[f'{mode}.cls_logits.{name}'] = fingerprint(logits)
            recorded[f'{mode}.bbox_preds.{name}'] = fingerprint(boxes)
            print(size, mode, name, tuple(logits.shape), logits.std().item(), boxes.std(1).mean().item())
        if mode == 'eval':
            tables = RfDetrImageProcessor().post_process_object_detection(
                output, 0.0, target_sizes=torch.tensor([[side, side]] * len(targets))
            )
            for index, table in enumerate(tables):
                rows = torch.cat([table['boxes'].clamp(0, side), table['scores'][:, None], table['labels'][:, None]], 1)
                recorded[f'detections.{index}'] = fingerprint(rows)
    weights = dict(ce=1.0, bbox=5.0, giou=2.0)
    suffixes = [*(f'_{index}' for index in range(layers - 1)), '', '_enc']
    parts = output.loss_dict
    recorded['losses'] = np.array(
        [[parts[f'loss_{key}{suffix}'].item() * weight for key, weight in weights.items()] for suffix in suffixes]
    )
    assert np.isclose(recorded['losses'].sum(), output.loss.item(), rtol=1e-12), 'the parts do not add up to the loss'
    print(recorded['losses'])
    output.loss.backward()
    for key, parameter in model.named_parameters():
        if parameter.grad is not None:
            recorded[f'grad.{key}'] = fingerprint(parameter.grad, 8).astype(np.float32)
    return {f'{size}.{key}': value for key, value in recorded.items()}


def main() -> None:
    recorded = {'version': transformers.__version__}
    for size in PUBLISHED:
        recorded |= record(size)
    np.savez_compressed(Path(__file__).with_name('rfdetr_sizes.npz'), **recorded)


if __name__ == '__main__':
    main()
