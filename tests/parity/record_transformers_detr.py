"""Records what Hugging Face's transformers 5.23 computes for DETRs with seeded weights, into detr.npz.

Run in an environment that has transformers 5.23.0 and timm (neither is a dependency of detkit):

    cd tests && python -m parity.record_transformers_detr

Models, weights, images and objects are made by ``detr_shapes.py``, in float64, without dropout, attention computed
step by step. The batch holds images of three sizes, with a mask of the padding; one has no object. Boxes are relative
to the image without its padding.

With ``auxiliary_loss=True`` transformers' decoder hands the *normalised* output of each layer to the next one, which
neither the paper's implementation nor transformers itself without that option does (so that no published weights fit
it). Therefore the model is run without it, and the outputs of its decoder layers are taken where they arise, normalised
and given to its two prediction layers and to its losses as auxiliary outputs.

The file holds, of every model,

- ``<model>.cls_logits.<layer>``, ``<model>.bbox_preds.<layer>``: a fingerprint of every decoder layer's output;

and of the model r50

- ``queries.<layer>.<image>``: the query that each object is matched with;
- ``losses``: ``(layers, 3)``: class, L1 and GIoU, each times its weight;
- ``grad.<parameter>``: a fingerprint (float32) of each parameter's gradient of their sum;
- ``detections.<image>``: a fingerprint of the table x0, y0, x1, y1 (pixels, clipped to the image), score, label of all
  queries, best first.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch
import transformers
from parity.detr_shapes import IMG_SHAPES, MODELS, NUM_CLASSES, detr_state, images, objects
from parity.seeded import fingerprint
from transformers import DetrConfig, DetrForObjectDetection, DetrImageProcessor
from transformers.loss.loss_for_object_detection import HungarianMatcher

SEED = 31


def published_name(name: str) -> str:
    """A parameter's name in files, which the library changes as it reads and writes them."""
    name = re.sub(r'\.o_proj\.', '.out_proj.', name)
    return name.replace('.backbone.model.', '.backbone.conv_encoder.model.').replace('.mlp.fc', '.fc')


def build(depth: int, dilation: bool, positions: str, encoder_layers: int, decoder_layers: int) -> torch.nn.Module:
    config = DetrConfig(
        use_timm_backbone=True,
        backbone=f'resnet{depth}',
        use_pretrained_backbone=False,
        dilation=dilation,
        num_labels=NUM_CLASSES,
        position_embedding_type=positions,
        encoder_layers=encoder_layers,
        decoder_layers=decoder_layers,
        dropout=0.0,
        attn_implementation='eager',
    )
    model = DetrForObjectDetection(config).double().eval()
    shapes = {published_name(name): tuple(value.shape) for name, value in model.state_dict().items()}
    state = detr_state(shapes, SEED)
    model.load_state_dict({name: state[published_name(name)] for name in model.state_dict()})
    return model


def pixel_mask() -> torch.Tensor:
    mask = torch.zeros(images(SEED)[:, 0].shape, dtype=torch.int64)
    for own, (height, width) in zip(mask, IMG_SHAPES, strict=True):
        own[:height, :width] = 1
    return mask


def record_outputs(name: str, model: torch.nn.Module, recorded: dict) -> None:
    targets = [dict(class_labels=labels, boxes=bboxes) for labels, bboxes in objects()]
    raw: list[torch.Tensor] = []
    hooks = [
        layer.register_forward_hook(
            lambda module, args, output: raw.append(output[0] if isinstance(output, tuple) else output)
        )
        for layer in model.model.decoder.layers
    ]
    with torch.set_grad_enabled(name == 'r50'):
        output = model(images(SEED), pixel_mask=pixel_mask())
        decoded = model.model.decoder.layernorm(torch.stack(raw))
        cls_logits, bbox_preds = model.class_labels_classifier(decoded), model.bbox_predictor(decoded).sigmoid()
    for hook in hooks:
        hook.remove()
    assert torch.equal(cls_logits[-1], output.logits) and torch.equal(bbox_preds[-1], output.pred_boxes)
    layers = [dict(logits=own, pred_boxes=bboxes) for own, bboxes in zip(cls_logits, bbox_preds, strict=True)]
    for index, layer in enumerate(layers):
        recorded[f'{name}.cls_logits.{index}'] = fingerprint(layer['logits'])
        recorded[f'{name}.bbox_preds.{index}'] = fingerprint(layer['pred_boxes'])
        print(name, index, layer['logits'].std().item(), layer['pred_boxes'].std(1).mean().item())
    if name != 'r50':
        return
    config = model.config
    config.auxiliary_loss = True
    loss, parts, _ = model.loss_function(
        cls_logits[-1], targets, cls_logits.device, bbox_preds[-1], config, cls_logits, bbox_preds
    )
    matcher = HungarianMatcher(config.class_cost, config.bbox_cost, config.giou_cost)
    for index, layer in enumerate(layers):
        for image, (queries, found) in enumerate(matcher(layer, targets)):
            recorded[f'queries.{index}.{image}'] = queries[found.argsort()].numpy()
    weights = dict(ce=1.0, bbox=config.bbox_loss_coefficient, giou=config.giou_loss_coefficient)
    suffixes = [*(f'_{index}' for index in range(len(layers) - 1)), '']
    recorded['losses'] = np.array(
        [[parts[f'loss_{key}{suffix}'].item() * weight for key, weight in weights.items()] for suffix in suffixes]
    )
    assert np.isclose(recorded['losses'].sum(), loss.item(), rtol=1e-12), 'the parts do not add up to the loss'
    print(recorded['losses'])
    loss.backward()
    for key, parameter in model.named_parameters():
        if parameter.grad is not None:
            recorded[f'grad.{published_name(key)}'] = fingerprint(parameter.grad).astype(np.float32)
    tables = DetrImageProcessor().post_process_object_detection(output, 0.0, target_sizes=torch.tensor(IMG_SHAPES))
    for image, (table, (height, width)) in enumerate(zip(tables, IMG_SHAPES, strict=True)):
        bboxes = table['boxes'].clamp(min=0).minimum(torch.tensor([width, height] * 2))
        rows = torch.cat([bboxes, table['scores'].unsqueeze(1), table['labels'].unsqueeze(1)], 1)
        recorded[f'detections.{image}'] = fingerprint(rows[rows[:, 4].argsort(descending=True, stable=True)])


def main() -> None:
    torch.set_default_dtype(torch.float64)  # without it the reference makes class weights and positions in float32
    recorded = {'version': transformers.__version__, 'seed': SEED}
    for name, arguments in MODELS.items():
        record_outputs(name, build(*arguments), recorded)
    np.savez_compressed(Path(__file__).with_name('detr.npz'), **recorded)


if __name__ == '__main__':
    main()
