"""Training steps and predictions of torchvision's detectors: detkit against torchvision, with the same weights.

    python benchmarks/torchvision_step.py --model faster_rcnn --job train --amp

``--model``: Faster, Mask or Keypoint R-CNN, RetinaNet or FCOS on ResNet-50, with torchvision's settings on both sides.
A training step is the normalisation of the images, the forward pass, all losses, the backward pass and SGD, the first
stage of the backbone and its normalisation frozen as in torchvision's recipe. A prediction begins with the batch's
bytes and ends with the detections of each image, masks at its size; detkit folds normalisation, as its predictor does.
The images are of the size of the input, so that neither side resizes. Both in float32, or with ``--amp`` in bf16
autocast.

Each side lives in its own process; the two take turns, so that a noisy machine hits both alike, and the ratio is that
of their medians. Memory is the peak of a process, and beside it the part that is added to libraries and weights.

detkit's process keeps memory that is freed, as a run and a predictor of detkit do by themselves; torchvision's is left
as it is, unless ``--peer-keeps-memory`` gives it the same setting, see ``benchmarks/freed_memory.py``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from arguments import output_file, positive, run, thread_count
from comparison import Comparison, report
from realtime_step import serve_turns
from sides import answers
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[1]
OBJECTS_PER_IMAGE = 8
PEER = 'torchvision'
# By model: the config, torchvision's function, the table of names, and the labels besides background.
MODELS = {
    'faster_rcnn': ('faster_rcnn/det_coco.py', 'fasterrcnn_resnet50_fpn', 'rcnn', 80),
    'mask_rcnn': ('mask_rcnn/seg_coco.py', 'maskrcnn_resnet50_fpn', 'rcnn', 80),
    'keypoint_rcnn': ('keypoint_rcnn/pose_coco.py', 'keypointrcnn_resnet50_fpn', 'rcnn', 1),
    'retinanet': ('retinanet/det_coco.py', 'retinanet_resnet50_fpn', 'retinanet', 80),
    'fcos': ('fcos/det_coco.py', 'fcos_resnet50_fpn', 'fcos', 80),
}
LEARNING_RATE = 1e-3


def synthetic_batch(args: argparse.Namespace) -> dict[str, Tensor]:
    """Return random pixels and objects: images, boxes in pixels, labels, masks and keypoints."""
    rng = np.random.default_rng(0)
    side, shape = args.img_size, (args.batch_size, OBJECTS_PER_IMAGE)
    images = rng.integers(0, 256, (args.batch_size, 3, side, side), dtype=np.uint8)
    centres, sides = rng.uniform(0.25, 0.75, (*shape, 2)), rng.uniform(0.1, 0.5, (*shape, 2))
    bboxes = (np.concatenate([centres - sides / 2, centres + sides / 2], -1) * side).astype(np.float32)
    masks = np.zeros((*shape, side, side), bool)
    for index in np.ndindex(shape):
        x0, y0, x1, y1 = bboxes[index].astype(int)
        masks[index][y0 + 3 : y1 - 3, x0 + 3 : x1 - 3] = True
    places = rng.uniform(0.1, 0.9, (*shape, 17, 2)) * (bboxes[..., None, 2:] - bboxes[..., None, :2])
    keypoints = np.concatenate([bboxes[..., None, :2] + places, np.full((*shape, 17, 1), 2.0)], -1)
    parts = dict(
        images=images,
        bboxes=bboxes,
        labels=rng.integers(0, MODELS[args.model][3], shape),
        masks=masks,
        keypoints=keypoints.astype(np.float32),
    )
    return {name: torch.from_numpy(value) for name, value in parts.items()}


def torchvision_model(args: argparse.Namespace) -> nn.Module:
    """Return torchvision's model as its recipe trains it, without weights that are worth anything."""
    from torchvision.models import detection
    from torchvision.ops import FrozenBatchNorm2d

    _, builder, _, labels = MODELS[args.model]
    two_stage = args.model.endswith('_rcnn')
    sizes = dict(min_size=args.img_size, max_size=args.img_size, num_classes=labels + two_stage)
    model = getattr(detection, builder)(weights=None, weights_backbone=None, **sizes)
    for module in [*model.modules()]:
        for name, child in [*module.named_children()]:
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, FrozenBatchNorm2d(child.num_features))
    body = model.backbone.body
    for module in (body.conv1, body.layer1):
        module.requires_grad_(False)
    return model


def write_weights(args: argparse.Namespace, path: Path) -> None:
    """Write random weights with which a network detects some objects, under torchvision's names."""
    torch.manual_seed(0)
    model = torchvision_model(args)
    with torch.no_grad():
        for name, module in model.named_modules():
            if name.endswith('bn3'):
                module.weight.fill_(0.2)  # residuals do not add up to infinity
        if args.model.endswith('_rcnn'):
            predictor = model.roi_heads.box_predictor.cls_score
            nn.init.normal_(predictor.weight, std=0.5)
            predictor.bias[0] = 2.0
        else:
            layer = model.head.classification_head.cls_logits
            nn.init.normal_(layer.weight, std=3.0 if args.model == 'retinanet' else 0.03)  # behind small maps
    torch.save(model.state_dict(), path)


def detkit_side(args: argparse.Namespace) -> tuple[nn.Module, Callable[[], float]]:
    """Return the model, and a function that does one training step of it or one prediction."""
    from detkit.config import load_config
    from detkit.converters.torchvision_keys import TORCHVISION_KEYS
    from detkit.inference.model import PREDICTION_KEYS
    from detkit.models.layers.fuse import fuse_conv_bn
    from detkit.models.layers.keyed_dropout import keyed_dropout
    from detkit.registry import DETECTORS, OPTIM_WRAPPER_CONSTRUCTORS
    from detkit.structures.data_sample import DetDataSample
    from detkit.structures.gt_batch import GtBatch
    from detkit.utils.allocator import keep_freed_memory

    keep_freed_memory()  # as a run and a predictor do
    name, _, table, _ = MODELS[args.model]
    checked = PREDICTION_KEYS if args.job == 'predict' else None  # as a prediction and a training do
    cfg = load_config(ROOT / 'configs' / name, {'pretrained': None, 'base_lr': LEARNING_RATE}, checked=checked)
    model = DETECTORS.build(cfg.model)
    state = torch.load(args.weights, weights_only=True, mmap=True)
    model.load_state_dict(TORCHVISION_KEYS[table].convert(state))
    del state
    data = synthetic_batch(args)
    if args.job == 'predict':
        shape = (args.img_size, args.img_size)
        meta = dict(matrix=np.eye(3), ori_shape=shape, img_shape=shape)
        samples = [DetDataSample(metainfo=meta) for _ in range(args.batch_size)]
        batch = dict(inputs=data['images'], gt=None, data_samples=samples)
        fuse_conv_bn(model.eval())

        @torch.inference_mode()
        def predict() -> float:
            with torch.autocast('cpu', torch.bfloat16) if args.amp else nullcontext():
                found = model.test_step(batch)
            for sample in found:
                if 'masks' in sample.pred_instances:
                    sample.pred_instances.masks.to_bool()
            return float(sum(len(sample.pred_instances) for sample in found))

        return model, predict
    valid = torch.ones(data['labels'].shape, dtype=torch.bool)
    extras = dict(mask_rcnn='masks', keypoint_rcnn='keypoints')
    gt = GtBatch(
        labels=data['labels'],
        bboxes=data['bboxes'],
        valid=valid,
        flat_index=torch.arange(valid.numel()),
        img_shapes=torch.full((args.batch_size, 2), args.img_size),
        **{key: data[key] for model_name, key in extras.items() if model_name == args.model},
    )
    optim_cfg = {**cfg.optim_wrapper, 'amp': 'bf16' if args.amp else False}
    optim_wrapper = OPTIM_WRAPPER_CONSTRUCTORS.build(
        dict(
            type=optim_cfg.pop('constructor'), paramwise_cfg=optim_cfg.pop('paramwise_cfg'), optim_wrapper_cfg=optim_cfg
        )
    )(model.train())
    batch = dict(inputs=data['images'], gt=gt, data_samples=None)

    def step() -> float:
        with keyed_dropout(0, optim_wrapper.num_steps):  # as the training loop does, for the samplers
            return float(model.train_step(batch, optim_wrapper=optim_wrapper)['loss'].detach())

    return model, step


def peer_side(args: argparse.Namespace) -> tuple[nn.Module, Callable[[], float]]:
    """Return the same of torchvision."""
    if args.peer_keeps_memory:
        from detkit.utils.allocator import keep_freed_memory

        keep_freed_memory()
    model = torchvision_model(args)
    model.load_state_dict(torch.load(args.weights, weights_only=True, mmap=True))
    data = synthetic_batch(args)

    def inputs() -> list[Tensor]:
        return [image.float() / 255 for image in data['images']]

    if args.job == 'predict':
        model.eval()

        @torch.inference_mode()
        def predict() -> float:
            with torch.autocast('cpu', torch.bfloat16) if args.amp else nullcontext():
                found = model(inputs())
            for image in found:
                if 'masks' in image:
                    (image['masks'] > 0.5).numpy()
            return float(sum(len(image['scores']) for image in found))

        return model, predict
    optimizer = torch.optim.SGD(model.train().parameters(), LEARNING_RATE, momentum=0.9, weight_decay=1e-4)
    first = int(args.model.endswith('_rcnn'))
    targets = [
        dict(
            boxes=data['bboxes'][image],
            labels=data['labels'][image] + first,
            masks=data['masks'][image].to(torch.uint8),
            keypoints=data['keypoints'][image],
        )
        for image in range(args.batch_size)
    ]
    if args.model != 'mask_rcnn':
        targets = [{key: value for key, value in target.items() if key != 'masks'} for target in targets]
    if args.model != 'keypoint_rcnn':
        targets = [{key: value for key, value in target.items() if key != 'keypoints'} for target in targets]

    def step() -> float:
        with torch.autocast('cpu', torch.bfloat16, enabled=args.amp):
            loss = sum(model(inputs(), [dict(target) for target in targets]).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return model, step


def check_objects(counts: dict[str, float]) -> None:
    """End the script if a side detects nothing, or another number of objects than the other.

    Args:
        counts: of each side, in a batch.
    """
    if not min(counts.values()) or max(counts.values()) > 1.05 * min(counts.values()):
        shown = ', '.join(f'{side} {count:.0f}' for side, count in counts.items())
        raise SystemExit(f'the sides detect other objects, or none, so that the ratio says nothing: {shown}')


def main(argv: Sequence[str] | None = None) -> list[Comparison]:
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--model', choices=list(MODELS), default='faster_rcnn')
    parser.add_argument('--job', choices=['train', 'predict'], default='train')
    parser.add_argument('--batch-size', type=positive, default=2)
    parser.add_argument('--img-size', type=positive, default=416, help='pixels')
    parser.add_argument('--threads', type=thread_count, default=2)
    parser.add_argument('--rounds', type=positive, default=5, help='counted rounds, after one that is not')
    parser.add_argument('--amp', action='store_true', help='bf16 autocast on both sides')
    parser.add_argument('--peer-keeps-memory', action='store_true', help='torchvision keeps freed memory too')
    parser.add_argument('--weights', type=Path, help=argparse.SUPPRESS)
    parser.add_argument('--side', choices=['detkit', PEER], help=argparse.SUPPRESS)
    parser.add_argument('--json', type=output_file, help='also write the results there')
    args = parser.parse_args(argv)
    if args.side:
        serve_turns(args, detkit_side if args.side == 'detkit' else peer_side)
        return []
    with tempfile.TemporaryDirectory() as folder:
        path = args.weights or Path(folder) / 'weights.pth'
        write_weights(args, path)
        found = answers(__file__, [*argv, '--weights', str(path)], args.rounds, peer=PEER)
    kind = 'bf16' if args.amp else 'float32'
    title = f'{args.model} r50, batch {args.batch_size}, {args.img_size} px, {kind}'
    if args.peer_keeps_memory:
        title += ', freed memory kept on both sides'
    job = 'training step' if args.job == 'train' else 'prediction'
    if args.job == 'predict':
        check_objects({side: own[-1][3] for side, own in found.items()})
        title += f', {found["detkit"][-1][3]:.0f} objects'
    comparisons = []
    for column, (what, unit) in enumerate(
        ((job, 's'), (f'peak memory, {job}', 'MiB'), (f'added memory, {job}', 'MiB'))
    ):
        samples = {side: [each[column] for each in own] for side, own in found.items()}
        comparisons.append(Comparison(f'{what}, {title}', unit, samples['detkit'], PEER, samples.get(PEER, [])))
    report(comparisons, args.json)
    return comparisons


if __name__ == '__main__':
    run(main)
