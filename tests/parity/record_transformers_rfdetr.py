"""Records what transformers 5.24 computes for RF-DETRs with seeded weights, into rfdetr.npz.

Run in an environment that has transformers 5.24.0 (it is no dependency of detkit):

    cd tests && python -m parity.record_transformers_rfdetr

Weights and images are made by ``rfdetr_shapes.py``, in float64. The file holds, of every backbone, a fingerprint of

- ``<name>.map.<i>``: each of its maps;
- ``<name>.projected``: the projector's map of these;
- ``<name>.grad.<parameter>``: each gradient of ``loss_of`` the projected map (float32);

and of the detector, with ``<mode>`` eval (one group of queries) and train (all groups),

- ``<mode>.cls_logits.<layer>``, ``<mode>.bbox_preds.<layer>``: a fingerprint of the output of every decoder layer, and
  with ``enc`` for the layer of the selection;
- ``queries.<layer>.<image>``: the query of each group that each object is matched with, ``(groups, N)``, in training;
- ``losses``: ``(layers + 1, 3)``: class, L1 and GIoU, each times its weight, of the layers and of the selection;
- ``grad.<parameter>``: a fingerprint (float32) of each parameter's gradient of their sum;
- ``detections.<image>``: a fingerprint of the table x0, y0, x1, y1 (pixels), score, label of the best 10 pairs of a
  query and a class, in evaluation;

and of the detector with masks

- ``masks.<image>``: a fingerprint of the mask logits ``(Q, h, w)`` of all queries, in evaluation;
- ``seg.losses``: ``(layers + 1, 5)``: class, L1, GIoU, cross entropy of masks and Dice;
- ``seg.grad.<parameter>``: as ``grad.<parameter>``.

Three details of masks are those of the authors' package, rfdetr 1.11.2, from which transformers deviates in training:
the selection's masks come from projected pixels, values beyond the outer pixels' centres are those of these pixels, and
matching has a point for each 16 pixels. The random points are those of ``rfdetr_shapes.points``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import transformers
from parity.rfdetr_shapes import (
    BACKBONES,
    CROSS_HEADS,
    DEPTH,
    DIMS,
    EMBED_DIMS,
    FEEDFORWARD_DIMS,
    GROUPS,
    HEADS,
    LAYERS,
    NUM_CLASSES,
    OUT_BLOCKS,
    PATCH,
    POINTS,
    PROJECTOR_DIMS,
    QUERIES,
    SELF_HEADS,
    SIDE,
    image,
    images,
    loss_of,
    object_masks,
    objects,
    points,
    state_of,
)
from parity.seeded import fingerprint
from transformers import (
    RfDetrConfig,
    RfDetrDinov2Config,
    RfDetrForInstanceSegmentation,
    RfDetrForObjectDetection,
    RfDetrImageProcessor,
)
from transformers.loss import loss_rf_detr
from transformers.loss.loss_lw_detr import LwDetrHungarianMatcher
from transformers.models.rf_detr.modeling_rf_detr import RfDetrConvEncoder

PREFIX = 'model.backbone.'


def backbone_config(windows: int, table: int) -> RfDetrDinov2Config:
    return RfDetrDinov2Config(
        hidden_size=EMBED_DIMS,
        num_hidden_layers=DEPTH,
        num_attention_heads=HEADS,
        image_size=table * PATCH,
        patch_size=PATCH,
        num_windows=windows,
        out_features=[f'stage{index}' for index in OUT_BLOCKS],
    )


def load(model: torch.nn.Module, prefix: str = '') -> torch.nn.Module:
    shapes = {prefix + name: tuple(value.shape) for name, value in model.state_dict().items()}
    model.load_state_dict({name.removeprefix(prefix): value for name, value in state_of(shapes).items()})
    return model


def record_backbone(name: str, recorded: dict) -> None:
    windows, table, side = BACKBONES[name]
    config = RfDetrConfig(
        backbone_config=backbone_config(windows, table), d_model=PROJECTOR_DIMS, layer_norm_eps=1e-6, c2f_num_blocks=2
    )
    encoder = load(RfDetrConvEncoder(config).double(), PREFIX)
    feats = encoder.backbone(image(side)).feature_maps
    projected, _ = encoder(image(side), torch.ones(2, side, side, dtype=torch.int64))
    for index, feat in enumerate(feats):
        recorded[f'{name}.map.{index}'] = fingerprint(feat)
    recorded[f'{name}.projected'] = fingerprint(projected)
    print(name, tuple(projected.shape), projected.std().item())
    loss_of([projected]).backward()
    for key, parameter in encoder.named_parameters():
        if parameter.grad is not None:
            recorded[f'{name}.grad.{PREFIX}{key}'] = fingerprint(parameter.grad).astype(np.float32)


def detector_config() -> RfDetrConfig:
    windows, table, _ = BACKBONES['windows']
    return RfDetrConfig(
        backbone_config=backbone_config(windows, table),
        d_model=DIMS,
        layer_norm_eps=1e-6,
        c2f_num_blocks=2,
        decoder_layers=LAYERS,
        decoder_self_attention_heads=SELF_HEADS,
        decoder_cross_attention_heads=CROSS_HEADS,
        decoder_n_points=POINTS,
        decoder_ffn_dim=FEEDFORWARD_DIMS,
        num_queries=QUERIES,
        group_detr=GROUPS,
        num_labels=NUM_CLASSES,
        dropout=0.0,
        class_cost=2,
        bbox_cost=5,
        giou_cost=2,
        intermediate_size=4 * DIMS,
    )


def layers_of(model: RfDetrForObjectDetection, output) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Class logits and boxes of every decoder layer, and of the selection."""
    logits, boxes = model.predict_class_and_boxes(
        output.intermediate_hidden_states, output.intermediate_reference_points
    )
    layers = {str(index): pair for index, pair in enumerate(zip(logits, boxes, strict=True))}
    assert torch.equal(logits[-1], output.logits) and torch.equal(boxes[-1], output.pred_boxes)
    return {**layers, 'enc': (output.enc_outputs_class, output.enc_outputs_coord_logits)}


def record_detector(recorded: dict) -> None:
    model = load(RfDetrForObjectDetection(detector_config()).double())
    targets = [dict(class_labels=labels, boxes=bboxes) for labels, bboxes in objects()]
    for mode in ('eval', 'train'):
        output = model.train(mode == 'train')(images(), labels=targets if mode == 'train' else None)
        layers = layers_of(model, output)
        for name, (logits, boxes) in layers.items():
            recorded[f'{mode}.cls_logits.{name}'] = fingerprint(logits)
            recorded[f'{mode}.bbox_preds.{name}'] = fingerprint(boxes)
            print(mode, name, tuple(logits.shape), logits.std().item(), boxes.std(1).mean().item())
        if mode == 'eval':
            tables = RfDetrImageProcessor().post_process_object_detection(
                output, 0.0, target_sizes=torch.tensor([[SIDE, SIDE]] * len(targets))
            )
            for index, table in enumerate(tables):
                rows = torch.cat([table['boxes'].clamp(0, SIDE), table['scores'][:, None], table['labels'][:, None]], 1)
                recorded[f'detections.{index}'] = fingerprint(rows)
    config, parts = model.config, output.loss_dict
    matcher = LwDetrHungarianMatcher(config.class_cost, config.bbox_cost, config.giou_cost)
    for name, (logits, boxes) in layers.items():
        for index, (queries, found) in enumerate(matcher(dict(logits=logits, pred_boxes=boxes), targets, GROUPS)):
            count = len(targets[index]['class_labels'])
            table = np.zeros((GROUPS, count), np.int64)
            table[(queries // QUERIES).numpy(), found.numpy()] = queries.numpy()
            recorded[f'queries.{name}.{index}'] = table
    weights = dict(ce=1.0, bbox=5.0, giou=2.0)
    suffixes = [*(f'_{index}' for index in range(LAYERS - 1)), '', '_enc']
    recorded['losses'] = np.array(
        [[parts[f'loss_{key}{suffix}'].item() * weight for key, weight in weights.items()] for suffix in suffixes]
    )
    assert np.isclose(recorded['losses'].sum(), output.loss.item(), rtol=1e-12), 'the parts do not add up to the loss'
    print(recorded['losses'])
    output.loss.backward()
    for key, parameter in model.named_parameters():
        if parameter.grad is not None:
            recorded[f'grad.{key}'] = fingerprint(parameter.grad).astype(np.float32)


def bare_name(name: str) -> str:
    """The name of a parameter of the model with masks, without the prefix of the detector inside."""
    return name.removeprefix('model.') if name.startswith(('model.model.', 'model.class_', 'model.bbox_')) else name


def sample_point(features: torch.Tensor, coordinates: torch.Tensor, mode: str = 'bilinear', **kwargs) -> torch.Tensor:
    """As the library's, with the padding of the authors' package."""
    grid = 2 * coordinates.unsqueeze(2) - 1
    features = features.to(coordinates.dtype)
    return torch.nn.functional.grid_sample(features, grid, mode, 'border', align_corners=False).squeeze(3)


class Rand:
    """In place of ``torch`` in the losses: the same, but for random points."""

    def __getattr__(self, name: str):
        return getattr(torch, name)

    @staticmethod
    def rand(*shape: int, device=None) -> torch.Tensor:
        count = (SIDE // 4) ** 2 // 16 if shape[0] == 1 else shape[1]
        return points(count).expand(shape[0], -1, -1)


def record_masks(recorded: dict) -> None:
    model = RfDetrForInstanceSegmentation(detector_config()).double()
    shapes = {bare_name(name): tuple(value.shape) for name, value in model.state_dict().items()}
    state = state_of(shapes)
    model.load_state_dict({name: state[bare_name(name)] for name in model.state_dict()})
    original = model.segmentation_head

    def segmentation_head(feat, queries, size, skip_blocks=False):
        if not skip_blocks:
            return original(feat, queries, size)
        target = [side // model.downsample_ratio for side in size]
        feat = torch.nn.functional.interpolate(feat, size=target, mode='bilinear', align_corners=False)
        return model.get_mask_logits(queries, model.spatial_features_proj(feat))

    model.segmentation_head = segmentation_head
    loss_rf_detr.torch, loss_rf_detr.sample_point = Rand(), sample_point
    targets = [
        dict(class_labels=labels, boxes=bboxes, masks=masks)
        for (labels, bboxes), masks in zip(objects(), object_masks(), strict=True)
    ]
    for index, masks in enumerate(model.eval()(images()).pred_masks):
        recorded[f'masks.{index}'] = fingerprint(masks)
    output = model.train()(images(), labels=targets)
    weights = dict(ce=1.0, bbox=5.0, giou=2.0, mask_ce=5.0, mask_dice=5.0)
    suffixes = [*(f'_{index}' for index in range(LAYERS - 1)), '', '_enc']
    parts = output.loss_dict
    recorded['seg.losses'] = np.array(
        [[parts[f'loss_{key}{suffix}'].item() * weight for key, weight in weights.items()] for suffix in suffixes]
    )
    print(recorded['seg.losses'])
    assert np.isclose(recorded['seg.losses'].sum(), output.loss.item(), rtol=1e-12), 'the parts do not add up'
    output.loss.backward()
    for key, parameter in model.named_parameters():
        if parameter.grad is not None:
            recorded[f'seg.grad.{bare_name(key)}'] = fingerprint(parameter.grad).astype(np.float32)


def main() -> None:
    recorded = {'version': transformers.__version__}
    for name in BACKBONES:
        record_backbone(name, recorded)
    record_detector(recorded)
    record_masks(recorded)
    np.savez_compressed(Path(__file__).with_name('rfdetr.npz'), **recorded)


if __name__ == '__main__':
    main()
