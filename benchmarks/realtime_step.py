"""Training steps and predictions of the real-time transformers and YOLOX: detkit against a peer, on the same batch.

    pip install transformers pydfine pixeltable-yolox
    python benchmarks/realtime_step.py --family rtdetr --job train --amp

``--family``: RT-DETR r18 ('rtdetr'), D-FINE-N ('dfine') or RF-DETR N ('rfdetr'), each with the parameters and settings
of its paper on both sides, at 640 pixels (RF-DETR: 384). A training step is the forward pass with denoising or groups
of queries, all losses, the backward pass, clipping at .1 and AdamW. transformers has another loss of D-FINE than the
authors', so that the peer's is theirs, from pydfine. A prediction begins with the batch's bytes and ends with 300
detections of each image; detkit folds batch normalisation, as its predictor does. Both in float32, or with ``--amp`` in
bf16 autocast.

YOLOX s ('yolox') has the authors' code as its peer, pixeltable-yolox; it trains with SGD, without clipping and the L1
loss of the last epochs. A prediction ends with suppression; the coarsest cells of untrained networks, 400 an image, are
given a probability of an object that lets them take part in it.

Each side lives in its own process; the two take turns, so that a noisy machine hits both alike, and the ratio is that
of their medians. Memory is the peak of a process, and beside it the part that is added to libraries and weights.

detkit's process keeps memory that is freed, as a run and a predictor of detkit do by themselves; the peer's is left as
it is, see ``benchmarks/freed_memory.py``.
"""

from __future__ import annotations

import argparse
import importlib.util
import resource
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from arguments import image_side, output_file, positive, run, thread_count
from comparison import Comparison, report
from sides import answer, answers
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[1]
OBJECTS_PER_IMAGE = 10
PEER = 'transformers'
YOLOX_PEER = 'yolox'  # the module of pixeltable-yolox
# By family: the config, its size, the side of its images, and its number of classes.
FAMILIES = {
    'rtdetr': ('rtdetr/det_coco.py', 'r18', 640, 80),
    'dfine': ('dfine/det_coco.py', 'n', 640, 80),
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


def detkit_side(args: argparse.Namespace) -> tuple[nn.Module, Callable[[], float]]:
    """Return the model, and a function that does one training step of it or one prediction."""
    from detkit.config import load_config
    from detkit.models.coders import RelativeBBoxCoder
    from detkit.models.layers.fuse import fuse_conv_bn
    from detkit.models.layers.keyed_dropout import keyed_dropout
    from detkit.registry import DETECTORS, OPTIM_WRAPPER_CONSTRUCTORS
    from detkit.structures.data_sample import DetDataSample
    from detkit.structures.gt_batch import GtBatch
    from detkit.utils.allocator import keep_freed_memory

    keep_freed_memory()  # as a run and a predictor do
    name, size, _, _ = FAMILIES[args.family]
    options = {'size': size, 'model.data_preprocessor.multi_scale': None, 'optim_wrapper.accumulate': 1}
    cfg = load_config(ROOT / 'configs' / name, options)
    if args.family == 'rfdetr':
        cfg.model.backbone.table_size = args.img_size // 16
    model = DETECTORS.build(cfg.model)
    if args.family == 'yolox':
        nn.init.zeros_(model.head.obj_convs[-1].bias)
    data = synthetic_batch(args)
    img_shapes = torch.full((args.batch_size, 2), args.img_size)
    valid = torch.ones(data['labels'].shape, dtype=torch.bool)
    gt = GtBatch(
        labels=data['labels'],
        bboxes=RelativeBBoxCoder().decode(data['bboxes_cxcywh'], img_shapes),
        valid=valid,
        flat_index=torch.arange(valid.numel()),
        img_shapes=img_shapes,
    )
    if args.job == 'predict':
        shape = (args.img_size, args.img_size)
        meta = dict(matrix=np.eye(3), ori_shape=shape, img_shape=shape)
        samples = [DetDataSample(metainfo=meta) for _ in range(args.batch_size)]
        batch = dict(inputs=data['images'], gt=None, data_samples=samples)
        fuse_conv_bn(model.eval())

        @torch.inference_mode()
        def predict() -> float:
            with torch.autocast('cpu', torch.bfloat16) if args.amp else nullcontext():
                return float(sum(len(sample.pred_instances) for sample in model.test_step(batch)))

        return model, predict
    optim_cfg = {**cfg.optim_wrapper, 'amp': 'bf16' if args.amp else False}
    optim_wrapper = OPTIM_WRAPPER_CONSTRUCTORS.build(
        dict(
            type=optim_cfg.pop('constructor'),
            paramwise_cfg=optim_cfg.pop('paramwise_cfg', None),
            optim_wrapper_cfg=optim_cfg,
        )
    )(model.train())
    batch = dict(inputs=data['images'], gt=gt, data_samples=None)

    def step() -> float:
        with keyed_dropout(0, optim_wrapper.num_steps):  # as the training loop does, for the noise of denoising
            return float(model.train_step(batch, optim_wrapper=optim_wrapper)['loss'].detach())

    return model, step


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
        widths = [64, 256, 512, 1024]
        backbone = hf.HGNetV2Config(
            out_features=['stage3', 'stage4'],
            use_learnable_affine_block=True,
            embedding_size=16,
            hidden_sizes=widths,
            stem_channels=[3, 16, 16],
            stage_in_channels=[16, 64, 256, 512],
            stage_mid_channels=[16, 32, 64, 128],
            stage_out_channels=widths,
            stage_num_blocks=[1, 1, 2, 1],
            stage_numb_of_layers=[3, 3, 3, 3],
        )
        config = hf.DFineConfig(
            backbone_config=backbone,
            freeze_backbone_batch_norms=False,
            encoder_in_channels=widths[-2:],
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


def peer_side(args: argparse.Namespace) -> tuple[nn.Module, Callable[[], float]]:
    """Return the same of transformers."""
    if args.family == 'yolox':
        return yolox_side(args)
    model, processor = peer_model(args)
    data = synthetic_batch(args)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))

    def inputs() -> Tensor:
        images = data['images'].float()
        return (images - mean) / std if args.family == 'rfdetr' else images / 255

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


def check_sizes(parameters: dict[str, int]) -> None:
    """End the script if the sides have other networks; D-FINE of transformers has two heads more than it runs.

    Args:
        parameters: of each side.
    """
    if max(parameters.values()) > 1.1 * min(parameters.values()):
        counts = ', '.join(f'{side} {count:,}' for side, count in parameters.items())
        raise SystemExit(f'the sides have other networks, whose ratio says nothing: parameters {counts}')


def peak_memory() -> float:
    """Return the peak memory of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def serve_turns(
    args: argparse.Namespace, build: Callable[[argparse.Namespace], tuple[nn.Module, Callable[[], float]]]
) -> None:
    """Work in turns, with the seconds, the peak memory, its part that work added, the loss, and the parameters."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    model, work = build(args)
    parameters, before = sum(param.numel() for param in model.parameters()), peak_memory()

    def timed() -> tuple[float, ...]:
        start = time.perf_counter()
        result = work()
        seconds, peak = time.perf_counter() - start, peak_memory()
        return seconds, peak, peak - before, result, parameters

    answer(timed)


def main(argv: Sequence[str] | None = None) -> list[Comparison]:
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--family', choices=list(FAMILIES), default='rtdetr')
    parser.add_argument('--job', choices=['train', 'predict'], default='train')
    parser.add_argument('--batch-size', type=positive, default=2)
    parser.add_argument('--img-size', type=image_side, help="pixels; the family's by default")
    parser.add_argument('--threads', type=thread_count, default=2)
    parser.add_argument('--rounds', type=positive, default=5, help='counted rounds, after one that is not')
    parser.add_argument('--amp', action='store_true', help='bf16 autocast on both sides')
    parser.add_argument('--side', choices=['detkit', PEER, YOLOX_PEER], help=argparse.SUPPRESS)
    parser.add_argument('--json', type=output_file, help='also write the results there')
    args = parser.parse_args(argv)
    _, size, img_size, _ = FAMILIES[args.family]
    args.img_size = args.img_size or img_size
    if args.side:
        serve_turns(args, detkit_side if args.side == 'detkit' else peer_side)
        return []
    peer = YOLOX_PEER if args.family == 'yolox' else PEER
    peer = peer if importlib.util.find_spec(peer) else ''
    found = answers(__file__, argv, args.rounds, peer=peer)
    check_sizes({side: int(own[0][-1]) for side, own in found.items()})
    name = dict(rtdetr='RT-DETR', dfine='D-FINE', rfdetr='RF-DETR', yolox='YOLOX')[args.family]
    kind = 'bf16' if args.amp else 'float32'
    title = f'{name} {size}, batch {args.batch_size}, {args.img_size} px, {kind}'
    job = 'training step' if args.job == 'train' else 'prediction'
    comparisons = []
    for column, (what, unit) in enumerate(
        ((job, 's'), (f'peak memory, {job}', 'MiB'), (f'added memory, {job}', 'MiB'))
    ):
        samples = {side: [each[column] for each in own] for side, own in found.items()}
        comparisons.append(Comparison(f'{what}, {title}', unit, samples['detkit'], peer, samples.get(peer, [])))
    report(comparisons, args.json)
    return comparisons


if __name__ == '__main__':
    run(main)
