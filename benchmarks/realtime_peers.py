"""The peers of ``realtime_step.py``: transformers' and the authors' networks and losses, on the same batch."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

OBJECTS_PER_IMAGE = 10
PEER = 'transformers'
YOLOX_PEER = 'yolox'  # the module of pixeltable-yolox
RFDETR_PEER = 'rfdetr'  # that of RF-DETR's authors
# By family: the config, its size, the side of its images, and its number of classes.
FAMILIES = {
    'rtdetr': ('rtdetr/det_coco.py', 'r18', 640, 80),
    'dfine': ('dfine/det_coco.py', 'n', 640, 80),
    'deimv2': ('deimv2/det_coco.py', 'pico', 640, 80),
    'rfdetr': ('rfdetr/det_coco.py', 'n', 384, 91),
    'yolox': ('yolox/det_coco.py', 's', 640, 80),
}
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # of RF-DETR


def synthetic_batch(args: argparse.Namespace) -> dict[str, Tensor]:
    """Return random pixels: images ``(B, 3, H, W)`` uint8, boxes cxcywh relative to the image, labels."""
    rng = np.random.default_rng(0)
    shape, classes = (args.batch_size, OBJECTS_PER_IMAGE), FAMILIES[args.family][3]
    images = rng.integers(0, 256, (args.batch_size, 3, args.img_size, args.img_size), dtype=np.uint8)
    centres, sides = rng.uniform(0.2, 0.8, (*shape, 2)), rng.uniform(0.04, 0.36, (*shape, 2))
    bboxes_cxcywh = np.concatenate([centres, sides], -1).astype(np.float32)
    labels = rng.integers(0, classes, shape)
    parts = dict(images=images, bboxes_cxcywh=bboxes_cxcywh, labels=labels)
    return {name: torch.from_numpy(value) for name, value in parts.items()}


def peer_model(args: argparse.Namespace) -> tuple[nn.Module, Any]:
    """Return the model of transformers, and what turns its output into detections."""
    import transformers as hf

    classes = FAMILIES[args.family][3]
    if args.family == 'rtdetr':
        backbone = hf.RTDetrResNetConfig(
            layer_type='basic',
            depths=[2, 2, 2, 2],
            hidden_sizes=[64, 128, 256, 512],
            out_features=['stage2', 'stage3', 'stage4'],
        )
        config = hf.RTDetrConfig(
            backbone_config=backbone,
            encoder_in_channels=[128, 256, 512],
            hidden_expansion=0.5,
            decoder_layers=3,
            num_labels=classes,
            freeze_backbone_batch_norms=False,
        )
        return hf.RTDetrForObjectDetection(config), hf.RTDetrImageProcessor()
    if args.family == 'dfine':
        backbone = hgnet_b0(4, ['stage3', 'stage4'])
        config = hf.DFineConfig(
            backbone_config=backbone,
            freeze_backbone_batch_norms=False,
            encoder_in_channels=backbone.stage_out_channels[-2:],
            feat_strides=[16, 32],
            num_feature_levels=2,
            encode_proj_layers=[1],
            encoder_hidden_dim=128,
            encoder_ffn_dim=512,
            hidden_expansion=0.34,
            depth_mult=0.5,
            decoder_in_channels=[128, 128],
            d_model=128,
            decoder_ffn_dim=512,
            decoder_layers=3,
            decoder_n_points=[6, 6],
            num_labels=classes,
            tie_word_embeddings=False,
        )
        return hf.DFineForObjectDetection(config), hf.RTDetrImageProcessor()
    if args.family == 'deimv2':
        backbone = hgnet_b0(3, ['stage3'])
        config = hf.Deimv2Config(
            backbone_config=backbone,
            freeze_backbone_batch_norms=False,
            encoder_type='lite',
            encoder_layers=0,
            encoder_in_channels=backbone.stage_out_channels[-1:],
            feat_strides=[16],
            num_feature_levels=2,
            encoder_hidden_dim=112,
            hidden_expansion=0.34,
            depth_mult=0.5,
            decoder_in_channels=[112, 112],
            d_model=112,
            head_dim=14,
            decoder_ffn_dim=320,
            decoder_layers=3,
            decoder_n_points=[4, 2],
            num_queries=200,
            num_labels=classes,
            use_gateway=False,
            share_bbox_head=True,
            use_dense_one_to_one=False,
            tie_word_embeddings=False,
        )
        model = hf.Deimv2ForObjectDetection(config)
        model.model.enc_output = nn.Identity()  # which the authors' network does not have
        return model, hf.RTDetrImageProcessor()
    backbone = hf.RfDetrDinov2Config(
        hidden_size=384,
        num_attention_heads=6,
        image_size=args.img_size,
        patch_size=16,
        num_windows=2,
        out_features=['stage3', 'stage6', 'stage9', 'stage12'],
    )
    config = hf.RfDetrConfig(
        backbone_config=backbone, decoder_layers=2, decoder_n_points=2, dropout=0.0, num_labels=classes
    )
    return hf.RfDetrForObjectDetection(config), hf.RfDetrImageProcessor()


def hgnet_b0(stages: int, outputs: list[str]) -> Any:
    """Return transformers' config of the first stages of HGNetV2-B0, of 4, with the maps that it returns."""
    from transformers import HGNetV2Config

    widths = [64, 256, 512, 1024][:stages]
    return HGNetV2Config(
        out_features=outputs,
        use_learnable_affine_block=True,
        embedding_size=16,
        hidden_sizes=widths,
        depths=[1, 1, 2, 1][:stages],
        stem_channels=[3, 16, 16],
        stage_in_channels=[16, *widths[:-1]],
        stage_mid_channels=[16, 32, 64, 128][:stages],
        stage_out_channels=widths,
        stage_num_blocks=[1, 1, 2, 1][:stages],
        stage_downsample=[False, True, True, True][:stages],
        stage_light_block=[False, False, True, True][:stages],
        stage_kernel_size=[3, 3, 5, 5][:stages],
        stage_numb_of_layers=[3] * stages,
    )


def yolox_side(args: argparse.Namespace) -> tuple[nn.Module, Callable[[], float]]:
    """Return the same of pixeltable-yolox."""
    from yolox.config import YoloxConfig
    from yolox.utils import postprocess

    config = YoloxConfig.get_named_config(f'yolox_{FAMILIES[args.family][1]}')
    model, data = config.get_model(), synthetic_batch(args)
    nn.init.zeros_(model.head.obj_preds[-1].bias)
    if args.job == 'predict':
        model.eval()

        @torch.inference_mode()
        def predict() -> float:
            with torch.autocast('cpu', torch.bfloat16) if args.amp else nullcontext():
                output = model(data['images'].float())
            found = postprocess(output.float(), config.num_classes, 0.001, config.nmsthre)
            return float(sum(0 if table is None else len(table) for table in found))

        return model, predict
    optimizer = config.get_optimizer(args.batch_size)
    for group in optimizer.param_groups:
        group['lr'] = 0.01
    labels, bboxes = data['labels'].unsqueeze(-1), data['bboxes_cxcywh'] * args.img_size
    targets = torch.cat([labels.to(bboxes.dtype), bboxes], -1)  # (B, M, 5)

    def step() -> float:
        with torch.autocast('cpu', torch.bfloat16, enabled=args.amp):
            loss = model(data['images'].float(), targets)['total_loss']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return model, step


def rfdetr_side(args: argparse.Namespace) -> tuple[nn.Module, Callable[[], float]]:
    """Return the same of RF-DETR's authors, whose rates differ by layer, in AdamW."""
    from rfdetr._namespace import _namespace_from_configs
    from rfdetr.config import RFDETRNanoConfig, TrainConfig
    from rfdetr.models import build_criterion_from_config, build_model_from_config
    from rfdetr.training.param_groups import get_param_dict
    from rfdetr.utilities.tensors import NestedTensor

    train = TrainConfig(dataset_dir='.', output_dir='.')
    config = RFDETRNanoConfig(pretrain_weights=None, device='cpu', resolution=args.img_size)
    model = build_model_from_config(config, train)
    criterion, post_process = build_criterion_from_config(config, train)
    data, sizes = synthetic_batch(args), torch.full((args.batch_size, 2), args.img_size)
    if args.job == 'predict':
        model.eval()

        @torch.inference_mode()
        def predict() -> float:
            with torch.autocast('cpu', torch.bfloat16) if args.amp else nullcontext():
                found = post_process(model(_normalized(data)), sizes)
            return float(sum(len(table['scores']) for table in found))

        return model, predict
    groups = get_param_dict(_namespace_from_configs(config, train), model.train())
    optimizer = torch.optim.AdamW(groups, lr=train.lr, weight_decay=train.weight_decay)
    targets = [
        dict(labels=labels, boxes=bboxes) for labels, bboxes in zip(data['labels'], data['bboxes_cxcywh'], strict=True)
    ]
    padding = torch.zeros((args.batch_size, args.img_size, args.img_size), dtype=torch.bool)

    def step() -> float:
        with torch.autocast('cpu', torch.bfloat16, enabled=args.amp):
            losses = criterion(model(NestedTensor(_normalized(data), padding), targets), targets)
            weights = criterion.weight_dict
            loss = sum(losses[name] * weights[name] for name in losses if name in weights)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), train.clip_max_norm)
        optimizer.step()
        optimizer.zero_grad()
        return float(loss.detach())

    return model, step


def _normalized(data: dict[str, Tensor]) -> Tensor:
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return (data['images'].float() - mean) / std


def peer_side(args: argparse.Namespace) -> tuple[nn.Module, Callable[[], float]]:
    """Return the same of transformers, or of another peer."""
    if args.side != PEER:
        return {YOLOX_PEER: yolox_side, RFDETR_PEER: rfdetr_side}[args.side](args)
    model, processor = peer_model(args)
    data = synthetic_batch(args)

    def inputs() -> Tensor:
        return _normalized(data) if args.family == 'rfdetr' else data['images'].float() / 255

    if args.job == 'predict':
        model.eval()
        sizes = torch.full((args.batch_size, 2), args.img_size)

        @torch.inference_mode()
        def predict() -> float:
            with torch.autocast('cpu', torch.bfloat16) if args.amp else nullcontext():
                output = model(inputs())
            found = processor.post_process_object_detection(output, threshold=0.0, target_sizes=sizes)
            return float(sum(len(table['scores']) for table in found))

        return model, predict
    optimizer = torch.optim.AdamW(model.train().parameters(), lr=1e-4, weight_decay=1e-4)
    targets = [
        dict(class_labels=labels, boxes=bboxes, labels=labels)
        for labels, bboxes in zip(data['labels'], data['bboxes_cxcywh'], strict=True)
    ]
    loss_of = dfine_loss(model) if args.family == 'dfine' else lambda images: model(images, labels=targets).loss
    if args.family == 'dfine':
        criterion = loss_of

        def loss_of(images: Tensor) -> Tensor:
            return criterion(model.model(images, labels=targets), targets)

    def step() -> float:
        with torch.autocast('cpu', torch.bfloat16, enabled=args.amp):
            loss = loss_of(inputs())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()
        optimizer.zero_grad()
        return float(loss.detach())

    return model, step


def dfine_loss(model: nn.Module) -> Callable[[Any, list[dict[str, Tensor]]], Tensor]:
    """Return a function that applies the authors' criterion to the output of transformers' network."""
    from dfine.backends.native.criterion import DFINECriterion
    from dfine.backends.native.matcher import HungarianMatcher

    criterion = DFINECriterion(
        matcher=HungarianMatcher(dict(cost_class=2.0, cost_bbox=5.0, cost_giou=2.0)),
        weight_dict=dict(loss_vfl=1.0, loss_bbox=5.0, loss_giou=2.0, loss_fgl=0.15, loss_ddf=1.5),
        losses=['vfl', 'boxes', 'local'],
        alpha=0.75,
        gamma=2.0,
        num_classes=model.config.num_labels,
        reg_max=32,
    )

    def loss(output: Any, targets: list[dict[str, Tensor]]) -> Tensor:
        with torch.autocast('cpu', enabled=False):
            logits, bboxes, corners, refs, enc_logits, enc_bboxes = (
                value.float()
                for value in (
                    output.intermediate_logits,  # the first is that of the initial box
                    output.intermediate_reference_points,
                    output.intermediate_predicted_corners,
                    output.initial_reference_points,
                    output.enc_topk_logits,
                    output.enc_topk_bboxes,
                )
            )
            count, meta = corners.shape[1], output.denoising_meta_values
            first = meta['dn_num_split'][0]

            def layer(index: int, part: slice, with_teacher: bool = True) -> dict[str, Tensor]:
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
                **layer(count - 1, main, with_teacher=False),
                up=model.model.decoder.up,
                reg_scale=model.model.decoder.reg_scale,
                aux_outputs=[layer(index, main) for index in range(count - 1)],
                pre_outputs=dict(pred_logits=logits[:, 0, main], pred_boxes=bboxes[:, 0, main]),
                enc_aux_outputs=[dict(pred_logits=enc_logits, pred_boxes=enc_bboxes)],
                enc_meta=dict(class_agnostic=False),
                dn_outputs=[layer(index, dn) for index in range(count)],
                dn_pre_outputs=dict(pred_logits=logits[:, 0, dn], pred_boxes=bboxes[:, 0, dn]),
                dn_meta=meta,
            )
            return sum(criterion(outputs, targets).values())

    return loss
