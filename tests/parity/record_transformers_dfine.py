"""Records what transformers 5.24 computes for D-FINEs with seeded weights, and pydfine 0.2.1 of losses, in dfine.npz.

Run in an environment that has transformers 5.24.0 and pydfine 0.2.1 (neither is a dependency of detkit):

    cd tests && python -m parity.record_transformers_dfine

pydfine holds the authors' criterion; that of transformers lacks the union of matches. Models and weights are made by
``dfine_shapes.py``, objects and the noise of denoising by ``rtdetr_shapes.py``, in float64. Without ``exact`` the
criterion would compute some weights in float32.

The file holds, of every model in evaluation mode,

- ``<model>.eval.maps.<level>``: a fingerprint of each of the encoder's maps;
- ``<model>.eval.cls_logits``, ``….bbox_preds``, ``….edge_logits``: those of the last layer;

and in training mode, of some, in which the first queries are those of denoising,

- the same of every layer, ``<model>.train.cls_logits.<layer>``, and ``….pre_cls_logits``, ``….pre_bbox_preds``;
- ``<model>.loss.<name>``: every part of the loss, times its weight, by the authors' names;
- ``<model>.grad.<parameter>``: a fingerprint (float32) of each parameter's gradient of their sum.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
import torch
import transformers
from dfine.backends.native.criterion import DFINECriterion
from dfine.backends.native.matcher import HungarianMatcher
from parity.dfine_shapes import MODELS, NUM_CLASSES, NUM_DENOISING, NUM_QUERIES, TRAINED, Shape, dfine_state, images
from parity.record_transformers_backbones import HGNETS
from parity.record_transformers_rtdetr import with_draws
from parity.rtdetr_shapes import objects
from parity.seeded import fingerprint
from transformers import DFineConfig, DFineForObjectDetection, HGNetV2Config


def build(shape: Shape) -> torch.nn.Module:
    first = 3 if shape.size == 'n' else 2
    arch = HGNETS['B0']
    backbone = HGNetV2Config(
        out_features=[f'stage{index}' for index in range(first, 5)],
        use_learnable_affine_block=True,
        embedding_size=16,
        hidden_sizes=arch['stage_out_channels'],
        **arch,
    )
    channels, encoder_ffn, expansion, depth = shape.encoder
    dims, ffn, layers, points, reg_scale = shape.decoder
    levels = len(points)
    config = DFineConfig(
        backbone_config=backbone,
        freeze_backbone_batch_norms=shape.frozen,
        encoder_in_channels=arch['stage_out_channels'][-levels:],
        feat_strides=[8, 16, 32][-levels:],
        num_feature_levels=levels,
        encode_proj_layers=[levels - 1],
        encoder_hidden_dim=channels,
        encoder_ffn_dim=encoder_ffn,
        hidden_expansion=expansion,
        depth_mult=depth,
        decoder_in_channels=[channels] * levels,
        d_model=dims,
        decoder_ffn_dim=ffn,
        decoder_layers=layers,
        decoder_n_points=list(points),
        reg_scale=reg_scale,
        num_labels=NUM_CLASSES,
        num_queries=NUM_QUERIES,
        num_denoising=NUM_DENOISING,
        tie_word_embeddings=False,  # the authors' layers share nothing
        attn_implementation='eager',
    )
    model = DFineForObjectDetection(config).double()
    own = {name: value for name, value in model.state_dict().items() if 'num_points_scale' not in name}
    state = dfine_state({name: tuple(value.shape) for name, value in own.items()}, reg_scale)
    report = model.load_state_dict(state, strict=False)
    assert not report.unexpected_keys and all('num_points_scale' in name for name in report.missing_keys)
    for name, value in model.named_buffers():
        if 'num_points_scale' in name:
            value.copy_(torch.tensor([1 / count for count in points for _ in range(count)]))
    return model


@contextmanager
def exact() -> Iterator[None]:
    """Let ``Tensor.float()`` keep float64."""
    with mock.patch.object(torch.Tensor, 'float', torch.Tensor.double):
        yield


def record(name: str, recorded: dict) -> None:
    model = build(MODELS[name]).eval()
    with torch.no_grad():
        output = model.model(images(name))
    for level, feat in enumerate(output.encoder_last_hidden_state):
        recorded[f'{name}.eval.maps.{level}'] = fingerprint(feat)
    recorded[f'{name}.eval.cls_logits'] = fingerprint(output.intermediate_logits[:, -1])
    recorded[f'{name}.eval.bbox_preds'] = fingerprint(output.intermediate_reference_points[:, -1])
    recorded[f'{name}.eval.edge_logits'] = fingerprint(output.intermediate_predicted_corners[:, -1])
    print(
        name, output.intermediate_logits.std(2).mean().item(), output.intermediate_reference_points.std(2).mean().item()
    )
    if name in TRAINED:
        record_training(name, model.train(), recorded)


def record_training(name: str, model: torch.nn.Module, recorded: dict) -> None:
    targets = [dict(class_labels=labels, boxes=bboxes) for labels, bboxes in objects()]
    with with_draws():
        output = model.model(images(name), labels=targets)
    logits, bboxes = output.intermediate_logits, output.intermediate_reference_points  # the first is the initial box
    corners, refs = output.intermediate_predicted_corners, output.initial_reference_points
    layers = corners.shape[1]
    recorded[f'{name}.train.pre_cls_logits'] = fingerprint(logits[:, 0])
    recorded[f'{name}.train.pre_bbox_preds'] = fingerprint(bboxes[:, 0])
    for index in range(layers):
        recorded[f'{name}.train.cls_logits.{index}'] = fingerprint(logits[:, index + 1])
        recorded[f'{name}.train.bbox_preds.{index}'] = fingerprint(bboxes[:, index + 1])
        recorded[f'{name}.train.edge_logits.{index}'] = fingerprint(corners[:, index])

    meta = output.denoising_meta_values
    first = meta['dn_num_split'][0]

    def layer(index: int, part: slice, with_teacher: bool) -> dict:
        own = dict(
            pred_logits=logits[:, index + 1, part],
            pred_boxes=bboxes[:, index + 1, part],
            pred_corners=corners[:, index, part],
            ref_points=refs[:, index, part],
        )
        if with_teacher:
            own |= dict(teacher_corners=corners[:, -1, part], teacher_logits=logits[:, -1, part])
        return own

    main, dn = slice(first, None), slice(0, first)
    outputs = dict(
        **layer(layers - 1, main, False),
        up=model.model.decoder.up,
        reg_scale=model.model.decoder.reg_scale,
        aux_outputs=[layer(index, main, True) for index in range(layers - 1)],
        pre_outputs=dict(pred_logits=logits[:, 0, main], pred_boxes=bboxes[:, 0, main]),
        enc_aux_outputs=[dict(pred_logits=output.enc_topk_logits, pred_boxes=output.enc_topk_bboxes)],
        enc_meta=dict(class_agnostic=False),
        dn_outputs=[layer(index, dn, True) for index in range(layers)],
        dn_pre_outputs=dict(pred_logits=logits[:, 0, dn], pred_boxes=bboxes[:, 0, dn]),
        dn_meta=meta,
    )
    criterion = DFINECriterion(
        matcher=HungarianMatcher(dict(cost_class=2.0, cost_bbox=5.0, cost_giou=2.0)),
        weight_dict=dict(loss_vfl=1.0, loss_bbox=5.0, loss_giou=2.0, loss_fgl=0.15, loss_ddf=1.5),
        losses=['vfl', 'boxes', 'local'],
        alpha=0.75,
        gamma=2.0,
        num_classes=NUM_CLASSES,
        reg_max=32,
    )
    with exact():
        losses = criterion(outputs, [dict(labels=own['class_labels'], boxes=own['boxes']) for own in targets])
    for key, value in losses.items():
        recorded[f'{name}.loss.{key}'] = value.item()
        print(name, key, value.item())
    sum(losses.values()).backward()
    for key, parameter in model.named_parameters():
        if parameter.grad is not None:
            recorded[f'{name}.grad.{key}'] = fingerprint(parameter.grad).astype(np.float32)


def main() -> None:
    torch.set_default_dtype(torch.float64)
    recorded = {'version': transformers.__version__}
    for name in MODELS:
        record(name, recorded)
    np.savez_compressed(Path(__file__).with_name('dfine.npz'), **recorded)


if __name__ == '__main__':
    main()
