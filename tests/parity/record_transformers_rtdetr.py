"""Records what Hugging Face's transformers 5.24 computes for RT-DETRs with seeded weights, into rtdetr.npz.

Run in an environment that has transformers 5.24.0 (it is no dependency of detkit):

    cd tests && python -m parity.record_transformers_rtdetr

Models, weights, images, objects and the random numbers of denoising are made by ``rtdetr_shapes.py``, in float64. The
images of the batch have content of three sizes, one has no object; boxes are relative to the batch.

The file holds, of every model in evaluation mode,

- ``<model>.eval.maps.<level>``: a fingerprint of each of the encoder's maps;
- ``<model>.eval.cells``: the selected cells, in their order, ``(B, Q)``;
- ``<model>.eval.enc_cls_logits``, ``….enc_bbox_preds``, ``….cls_logits.<layer>``, ``….bbox_preds.<layer>``;
- ``<model>.detections.<image>``: a fingerprint of the table x0, y0, x1, y1 (pixels, in the image), score, label;

and in training mode, of r18 and r50, in which the first queries of each decoder layer are those of denoising,

- the same of the selection and the layers, ``<model>.train.…``;
- ``<model>.queries.<layer>.<image>``: the query that each object is matched with, the selection as the last layer;
- ``<model>.losses``: ``(2 * layers + 1, 3)``: class, L1 and GIoU, each times its weight, of the decoder layers, of the
  selection, and of the layers' denoising queries;
- ``<model>.grad.<parameter>``: a fingerprint (float32) of each parameter's gradient of their sum.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
import torch
import transformers
from parity.rtdetr_shapes import (
    MODELS,
    NUM_CLASSES,
    NUM_DENOISING,
    NUM_QUERIES,
    TRAINED,
    Shape,
    draws,
    images,
    objects,
    rtdetr_state,
)
from parity.seeded import fingerprint
from transformers import (
    RTDetrConfig,
    RTDetrForObjectDetection,
    RTDetrImageProcessor,
    RTDetrResNetConfig,
    RTDetrV2Config,
    RTDetrV2ForObjectDetection,
)
from transformers.loss.loss_rt_detr import RTDetrHungarianMatcher

BACKBONES = {
    18: dict(layer_type='basic', depths=[2, 2, 2, 2], hidden_sizes=[64, 128, 256, 512]),
    50: dict(layer_type='bottleneck', depths=[3, 4, 6, 3], hidden_sizes=[256, 512, 1024, 2048]),
}


def published_name(name: str) -> str:
    """A parameter's name in files, which the library changes as it reads and writes them."""
    name = re.sub(r'\.o_proj\.', '.out_proj.', name)
    return name.replace('.encoder.aifi.', '.encoder.encoder.').replace('.mlp.fc', '.fc')


def build(shape: Shape) -> torch.nn.Module:
    backbone = BACKBONES[shape.depth]
    arguments = dict(
        backbone_config=RTDetrResNetConfig(out_features=['stage2', 'stage3', 'stage4'], **backbone),
        encoder_in_channels=backbone['hidden_sizes'][1:],
        hidden_expansion=shape.expansion,
        decoder_layers=shape.layers,
        num_labels=NUM_CLASSES,
        num_queries=NUM_QUERIES,
        num_denoising=NUM_DENOISING,
        freeze_backbone_batch_norms=shape.frozen,
        attn_implementation='eager',
    )
    if shape.version == 2:
        # By default the library gives all decoder layers the last one's predictions.
        config = RTDetrV2Config(decoder_method='discrete', tie_word_embeddings=False, **arguments)
        model = RTDetrV2ForObjectDetection(config)
    else:
        model = RTDetrForObjectDetection(RTDetrConfig(**arguments))
    model = model.double()
    own = {name: value for name, value in model.state_dict().items() if 'n_points_scale' not in name}
    state = rtdetr_state({published_name(name): tuple(value.shape) for name, value in own.items()})
    report = model.load_state_dict({name: state[published_name(name)] for name in own}, strict=False)
    assert not report.unexpected_keys and all('n_points_scale' in name for name in report.missing_keys)
    return model


@contextmanager
def with_draws() -> Iterator[None]:
    """Give the library's denoising, which draws labels, signs and distances in this order, the agreed numbers."""
    uniform, integers = iter((slice(0, 1), slice(2, 6))), iter((slice(1, 2), slice(6, 10)))

    def numbers(like: torch.Tensor, part: slice) -> torch.Tensor:
        return draws(like.shape[1])[..., part].reshape(like.shape)

    def rand_like(like, **kwargs):
        return numbers(like, next(uniform))

    def randint_like(like, low, high, **kwargs):
        drawn = numbers(like, next(integers))
        return (drawn < 0.5).double() if high == 2 else (drawn * high).to(kwargs['dtype'])

    with mock.patch.object(torch, 'rand_like', rand_like), mock.patch.object(torch, 'randint_like', randint_like):
        yield


def record_outputs(recorded: dict, prefix: str, output) -> None:
    recorded[f'{prefix}.cells'] = output.enc_outputs_class.max(-1).values.topk(NUM_QUERIES, dim=1).indices.numpy()
    recorded[f'{prefix}.enc_cls_logits'] = fingerprint(output.enc_topk_logits)
    recorded[f'{prefix}.enc_bbox_preds'] = fingerprint(output.enc_topk_bboxes)
    for index in range(output.intermediate_logits.shape[1]):
        recorded[f'{prefix}.cls_logits.{index}'] = fingerprint(output.intermediate_logits[:, index])
        recorded[f'{prefix}.bbox_preds.{index}'] = fingerprint(output.intermediate_reference_points[:, index])
        logits, bboxes = output.intermediate_logits[:, index], output.intermediate_reference_points[:, index]
        print(prefix, index, logits.std(1).mean().item(), bboxes.std(1).mean().item())


def record(name: str, recorded: dict) -> None:
    model = build(MODELS[name]).eval()
    height, width = MODELS[name].size
    with torch.no_grad():
        output = model(images(name))
    for level, feat in enumerate(output.encoder_last_hidden_state):
        recorded[f'{name}.eval.maps.{level}'] = fingerprint(feat)
    record_outputs(recorded, f'{name}.eval', output)
    sizes = torch.tensor([[height, width]] * len(output.logits))
    tables = RTDetrImageProcessor().post_process_object_detection(output, 0.0, target_sizes=sizes)
    for image, table in enumerate(tables):
        bboxes = table['boxes'].clamp(min=0).minimum(torch.tensor([width, height] * 2))
        rows = torch.cat([bboxes, table['scores'].unsqueeze(1), table['labels'].unsqueeze(1)], 1)
        recorded[f'{name}.detections.{image}'] = fingerprint(rows)
    if name in TRAINED:
        record_training(name, model.train(), recorded)


def record_training(name: str, model: torch.nn.Module, recorded: dict) -> None:
    targets = [dict(class_labels=labels, boxes=bboxes) for labels, bboxes in objects()]
    with with_draws():
        output = model(images(name), labels=targets)
    record_outputs(recorded, f'{name}.train', output)
    dn, layers = output.denoising_meta_values['dn_num_split'][0], MODELS[name].layers
    matcher = RTDetrHungarianMatcher(model.config)
    predictions = [
        dict(logits=output.intermediate_logits[:, i, dn:], pred_boxes=output.intermediate_reference_points[:, i, dn:])
        for i in range(layers)
    ]
    predictions.append(dict(logits=output.enc_topk_logits, pred_boxes=output.enc_topk_bboxes))
    for index, layer in enumerate(predictions):
        for image, (queries, found) in enumerate(matcher(layer, targets)):
            recorded[f'{name}.queries.{index}.{image}'] = queries[found.argsort()].numpy()
    suffixes = [
        *(f'_aux_{i}' for i in range(layers - 1)),
        '',
        f'_aux_{layers - 1}',
        *(f'_dn_{i}' for i in range(layers)),
    ]
    parts = output.loss_dict
    recorded[f'{name}.losses'] = np.array(
        [[parts[f'loss_{key}{suffix}'].item() for key in ('vfl', 'bbox', 'giou')] for suffix in suffixes]
    )
    assert np.isclose(recorded[f'{name}.losses'].sum(), output.loss.item(), rtol=1e-12), 'parts do not add up'
    print(recorded[f'{name}.losses'])
    output.loss.backward()
    for key, parameter in model.named_parameters():
        if parameter.grad is not None:
            recorded[f'{name}.grad.{published_name(key)}'] = fingerprint(parameter.grad).astype(np.float32)


def main() -> None:
    torch.set_default_dtype(torch.float64)  # without it the reference makes boxes of denoising in float32
    recorded = {'version': transformers.__version__}
    for name in MODELS:
        record(name, recorded)
    np.savez_compressed(Path(__file__).with_name('rtdetr.npz'), **recorded)


if __name__ == '__main__':
    main()
