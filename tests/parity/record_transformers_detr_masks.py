"""Records what Hugging Face's transformers 5.23 computes for a DETR with masks and seeded weights, into detr_masks.npz.

Run in an environment that has transformers 5.23.0 and timm (neither is a dependency of detkit):

    cd tests && python -m parity.record_transformers_detr_masks

Model, weights, images, objects and masks are made by ``detr_shapes.py`` and ``detr_mask_shapes.py``, in float64,
without dropout. The batch holds images of three sizes, with a mask of the padding; one has no object. Auxiliary losses
are off: with them this release hands on the normalised output of a decoder layer, which the published model does not.
The file holds

- ``masks.<image>``: a fingerprint of the mask logits ``(Q, h, w)`` of all queries, at a quarter of the batch's size;
- ``losses``: focal and dice loss;
- ``grad.<parameter>``: a fingerprint (float32) of each parameter's gradient of all losses.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import transformers
from parity.detr_mask_shapes import MASK_MODEL, object_masks
from parity.detr_shapes import NUM_CLASSES, detr_state, images, objects
from parity.record_transformers_detr import SEED, pixel_mask, published_name
from parity.seeded import fingerprint
from transformers import DetrConfig, DetrForSegmentation

# The library's names of the mask head's layers, and those in files.
_STAGES = {'conv1': '1', 'conv2': '2', **{f'fpn_stages.{i}.refine': str(i + 3) for i in range(3)}}
_MASK_NAMES = {
    'bbox_attention.q_proj': 'bbox_attention.q_linear',
    'bbox_attention.k_proj': 'bbox_attention.k_linear',
    'mask_head.output_conv': 'mask_head.out_lay',
    **{f'mask_head.fpn_stages.{i}.fpn_adapter': f'mask_head.adapter{i + 1}' for i in range(3)},
    **{f'mask_head.{stage}.conv': f'mask_head.lay{number}' for stage, number in _STAGES.items()},
    **{f'mask_head.{stage}.norm': f'mask_head.gn{number}' for stage, number in _STAGES.items()},
}


def published_mask_name(name: str) -> str:
    """A parameter's name in files."""
    prefix, _, kind = name.rpartition('.')
    return f'{_MASK_NAMES[prefix]}.{kind}' if prefix in _MASK_NAMES else published_name(name)


def main() -> None:
    torch.set_default_dtype(torch.float64)
    depth, encoder_layers, decoder_layers = MASK_MODEL
    config = DetrConfig(
        use_timm_backbone=True,
        backbone=f'resnet{depth}',
        use_pretrained_backbone=False,
        num_labels=NUM_CLASSES,
        encoder_layers=encoder_layers,
        decoder_layers=decoder_layers,
        dropout=0.0,
        auxiliary_loss=False,
        attn_implementation='eager',
    )
    model = DetrForSegmentation(config).double().eval()
    shapes = {published_mask_name(name): tuple(value.shape) for name, value in model.state_dict().items()}
    state = detr_state(shapes, SEED)
    model.load_state_dict({name: state[published_mask_name(name)] for name in model.state_dict()})
    targets = [
        dict(class_labels=labels, boxes=bboxes, masks=masks)
        for (labels, bboxes), masks in zip(objects(), object_masks(), strict=True)
    ]
    output = model(images(SEED), pixel_mask=pixel_mask(), labels=targets)
    recorded = {'version': transformers.__version__, 'seed': SEED}
    for image, masks in enumerate(output.pred_masks):
        recorded[f'masks.{image}'] = fingerprint(masks)
    recorded['losses'] = np.array([output.loss_dict[f'loss_{name}'].item() for name in ('mask', 'dice')])
    output.loss.backward()
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            recorded[f'grad.{published_mask_name(name)}'] = fingerprint(parameter.grad).astype(np.float32)
    print(tuple(output.pred_masks.shape), output.pred_masks.std().item(), recorded['losses'], len(recorded))
    np.savez_compressed(Path(__file__).with_name('detr_masks.npz'), **recorded)


if __name__ == '__main__':
    main()
