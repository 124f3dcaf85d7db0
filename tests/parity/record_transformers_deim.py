"""Records what transformers 5.24 computes for DEIMs with seeded weights, and pydfine 0.2.1 of losses, in deim.npz.

Run in an environment that has transformers 5.24.0 and pydfine 0.2.1 (neither is a dependency of detkit):

    cd tests && python -m parity.record_transformers_deim

Models and weights are made by ``deim_shapes.py``, objects and the noise of denoising by ``rtdetr_shapes.py``, in
float64. The library's DEIMv2 differs from its authors' in three things, which are put right here for two of its models
(``as_published``); the third stays as the library has it. Its normalisation computes in float32, which is lifted.

Of the losses, the class loss is the library's (MAL) in all models. Its criterion pairs the layers' logits with the
distributions of other layers, and its distillation counts the queries of denoising; so, with union, the rest is
pydfine's, which holds the criterion of D-FINE's authors, from which DEIM's descends; without union it is the library's,
given the layers in their order. Both are compared where they compute the same.

The file holds, of every model in evaluation mode,

- ``<model>.eval.maps.<level>``: a fingerprint of each of the encoder's maps;
- ``<model>.eval.cls_logits``, ``….bbox_preds``, ``….edge_logits``: those of the last layer;
- ``<model>.detections.<image>``: a fingerprint of the table x0, y0, x1, y1 (pixels, in the image), score, label;

and in training mode, of some, in which the first queries are those of denoising,

- the same of every layer, ``<model>.train.cls_logits.<layer>``, and ``….pre_cls_logits``, ``….pre_bbox_preds``;
- ``<model>.queries.<layer>.<image>``: the query that each object is matched with; the last two are those of the box
  that edges start from, and of the selection;
- ``<model>.loss.<name>``: every part of the loss, times its weight, by the authors' names;
- ``<model>.grad.<parameter>``: a fingerprint (float32) of each parameter's gradient of their sum.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch
import transformers
from dfine.backends.native.criterion import DFINECriterion
from dfine.backends.native.matcher import HungarianMatcher
from parity.deim_shapes import (
    DFINE,
    NUM_CLASSES,
    NUM_DENOISING,
    NUM_QUERIES,
    TRAINED,
    V2,
    Shape,
    deim_state,
    images,
    img_shape,
)
from parity.record_transformers_dfine import build as build_dfine
from parity.record_transformers_dfine import exact
from parity.record_transformers_rtdetr import with_draws
from parity.rtdetr_shapes import objects
from parity.seeded import fingerprint
from torch import nn
from transformers import Deimv2Config, Deimv2ForObjectDetection, HGNetV2Config, RTDetrImageProcessor
from transformers.loss.loss_deimv2 import Deimv2Loss
from transformers.models.deimv2 import modeling_deimv2

POINTS = dict(n=[6, 6], pico=[4, 2], atto=[4, 2])
STAGES = dict(n=[64, 256, 512, 1024], pico=[64, 256, 512], atto=[64, 256, 256])
BLOCKS = dict(n=[1, 1, 2, 1], pico=[1, 1, 2], atto=[1, 1, 1])
KERNELS = dict(n=[3, 3, 5, 5], pico=[3, 3, 5], atto=[3, 3, 3])
# What a criterion needs of a D-FINE, whose class loss is the library's DEIM's.
LOSS_CONFIG = dict(num_labels=NUM_CLASSES, focal_loss_gamma=1.5, weight_loss_mal=1.0)


def build(shape: Shape) -> nn.Module:
    size, outs = shape.size, STAGES[shape.size]
    backbone = HGNetV2Config(
        out_features=['stage3', 'stage4'] if size == 'n' else ['stage3'],
        use_learnable_affine_block=True,
        embedding_size=16,
        stem_channels=[3, 16, 16],
        hidden_sizes=outs,
        depths=BLOCKS[size],
        stage_in_channels=[16, *outs[:-1]],
        stage_mid_channels=[16, 32, 64, 128][: len(outs)],
        stage_out_channels=outs,
        stage_num_blocks=BLOCKS[size],
        stage_downsample=[False, True, True, True][: len(outs)],
        stage_light_block=[False, False, True, True][: len(outs)],
        stage_kernel_size=KERNELS[size],
        stage_numb_of_layers=[3] * len(outs),
    )
    config = Deimv2Config(
        backbone_config=backbone,
        freeze_backbone_batch_norms=False,
        encoder_type='hybrid' if size == 'n' else 'lite',
        encoder_layers=1 if size == 'n' else 0,
        encoder_in_channels=outs[2:],
        feat_strides=[16, 32] if size == 'n' else [16],
        num_feature_levels=2,
        encode_proj_layers=[1],
        encoder_hidden_dim=shape.dims,
        encoder_ffn_dim=512,
        hidden_expansion=0.34,
        depth_mult=0.5,
        decoder_in_channels=[shape.dims] * 2,
        d_model=shape.dims,
        head_dim=shape.dims // 8,
        decoder_ffn_dim=shape.feedforward,
        decoder_layers=shape.layers,
        decoder_n_points=POINTS[size],
        use_gateway=size == 'n',
        share_bbox_head=size != 'n',
        num_queries=NUM_QUERIES,
        num_denoising=NUM_DENOISING,
        use_dense_one_to_one=size == 'n',
        tie_word_embeddings=False,
        attn_implementation='eager',
        **LOSS_CONFIG,
    )
    model = Deimv2ForObjectDetection(config).double()
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items() if 'num_points' not in name}
    state = deim_state(shapes)
    if size != 'n':  # one MLP under several names
        for name in state:
            if '.bbox_embed.' in name or name.startswith('bbox_embed.'):
                start, _, end = name.partition('bbox_embed.')
                state[name] = state[f'{start}bbox_embed.0.{end.partition(".")[2]}']
    report = model.load_state_dict(state, strict=False)
    assert not report.unexpected_keys and all('num_points_scale' in name for name in report.missing_keys)
    set_point_scales(model, POINTS[size])
    return model if shape.as_library else as_published(model)


def set_point_scales(model: nn.Module, points: list[int]) -> None:
    for name, value in model.named_buffers():
        if 'num_points_scale' in name:
            value.copy_(torch.tensor([1 / count for count in points for _ in range(count)]))


def as_published(model: nn.Module) -> nn.Module:
    """Give the library's DEIMv2 the graph of its authors."""
    model.model.enc_output = nn.Identity()
    with_silu(model)
    decoder, kept = model.model.decoder, {}
    original = decoder.query_pos_head.forward
    decoder.query_pos_head.forward = lambda bboxes: kept.setdefault('positions', original(bboxes))
    decoder.register_forward_pre_hook(lambda *args, **kwargs: kept.clear(), with_kwargs=True)
    return model


def with_silu(model: nn.Module) -> nn.Module:
    """Replace ReLU in all MLPs of the decoder, and of the selection."""
    for part in (model.model.decoder, model.model.enc_bbox_head):
        for module in part.modules():
            if type(module).__name__ in ('DFineMLP', 'Deimv2MLP'):
                module.act = nn.SiLU()
            elif type(module).__name__ == 'DFineMLPPredictionHead':
                module.forward = partial(through_silu, module.layers)
    return model


def through_silu(layers: nn.ModuleList, x: torch.Tensor) -> torch.Tensor:
    for layer in layers[:-1]:
        x = nn.functional.silu(layer(x))
    return layers[-1](x)


def precise_norm(self: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)


def build_any(name: str) -> nn.Module:
    return with_silu(build_dfine(DFINE[name])) if name in DFINE else build(V2[name])


def record(name: str, recorded: dict) -> None:
    model = build_any(name).eval()
    height, width = img_shape(name)
    with torch.no_grad():
        output = model(images(name))
    for level, feat in enumerate(output.encoder_last_hidden_state):
        recorded[f'{name}.eval.maps.{level}'] = fingerprint(feat)
    recorded[f'{name}.eval.cls_logits'] = fingerprint(output.intermediate_logits[:, -1])
    recorded[f'{name}.eval.bbox_preds'] = fingerprint(output.intermediate_reference_points[:, -1])
    recorded[f'{name}.eval.edge_logits'] = fingerprint(output.intermediate_predicted_corners[:, -1])
    print(name, output.logits.std(1).mean().item(), output.pred_boxes.std(1).mean().item())
    sizes = torch.tensor([[height, width]] * len(output.logits))
    tables = RTDetrImageProcessor().post_process_object_detection(output, 0.0, target_sizes=sizes)
    for image, table in enumerate(tables):
        bboxes = table['boxes'].clamp(min=0).minimum(torch.tensor([width, height] * 2))
        rows = torch.cat([bboxes, table['scores'].unsqueeze(1), table['labels'].unsqueeze(1)], 1)
        recorded[f'{name}.detections.{image}'] = fingerprint(rows)
    if name in TRAINED:
        record_training(name, model.train(), recorded)


def record_training(name: str, model: nn.Module, recorded: dict) -> None:
    targets = [dict(class_labels=labels, boxes=bboxes, labels=labels) for labels, bboxes in objects()]
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
    pre = dict(pred_logits=logits[:, 0, main], pred_boxes=bboxes[:, 0, main])
    dn_pre = dict(pred_logits=logits[:, 0, dn], pred_boxes=bboxes[:, 0, dn])
    selection = dict(pred_logits=output.enc_topk_logits, pred_boxes=output.enc_topk_bboxes)
    before = [layer(index, main, True) for index in range(layers - 1)]
    denoised = [layer(index, dn, True) for index in range(layers)]

    def plain(own: dict) -> dict:
        return dict(logits=own['pred_logits'], pred_boxes=own['pred_boxes'])

    config = model.config if name in V2 else Deimv2Config(**LOSS_CONFIG)
    library = Deimv2Loss(config)
    library.losses = ['mal', 'boxes']
    in_order = dict(
        **plain(layer(layers - 1, main, False)),
        auxiliary_outputs=[plain(own) for own in (*before, pre, selection)],
        dn_auxiliary_outputs=[plain(own) for own in (*denoised, dn_pre)],
        denoising_meta_values=meta,
    )
    theirs = library(in_order, targets)
    names = [
        '',
        *(f'_aux_{index}' for index in range(layers + 1)),
        *(f'_dn_{index}' for index in range(layers + 1)),
    ]
    published = [
        '',
        *(f'_aux_{index}' for index in range(layers - 1)),
        '_pre',
        '_enc_0',
        *(f'_dn_{index}' for index in range(layers)),
        '_dn_pre',
    ]
    renamed = {
        f'{part}{new}': theirs[f'loss_{part}{old}']
        for part in ('mal', 'bbox', 'giou')
        for old, new in zip(names, published, strict=True)
    }
    for index, own in enumerate((*before, layer(layers - 1, main, False), pre, selection)):
        for image, (queries, found) in enumerate(library.matcher(plain(own), targets)):
            recorded[f'{name}.queries.{index}.{image}'] = queries[found.argsort()].numpy()
    if name == 'pico':
        losses = renamed
    else:
        outputs = dict(
            **layer(layers - 1, main, False),
            up=model.model.decoder.up,
            reg_scale=model.model.decoder.reg_scale,
            aux_outputs=before,
            pre_outputs=pre,
            enc_aux_outputs=[selection],
            enc_meta=dict(class_agnostic=False),
            dn_outputs=denoised,
            dn_pre_outputs=dn_pre,
            dn_meta=meta,
        )
        losses = authors_losses(outputs, targets, library)
        for key, value in renamed.items():
            assert torch.isclose(losses[key], value, rtol=1e-12), (key, losses[key], value)
    for key, value in losses.items():
        recorded[f'{name}.loss.{key}'] = value.item()
        print(name, key, value.item())
    sum(losses.values()).backward()
    for key, parameter in model.named_parameters():
        if parameter.grad is not None:
            recorded[f'{name}.grad.{key}'] = fingerprint(parameter.grad).astype(np.float32)


def authors_losses(outputs: dict, targets: list[dict], library: Deimv2Loss) -> dict[str, torch.Tensor]:
    """Return the losses of D-FINE's criterion, with the library's class loss in place of its own."""
    criterion = DFINECriterion(
        matcher=HungarianMatcher(dict(cost_class=2.0, cost_bbox=5.0, cost_giou=2.0)),
        weight_dict=dict(loss_vfl=1.0, loss_bbox=5.0, loss_giou=2.0, loss_fgl=0.15, loss_ddf=1.5),
        losses=['vfl', 'boxes', 'local'],
        alpha=0.75,
        gamma=1.5,
        num_classes=NUM_CLASSES,
        reg_max=32,
    )

    def mal(own: dict, targets: list[dict], indices: list, num_boxes: float, values=None) -> dict:
        predictions = dict(logits=own['pred_logits'], pred_boxes=own['pred_boxes'])
        return {'loss_vfl': library.loss_labels_mal(predictions, targets, indices, num_boxes)['loss_mal']}

    criterion.loss_labels_vfl = mal
    with exact():
        losses = criterion(outputs, targets)
    return {key.removeprefix('loss_').replace('vfl', 'mal'): value for key, value in losses.items()}


def main() -> None:
    torch.set_default_dtype(torch.float64)
    modeling_deimv2.Deimv2RMSNorm.forward = precise_norm
    recorded = {'version': transformers.__version__}
    for name in (*V2, *DFINE):
        record(name, recorded)
    np.savez_compressed(Path(__file__).with_name('deim.npz'), **recorded)


if __name__ == '__main__':
    main()
