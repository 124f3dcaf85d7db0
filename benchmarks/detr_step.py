"""Peak memory and seconds of a DETR training step: detkit against Hugging Face's transformers, on the same batch.

    pip install transformers timm
    python benchmarks/detr_step.py --threads 2

The batch is what COCO gives: two images of 800×1333 pixels (``--shapes``), padded to the larger, ten objects each. Both
sides have the model of the paper (41.3 million trainable parameters, 91 classes, dropout of .1 in attentions, in
feed-forward layers and behind each), train with auxiliary losses, clip at .1 and step AdamW, in float32 (``--amp``:
both in bf16 autocast). Each runs in a process of its own, one after the other, so that their peaks do not mix. A CPU's
peak is that of the process's resident memory; beside it stands the part that the steps added to what the imported
libraries and the weights take. A GPU's is what PyTorch allocated.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from arguments import device, output_file, positive, run, thread_count
from comparison import Comparison, report
from sides import output_of

ROOT = Path(__file__).resolve().parents[1]
NUM_CLASSES = 91
OBJECTS_PER_IMAGE = 10
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def synthetic_batch(shapes: list[tuple[int, int]]) -> dict[str, torch.Tensor]:
    """Return random pixels: images ``(B, 3, H, W)`` uint8, boxes cxcywh relative to each image, labels."""
    rng = np.random.default_rng(0)
    size = max(h for h, _ in shapes), max(w for _, w in shapes)
    images = rng.integers(0, 256, (len(shapes), 3, *size), dtype=np.uint8)
    for image, (height, width) in zip(images, shapes, strict=True):
        image[:, height:] = image[:, :, width:] = 114
    centres = rng.uniform(0.2, 0.8, (len(shapes), OBJECTS_PER_IMAGE, 2))
    sides = rng.uniform(0.04, 0.36, (len(shapes), OBJECTS_PER_IMAGE, 2))
    labels = rng.integers(0, NUM_CLASSES, (len(shapes), OBJECTS_PER_IMAGE))
    bboxes_cxcywh = np.concatenate([centres, sides], -1).astype(np.float32)
    return dict(
        images=torch.from_numpy(images), bboxes_cxcywh=torch.from_numpy(bboxes_cxcywh), labels=torch.from_numpy(labels)
    )


def transformers_step(args: argparse.Namespace) -> tuple[torch.nn.Module, Callable[[], float]]:
    """Return the model, and a function that does one training step of it."""
    from transformers import DetrConfig, DetrForObjectDetection

    config = DetrConfig(
        use_timm_backbone=True,
        backbone='resnet50',
        use_pretrained_backbone=False,
        num_labels=NUM_CLASSES,
        auxiliary_loss=True,
        attention_dropout=0.1,
        activation_dropout=0.1,
    )
    model = DetrForObjectDetection(config).to(args.device).train()
    for name, param in model.named_parameters():  # as published, whatever the version does by itself
        if 'backbone' in name and not any(f'layer{stage}.' in name for stage in (2, 3, 4)):
            param.requires_grad_(False)
    params = [param for param in model.parameters() if param.requires_grad]
    optimizer = torch.optim.AdamW(params, lr=1e-4, weight_decay=1e-4)
    data = synthetic_batch(args.shapes)
    targets = [
        dict(class_labels=labels.to(args.device), boxes=bboxes.to(args.device))
        for labels, bboxes in zip(data['labels'], data['bboxes_cxcywh'], strict=True)
    ]
    mask = torch.zeros(data['images'][:, 0].shape, dtype=torch.long)
    for own, (height, width) in zip(mask, args.shapes, strict=True):
        own[:height, :width] = 1
    mean, std = (torch.tensor(values, device=args.device).view(3, 1, 1) for values in (MEAN, STD))

    def step() -> float:
        own = mask.to(args.device)
        images = (data['images'].to(args.device).float() - mean) / std * own[:, None]
        with torch.autocast(args.device, torch.bfloat16, enabled=args.amp):
            loss = model(images, pixel_mask=own, labels=targets).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 0.1)
        optimizer.step()
        optimizer.zero_grad()
        return float(loss.detach())

    return model, step


def detkit_step(args: argparse.Namespace) -> tuple[torch.nn.Module, Callable[[], float]]:
    """Return the same of detkit: the model and the optimiser that the config describes."""
    from detkit.config import load_config
    from detkit.models.coders import RelativeBBoxCoder
    from detkit.models.layers.keyed_dropout import keyed_dropout
    from detkit.registry import DETECTORS, OPTIM_WRAPPER_CONSTRUCTORS
    from detkit.structures.gt_batch import GtBatch

    cfg = load_config(ROOT / 'configs/detr/det_coco.py', dict(pretrained=None))
    model = DETECTORS.build(cfg.model).to(args.device).train()
    optim_cfg = {**cfg.optim_wrapper, 'amp': 'bf16' if args.amp else False}
    optim_wrapper = OPTIM_WRAPPER_CONSTRUCTORS.build(
        dict(
            type=optim_cfg.pop('constructor'), paramwise_cfg=optim_cfg.pop('paramwise_cfg'), optim_wrapper_cfg=optim_cfg
        )
    )(model)
    data = synthetic_batch(args.shapes)
    img_shapes = torch.tensor(args.shapes)
    valid = torch.ones(data['labels'].shape, dtype=torch.bool)
    gt = GtBatch(
        labels=data['labels'],
        bboxes=RelativeBBoxCoder().decode(data['bboxes_cxcywh'], img_shapes),
        valid=valid,
        flat_index=torch.arange(valid.numel()),
        img_shapes=img_shapes,
    )
    batch = dict(inputs=data['images'], gt=gt, data_samples=None)

    def step() -> float:
        with keyed_dropout(0, optim_wrapper.num_steps):  # as the training loop does
            return float(model.train_step(batch, optim_wrapper=optim_wrapper)['loss'].detach())

    return model, step


def measure(args: argparse.Namespace) -> dict[str, float]:
    """Return peak memory (MiB), the part that the steps added, and the median seconds of a step, of a child process."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    model, step = {'detkit': detkit_step, 'transformers': transformers_step}[args.side](args)
    before = memory(args.device)
    seconds, losses = [], []
    for _ in range(args.steps + 1):
        start = time.perf_counter()
        losses.append(step())
        seconds.append(time.perf_counter() - start)
    peak = memory(args.device)
    trained = sum(param.numel() for param in model.parameters() if param.requires_grad)
    return dict(peak=peak, added=peak - before, seconds=statistics.median(seconds[1:]), trained=trained, loss=losses[0])


def memory(device: str) -> float:
    """Return the peak memory of this process so far, in MiB."""
    if device == 'cuda':
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == 'darwin' else 2**10)


def image_shapes(text: str) -> list[tuple[int, int]]:
    """Read height × width of each image: '800x1333,800x1066'."""
    shapes = [tuple(positive(side) for side in shape.split('x')) for shape in text.split(',')]
    if any(len(shape) != 2 for shape in shapes):
        raise argparse.ArgumentTypeError(f'must be height x width of each image, such as 800x1333,800x1066, not {text}')
    return shapes


def run_side(side: str, argv: Sequence[str]) -> dict[str, float]:
    """Return what ``measure`` finds in a process of its own."""
    command = [sys.executable, __file__, *argv, '--side', side]
    return output_of(command)


def main(argv: Sequence[str] | None = None) -> list[Comparison]:
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--shapes', type=image_shapes, default='800x1333,800x1333', help='height x width of each image')
    parser.add_argument('--threads', type=thread_count, default=2)
    parser.add_argument('--steps', type=positive, default=2, help='counted steps, after one that is not')
    parser.add_argument('--device', type=device, choices=['cpu', 'cuda'], default='cpu')
    parser.add_argument('--amp', action='store_true', help='bf16 autocast on both sides')
    parser.add_argument('--side', choices=['detkit', 'transformers'], help=argparse.SUPPRESS)
    parser.add_argument('--json', type=output_file, help='also write the results there')
    args = parser.parse_args(argv)
    if args.side:
        print(json.dumps(measure(args)))
        return []
    peer = 'transformers' if importlib.util.find_spec('transformers') else ''
    own, theirs = run_side('detkit', argv), run_side(peer, argv) if peer else {}
    title = f'DETR, {len(args.shapes)} images, {"bf16" if args.amp else "float32"}'
    comparisons = [
        Comparison(f'{what}, {title}', unit, [own[key]], peer, [theirs[key]] if peer else [])
        for what, unit, key in (
            ('training step', 's', 'seconds'),
            ('peak memory', 'MiB', 'peak'),
            ('memory that the steps add', 'MiB', 'added'),
        )
    ]
    report(comparisons, args.json)
    return comparisons


if __name__ == '__main__':
    run(main)
