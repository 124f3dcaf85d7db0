"""A training step on a GPU never makes the host wait for the device: shown without one, on tensors without data.

``FakeTensorMode`` knows shapes, types and devices alone. What needs a value of the device, or a shape that depends on
values, has no answer there and raises an error, and it is what makes the host wait.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from coverings import slow_unless
from small_models import take_blocks_once
from tiny_configs import load_tiny
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from detkit.datasets import build_dataloader
from detkit.datasets.batch_renderer import BatchRenderer, ImageStore
from detkit.datasets.wrappers import leaf_datasets
from detkit.engine.hooks.ema_hook import ModelEMA
from detkit.engine.optim_wrapper import AccumulatingOptimWrapper
from detkit.models.assigners import HungarianAssigner
from detkit.models.heads import anchor_slots
from detkit.models.layers import upsampling
from detkit.models.losses import masks
from detkit.registry import DATA_PREPROCESSORS, DETECTORS
from detkit.structures.gt_batch import GtBatch
from detkit.structures.targets import AssignResult, Candidates

pytestmark = pytest.mark.no_cover

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
STEPS = [
    'fcos/det_r18_coco8.py',
    'retinanet/det_r18_coco8.py',
    'yolo11/seg_n_coco8.py',
    'yolo26/obb_n_dota8.py',
    'yolo26/pose_n_coco8.py',
    'yolo26/seg_n_coco8.py',
    'yolov10/det_n_coco8.py',
    'yolov3/det_spp_coco8.py',
    'yolov5/cls_weather.py',
    'yolov5/det_n_coco8.py',
    'yolov8/obb_n_dota8.py',
    'yolov8/pose_n_coco8.py',
    'yolo_world/det_s_coco8.py',
    'yolox/det_nano_coco8.py',
]
# Their necks are in a step of others.
WITHOUT_NECK = {'yolo26/obb_n_dota8.py', 'yolo26/pose_n_coco8.py', 'yolov8/obb_n_dota8.py', 'yolov8/pose_n_coco8.py'}
# All that they consist of is in a step of the others.
ALIKE = [
    'yolo11/cls_n_weather.py',
    'yolo11/det_n_coco8.py',
    'yolo11/obb_n_dota8.py',
    'yolo11/pose_n_coco8.py',
    'yolo26/cls_n_weather.py',
    'yolo26/det_n_coco8.py',
    'yolov8/cls_n_weather.py',
    'yolov8/det_n_coco8.py',
    'yolov8/seg_n_coco8.py',
]
FUNCTIONS = (anchor_slots._LookUp, masks._BoxMaskCrossEntropy, upsampling._Double)
COPIES = (torch.ops.aten._to_copy, torch.ops.aten.copy_)
WAITS = (DataDependentOutputException, DynamicOutputShapeException, RuntimeError)


class NoWaiting(TorchDispatchMode):
    """Refuses copies between host and device that the host waits for."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        if func.overloadpacket in COPIES:
            tensors = [leaf for leaf in tree_leaves((args, output)) if isinstance(leaf, Tensor)]
            devices = {tensor.device.type for tensor in tensors}
            named = dict(zip([each.name for each in func._schema.arguments], args, strict=False)) | (kwargs or {})
            if len(devices) > 1 and not named.get('non_blocking'):
                raise RuntimeError(f'the host waits for {func}, a copy between {" and ".join(sorted(devices))}')
        return output


class Context:
    """The context of an autograd function, here without autograd's engine, which needs the device."""

    def __init__(self, num_inputs: int) -> None:
        self.needs_input_grad = (True,) * num_inputs

    def save_for_backward(self, *tensors: Tensor) -> None:
        self.saved_tensors = tensors

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Nothing asks for it here."""


@contextmanager
def on_fake_gpu() -> Iterator[FakeTensorMode]:
    with FakeTensorMode(allow_non_fake_inputs=True) as mode, NoWaiting():
        yield mode


def to_fake(module: nn.Module) -> None:
    """Put all tensors of a module on a GPU that is not there; inside ``on_fake_gpu``."""
    for part in module.modules():
        for tensors in (part._parameters, part._buffers):
            for name, tensor in tensors.items():
                if tensor is not None:
                    fake = torch.empty(tensor.shape, dtype=tensor.dtype, device='cuda')
                    tensors[name] = (
                        nn.Parameter(fake, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else fake
                    )


@pytest.mark.default_cases(2)
@pytest.mark.parametrize('name', [*STEPS, *[pytest.param(name, marks=pytest.mark.slow) for name in ALIKE]])
def test_a_step_never_waits_for_the_device(name, tiny_data, monkeypatch):
    options = dict(data_root=str(tiny_data), img_size=64, num_workers=0, batch_size=2)
    cfg = load_tiny(CONFIGS / name, options | (dict(size='tiny') if 'yolov3' in name else {}))
    if name in WITHOUT_NECK:
        cfg.model.neck = None
    take_blocks_once(cfg.model)
    model = DETECTORS.build(cfg.model).train()
    batch = next(iter(build_dataloader(cfg.train_dataloader, seed=0)))
    calls: list[tuple[type, tuple, Any]] = []
    for function in FUNCTIONS:
        monkeypatch.setattr(function, 'apply', recorded(function, calls))
    with on_fake_gpu():
        to_fake(model)
        losses = model(**model.data_preprocessor(batch, True), mode='loss')
        loss, values = model.parse_losses(losses)
        assert {each.device.type for each in (loss, *values.values())} == {'cuda'}
        for function, args, output in calls:
            context = Context(len(args))
            function.forward(context, *args)
            outputs = output if isinstance(output, tuple) else (output,)
            function.backward(context, *(torch.empty_like(each) for each in outputs))
    assert ('seg' in name) <= any(function is masks._BoxMaskCrossEntropy for function, *_ in calls)


def test_neither_does_the_step_of_the_optimiser(tiny_data):
    """It and the average of the weights take parameters of any model."""
    options = dict(data_root=str(tiny_data), num_workers=0, widen_factor=0.0625)
    model = DETECTORS.build(load_tiny(CONFIGS / 'yolov8/det_n_coco8.py', options).model).train()
    with on_fake_gpu():
        to_fake(model)
        wrapper = AccumulatingOptimWrapper(torch.optim.AdamW(model.parameters(), fused=True), amp='bf16')
        ema = ModelEMA(model)
        for param in model.parameters():
            param.grad = torch.empty_like(param)
        wrapper.finish_batch()
        ema.update()
    assert wrapper.num_steps == 1 and wrapper.grad_norm.device.type == 'cuda'


def test_neither_does_a_batch_that_is_resized(tiny_data):
    options = dict(data_root=str(tiny_data), img_size=64, num_workers=0, batch_size=2)
    cfg = load_tiny(CONFIGS / 'yolov8/seg_n_coco8.py', options)
    batch = next(iter(build_dataloader(cfg.train_dataloader, seed=0)))
    preprocessor = DATA_PREPROCESSORS.build(dict(type='DetDataPreprocessor', multi_scale=(0.5, 0.5)))
    with on_fake_gpu():
        to_fake(preprocessor)
        assert preprocessor(batch, True)['inputs'].shape == (2, 3, 32, 32)


def test_neither_does_drawing_a_batch(tiny_data):
    options = dict(data_root=str(tiny_data), img_size=64, num_workers=0, batch_size=2, render_on='device', cache='ram')
    cfg = load_tiny(CONFIGS / 'yolov8/seg_n_coco8.py', options)
    loader = build_dataloader(cfg.train_dataloader, seed=0)
    batch = loader.collate_fn(loader.dataset.__getitems__([0, 1]))
    (leaf,) = leaf_datasets(loader.dataset)
    pixels = ImageStore(leaf.cached_images)
    with on_fake_gpu():
        pixels.pixels = torch.empty_like(pixels.pixels, device='cuda')
        drawn = BatchRenderer(pixels)(batch['inputs'].to('cuda', non_blocking=True))
        assert drawn.shape == (2, 3, 64, 64) and drawn.device.type == 'cuda'


def recorded(function: type[torch.autograd.Function], calls: list[tuple[type, tuple, Any]]) -> Any:
    plain = function.apply

    def apply(*args: Any) -> Tensor:
        output = plain(*args)
        calls.append((function, args, output))
        return output

    return apply


@pytest.mark.parametrize(
    'waiting',
    [
        lambda x: x.sum().item(),
        lambda x: bool((x > 0).any()),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: x.tolist(),
        lambda x: x.cpu(),
        lambda x: x.to('cpu', torch.float16),
        lambda x: torch.zeros(4).copy_(x),
        lambda x: torch.ones(4).to('cuda'),
        lambda x: torch.tensor([1.0, 2.0], device='cuda'),
        lambda x: x.unique(),
    ],
    ids=['item', 'bool', 'mask', 'nonzero', 'tolist', 'cpu', 'type', 'copy', 'to_device', 'from_list', 'unique'],
)
def test_what_waits_is_found(waiting):
    with on_fake_gpu():
        x = torch.empty(4, device='cuda')
        with pytest.raises(WAITS):
            waiting(x)


QUERY_STEPS = [
    'deim/det_n_coco8.py',
    'deimv2/det_pico_coco8.py',
    'detr/det_r18_coco8.py',
    'dfine/det_n_coco8.py',
    'rfdetr/det_tiny_coco8.py',
    'rtdetr/det_r18_coco8.py',
]


def without_answer(self: HungarianAssigner, preds: Candidates, priors: None, gt: GtBatch) -> AssignResult:
    """A matching that nobody solves, of the right shapes."""
    shape = (*preds.bboxes.shape[:-2], gt.labels.shape[1], 1)
    prior_idx = torch.zeros(shape, dtype=torch.int64, device='cuda')
    return AssignResult(prior_idx, torch.ones_like(prior_idx, dtype=torch.bool), torch.zeros_like(prior_idx))


@pytest.mark.thorough
@pytest.mark.default_cases(1)
@pytest.mark.parametrize(
    ('name', 'solved'),
    [
        slow_unless(not solved or 'dfine' in name, name, solved, id=f'{name}-{"solved" if solved else "unsolved"}')
        for name in QUERY_STEPS
        for solved in (True, False)
    ],
)
def test_the_matching_of_queries_is_the_only_one_that_waits(name, solved, tiny_data, monkeypatch):
    """Its assignment is solved on the host; with it left out nothing waits, before it or after it."""
    options = dict(data_root=str(tiny_data), img_size=64, num_workers=0, batch_size=2)
    cfg = load_tiny(CONFIGS / name, options)
    cfg.model.head.get('decoder', cfg.model.head.get('transformer')).update(
        {'num_decoder_layers' if 'transformer' in cfg.model.head else 'num_layers': 2}
    )
    take_blocks_once(cfg.model)
    model = DETECTORS.build(cfg.model).train()
    batch = next(iter(build_dataloader(cfg.train_dataloader, seed=0)))
    if not solved:
        monkeypatch.setattr(HungarianAssigner, '__call__', without_answer)
    with on_fake_gpu():  # and not inside keyed_dropout: its generator needs a device that is there
        to_fake(model)
        inputs = model.data_preprocessor(batch, True)
        if solved:
            with pytest.raises(WAITS) as error:
                model(**inputs, mode='loss')
            assert any('assigner' in str(entry.path) for entry in error.traceback)
        else:
            loss, values = model.parse_losses(model(**inputs, mode='loss'))
            assert {each.device.type for each in (loss, *values.values())} == {'cuda'}


def test_the_step_of_two_stages_waits_for_its_proposals(tiny_data):
    """How many of them remain decides the shapes of all that follows."""
    options = dict(data_root=str(tiny_data), img_size=64, num_workers=0, batch_size=2)
    cfg = load_tiny(CONFIGS / 'faster_rcnn/det_r18_coco8.py', options)
    model = DETECTORS.build(cfg.model).train()
    batch = next(iter(build_dataloader(cfg.train_dataloader, seed=0)))
    with on_fake_gpu():
        to_fake(model)
        inputs = model.data_preprocessor(batch, True)
        with pytest.raises(WAITS) as error:
            model(**inputs, mode='loss')
        assert any(entry.name == 'proposals' for entry in error.traceback)


@pytest.mark.gpu
@pytest.mark.parametrize('name', [*STEPS, *ALIKE, *QUERY_STEPS])
def test_a_step_on_a_gpu_never_waits(name, tiny_data, monkeypatch):
    """The step of a query head is that of a matching without an answer, which it would wait for."""
    options = dict(data_root=str(tiny_data), img_size=64, num_workers=0, batch_size=2)
    cfg = load_tiny(CONFIGS / name, options)
    model = DETECTORS.build(cfg.model).cuda().train()
    batch = next(iter(build_dataloader(cfg.train_dataloader, seed=0)))
    batch['inputs'] = batch['inputs'].pin_memory()
    batch['gt'] = batch['gt'].pin_memory()
    wrapper = AccumulatingOptimWrapper(torch.optim.AdamW(model.parameters(), fused=True), amp='bf16')
    if name in QUERY_STEPS:
        monkeypatch.setattr(HungarianAssigner, '__call__', without_answer)
    model.train_step(batch, wrapper)  # the first step chooses kernels, and waits for them
    torch.cuda.set_sync_debug_mode('error')
    try:
        losses = model.train_step(batch, wrapper)
    finally:
        torch.cuda.set_sync_debug_mode('default')
    assert torch.isfinite(losses['loss'])


@pytest.mark.gpu
def test_drawing_a_batch_on_a_gpu_never_waits(tiny_data):
    options = dict(data_root=str(tiny_data), img_size=64, num_workers=0, batch_size=2, render_on='device', cache='ram')
    cfg = load_tiny(CONFIGS / 'yolov8/seg_n_coco8.py', options)
    loader = build_dataloader(cfg.train_dataloader, seed=0)
    plan = loader.collate_fn(loader.dataset.__getitems__([0, 1]))['inputs']
    (leaf,) = leaf_datasets(loader.dataset)
    expected = BatchRenderer(ImageStore(leaf.cached_images))(plan)
    renderer, plan = BatchRenderer(ImageStore(leaf.cached_images, 'cuda')), plan.pin_memory()
    renderer(plan.to('cuda', non_blocking=True))  # the first time chooses kernels
    torch.cuda.set_sync_debug_mode('error')
    try:
        drawn = renderer(plan.to('cuda', non_blocking=True))
    finally:
        torch.cuda.set_sync_debug_mode('default')
    assert (drawn.cpu().int() - expected.int()).abs().float().mean() < 0.1  # a rounding apart, magnified by a hue
