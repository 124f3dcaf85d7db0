"""Training steps and predictions of the real-time transformers and YOLOX: detkit against a peer, on the same batch.

    pip install transformers pydfine pixeltable-yolox
    python benchmarks/realtime_step.py --family rtdetr --job train --amp

``--family``: RT-DETR r18 ('rtdetr'), D-FINE-N ('dfine'), DEIMv2 Pico ('deimv2') or RF-DETR N ('rfdetr'), each with the
parameters and settings of its paper on both sides, at 640 pixels (RF-DETR: 384). A training step is the forward pass
with denoising or groups of queries, all losses, the backward pass, clipping at .1 and AdamW. transformers has another
loss of D-FINE than the authors', so that the peer's is theirs, from pydfine. A prediction begins with the batch's bytes
and ends with 300 detections of each image; detkit folds batch normalisation, as its predictor does. Both in float32, or
with ``--amp`` in bf16 autocast.

YOLOX s ('yolox') has the authors' code as its peer, pixeltable-yolox; it trains with SGD, without clipping and the L1
loss of the last epochs. A prediction ends with suppression; the coarsest cells of untrained networks, 400 an image, are
given a probability of an object that lets them take part in it.

RF-DETR has its authors' package as a peer, too: ``--peer rfdetr``.

``--runtime openvino`` (or onnx) lets detkit predict with an exported file, which is compared with PyTorch first.
OpenVINO's takes ``--amp``.

Each side lives in its own process; the two take turns, so that a noisy machine hits both alike, and the ratio is that
of their medians. Memory is the peak of a process, and beside it the part that is added to libraries and weights.

detkit's process keeps memory that is freed, as a run and a predictor of detkit do by themselves; the peer's is left as
it is, see ``benchmarks/freed_memory.py``.
"""

from __future__ import annotations

import argparse
import importlib.util
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import torch
from arguments import image_side, output_file, positive, run, thread_count
from comparison import Comparison, report
from realtime_peers import FAMILIES, PEER, RFDETR_PEER, YOLOX_PEER, peer_side, synthetic_batch
from sides import answer, answers
from torch import nn

if TYPE_CHECKING:
    from mmengine.config import Config

ROOT = Path(__file__).resolve().parents[1]
SUFFIXES = {'onnx': '.onnx', 'openvino': '.xml'}  # of exported files, by runtime


def detkit_side(args: argparse.Namespace) -> tuple[nn.Module, Callable[[], float]]:
    """Return the model, and a function that does one training step of it or one prediction."""
    from detkit.export import open_exported
    from detkit.models.coders import RelativeBBoxCoder
    from detkit.models.layers.fuse import fuse_conv_bn
    from detkit.models.layers.keyed_dropout import keyed_dropout
    from detkit.registry import DETECTORS, OPTIM_WRAPPER_CONSTRUCTORS
    from detkit.structures.data_sample import DetDataSample
    from detkit.structures.gt_batch import GtBatch
    from detkit.utils.allocator import keep_freed_memory
    from detkit.utils.without_memory import without_memory

    keep_freed_memory()  # as a run and a predictor do
    cfg = model_config(args)
    if args.exported is None:
        model = DETECTORS.build(cfg.model)
        if args.family == 'yolox':
            nn.init.zeros_(model.head.obj_convs[-1].bias)
    else:
        with without_memory():  # to count its parameters
            model = DETECTORS.build(cfg.model)
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
        with precision(args):  # in which a runtime's network is compiled
            opened = args.exported and open_exported(args.exported, threads=args.threads)
        predictor = opened or fuse_conv_bn(model.eval())

        @torch.inference_mode()
        def predict() -> float:
            with precision(args):
                return float(sum(len(sample.pred_instances) for sample in predictor.test_step(batch)))

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


def precision(args: argparse.Namespace) -> AbstractContextManager:
    """Return the context of a prediction."""
    return torch.autocast('cpu', torch.bfloat16) if args.amp else nullcontext()


def model_config(args: argparse.Namespace) -> Config:
    """Return detkit's config."""
    from detkit.config import load_config
    from detkit.inference.model import PREDICTION_KEYS

    name, size, _, _ = FAMILIES[args.family]
    options = {'size': size, 'optim_wrapper.accumulate': 1}
    checked = PREDICTION_KEYS if args.job == 'predict' else None  # as a predictor loads it
    cfg = load_config(ROOT / 'configs' / name, options, checked=checked)
    cfg.model.data_preprocessor.multi_scale = None
    if args.family == 'rfdetr':
        cfg.model.backbone.table_size = args.img_size // 16
    return cfg


def export(args: argparse.Namespace) -> None:
    """Export detkit's model, and compare it with PyTorch."""
    from detkit.export import ExportSettings, export_detector
    from detkit.models.detectors import ModelInfo
    from detkit.registry import DETECTORS

    cfg = model_config(args)
    torch.manual_seed(0)
    model = DETECTORS.build(cfg.model)
    if args.family == 'yolox':
        nn.init.zeros_(model.head.obj_convs[-1].bias)
    model.info = ModelInfo(cfg.to_dict(), tuple(f'class {label}' for label in range(FAMILIES[args.family][3])))
    settings = ExportSettings(format=args.runtime, batch_size=args.batch_size, img_size=args.img_size)
    export_detector(model, args.exported, settings)


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
    parser.add_argument('--runtime', choices=['torch', *SUFFIXES], default='torch', help="of detkit's predictions")
    parser.add_argument('--peer', choices=[PEER, RFDETR_PEER], help="of RF-DETR: transformers, or its authors' package")
    parser.add_argument('--exported', type=Path, help=argparse.SUPPRESS)  # detkit's file for its runtime
    parser.add_argument('--side', choices=['detkit', PEER, YOLOX_PEER, RFDETR_PEER, 'export'], help=argparse.SUPPRESS)
    parser.add_argument('--json', type=output_file, help='also write the results there')
    args = parser.parse_args(argv)
    _, size, img_size, _ = FAMILIES[args.family]
    args.img_size = args.img_size or img_size
    if args.runtime != 'torch' and args.job != 'predict':
        parser.error(f'--runtime {args.runtime} predicts: it goes with --job predict')
    if args.runtime == 'onnx' and args.amp:
        parser.error('--runtime onnx computes in float32: leave out --amp, or take openvino')
    if args.peer == RFDETR_PEER and args.family != 'rfdetr':
        parser.error(f'--peer {RFDETR_PEER} goes with --family rfdetr')
    if args.side == 'export':
        export(args)
        return []
    if args.side:
        serve_turns(args, detkit_side if args.side == 'detkit' else peer_side)
        return []
    peer = YOLOX_PEER if args.family == 'yolox' else args.peer or PEER
    peer = peer if importlib.util.find_spec(peer) else ''
    with TemporaryDirectory() as folder:
        if args.runtime != 'torch':  # in a process of its own, as others inherit the peak of the one that starts them
            argv += ['--exported', str(Path(folder) / f'model{SUFFIXES[args.runtime]}')]
            subprocess.run([sys.executable, __file__, *argv, '--side', 'export'], check=True)
        found = answers(__file__, argv, args.rounds, peer=peer)
    check_sizes({side: int(own[0][-1]) for side, own in found.items()})
    name = dict(rtdetr='RT-DETR', dfine='D-FINE', deimv2='DEIMv2', rfdetr='RF-DETR', yolox='YOLOX')[args.family]
    kind = ('bf16' if args.amp else 'float32') + ('' if args.runtime == 'torch' else f', {args.runtime}')
    title = f'{name} {size}, batch {args.batch_size}, {args.img_size} px, {kind}'
    job = 'training step' if args.job == 'train' else 'prediction'
    columns = [(job, 's'), (f'peak memory, {job}', 'MiB'), (f'added memory, {job}', 'MiB')]
    comparisons = []
    for column, (what, unit) in enumerate(columns):
        samples = {side: [each[column] for each in own] for side, own in found.items()}
        comparisons.append(Comparison(f'{what}, {title}', unit, samples['detkit'], peer, samples.get(peer, [])))
    report(comparisons, args.json)
    return comparisons


if __name__ == '__main__':
    run(main)
