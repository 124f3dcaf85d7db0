"""Training with a compiled network: the same losses and gradients, checkpoints and resumed runs as without."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from builders import build_model
from small_models import take_blocks_once
from tiny_configs import load_tiny
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter

from detkit.datasets.loader import build_dataloader
from detkit.engine import Runner, compilation, load_checkpoint
from detkit.engine.compilation import compile_network
from detkit.models.layers import convolve
from detkit.registry import DETECTORS
from detkit.utils.errors import ConfigError

CPU = torch.device('cpu')
FAMILIES = (
    'yolov8/seg_n_coco8.py',
    'yolov8/cls_n_weather.py',
    'detr/det_r18_coco8.py',
    'rfdetr/det_tiny_coco8.py',
    'yolo26/det_n_coco8.py',
    'rtdetr/det_r18_coco8.py',
)
# Networks of the same kinds of parts; yolov10 has two heads in one, as yolo26.
ALIKE = (
    'yolov10/det_n_coco8.py',
    'yolov5/det_n_coco8.py',
    'yolov3/det_spp_coco8.py',
    'yolov8/pose_n_coco8.py',
    'yolov8/obb_n_dota8.py',
)
# Few layers: compilation takes as long as the network is deep.
SHALLOW = dict(
    type='SingleStageDetector',
    backbone=dict(type='Darknet', depth='tiny', widen_factor=0.125, out_indices=(4,)),
    head=dict(type='YOLOv8Head'),
)


def make_shallow(name: str, model: dict[str, Any]) -> None:
    """Give the deepest networks fewer blocks or maps, of the same kinds."""
    take_blocks_once(model)
    if name.startswith('rtdetr/'):
        model['backbone']['out_indices'] = (3, 4)
        model['neck']['num_blocks'] = 1
        model['head']['decoder']['num_layers'] = 2
    elif name.startswith('detr/'):
        model['head']['transformer'].update(num_encoder_layers=1, num_decoder_layers=2)
    elif name.startswith('rfdetr/'):
        model['backbone'].update(depth=2, global_blocks=(1,), out_indices=(1, 2))
        model['head']['decoder']['num_layers'] = 2
    elif name in ('yolov5/det_n_coco8.py', 'yolov8/seg_n_coco8.py'):
        model['neck'] = None  # it has the blocks of the backbone, and yolo26's puts maps together in the same way
    elif name.startswith('yolo26/'):
        model['backbone']['out_indices'] = (3, 4)
        model['neck'][-1]['out_channels'] = (512, 1024)


def build_shallow() -> nn.Module:
    return DETECTORS.build({**SHALLOW, 'head': {**SHALLOW['head'], 'num_classes': 3}}).train()


def step(model: nn.Module, batch: dict[str, Any]) -> dict[str, Tensor]:
    """Return the losses of a batch, and the gradients of all parameters."""
    model.train().zero_grad()
    torch.manual_seed(0)
    losses = model(**model.data_preprocessor(copy.deepcopy(batch), True), mode='loss')
    loss, values = model.parse_losses(losses)
    loss.backward()
    return {**values, **{name: param.grad for name, param in model.named_parameters() if param.grad is not None}}


def check_step(name: str, tiny_data: Path, repo: Path, arguments: dict[str, Any], tolerance: float) -> None:
    """Compare a step of a compiled network with that of the plain one; the greatest error is of each tensor's norm."""
    options = dict(data_root=str(tiny_data), img_size=64, num_workers=0, batch_size=2)
    cfg = load_tiny(repo / 'configs' / name, options)
    make_shallow(name, cfg.model)
    torch.manual_seed(0)
    model = DETECTORS.build(cfg.model)
    batch = next(iter(build_dataloader(cfg.train_dataloader, seed=0)))
    compiled, names = copy.deepcopy(model), list(model.state_dict())
    compile_network(compiled, arguments, CPU)
    wanted, found = step(model, batch), step(compiled, batch)
    assert wanted.keys() == found.keys()
    for key, value in wanted.items():
        assert torch.linalg.vector_norm(found[key] - value) <= tolerance * torch.linalg.vector_norm(value) + 1e-6, key
    assert list(compiled.state_dict()) == names
    state = compiled.state_dict()
    for key, value in model.state_dict().items():
        torch.testing.assert_close(state[key], value, rtol=tolerance, atol=1e-5, msg=key)


@pytest.mark.thorough
@pytest.mark.default_cases(1)
@pytest.mark.filterwarnings('error:Dynamo')  # warnings of PyTorch's compiler, which a user would see in each run
@pytest.mark.parametrize('name', [*FAMILIES, *[pytest.param(name, marks=pytest.mark.slow) for name in ALIKE]])
def test_a_step_of_each_family(name, tiny_data, repo):
    check_step(name, tiny_data, repo, {'backend': 'eager'}, 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['yolov8/seg_n_coco8.py', 'detr/det_r18_coco8.py'])
def test_a_step_of_machine_code(name, tiny_data, repo):
    check_step(name, tiny_data, repo, {}, 1e-3)


@pytest.mark.thorough
def test_sizes_are_compiled_twice_and_copies_run_themselves():
    counter = CompileCounter()
    model = build_shallow()
    compile_network(model, {'backend': counter}, CPU)
    network = model.compiled_network
    for side in (64, 96, 160, 64):
        feats = network(model, torch.zeros(2, 3, side, side), None)
        assert feats['cls_logits'][0].shape[-1] == side // model.head.strides[0]
    assert counter.frame_count <= 3  # one size, any square, any size

    other = copy.deepcopy(model)
    with torch.no_grad():
        for param in other.parameters():
            param.zero_()
    assert other.compiled_network(other, torch.ones(2, 3, 64, 64), None)['cls_logits'][0].abs().max() == 0

    before = counter.frame_count
    model.eval()
    with torch.no_grad():
        model(torch.zeros(1, 3, 64, 64))
    assert counter.frame_count == before  # predictions are not compiled


@pytest.mark.parametrize(
    ('setting', 'sentence'),
    [
        ('fast', "train_cfg.compile is 'fast'; it must be True, False, one of default"),
        ('max-autotun', "Did you mean 'max-autotune'"),
        (3, 'it must be True, False, a mode or a dict'),
        ({'backed': 'eager'}, "no key 'backed'.*Did you mean 'backend'"),
        ({'backend': 'nowhere'}, 'train_cfg.compile: .*nowhere'),
    ],
)
def test_wrong_settings(setting, sentence):
    with pytest.raises(ConfigError, match=sentence):
        compile_network(build_model('yolov8_det', 3), setting, CPU)


def test_what_is_missing_is_named(monkeypatch):
    model = build_model('yolov8_det', 3)
    monkeypatch.setattr(compilation.shutil, 'which', lambda name: None)
    with pytest.raises(ConfigError, match=r'needs a C\+\+ compiler for CPUs, and there is none of g\+\+.* leave out'):
        compile_network(model, True, CPU)
    compile_network(model, {'backend': 'eager'}, CPU)  # which needs none
    with pytest.raises(ConfigError, match='Linear is no BaseDetector'):
        compile_network(nn.Linear(1, 1), True, CPU)


def test_an_error_of_the_compiler_names_the_setting():
    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Any:
        raise RuntimeError('no such instruction')

    model = build_shallow()
    compile_network(model, {'backend': backend}, CPU)
    with pytest.raises(ConfigError, match='train_cfg.compile: this network cannot be compiled here: .*no such instr'):
        model.compiled_network(model, torch.zeros(2, 3, 64, 64), None)


@pytest.mark.thorough
@pytest.mark.parametrize('backend', ['eager', pytest.param('inductor', marks=pytest.mark.slow)])
def test_a_resumed_run_is_that_of_one_piece(backend, tiny_data, repo, tmp_path, monkeypatch):
    """The piece is run without compilation where the backend gives the same bits."""
    # A compiled network computes PyTorch's convolutions on any processor; those for AVX2 round differently.
    monkeypatch.setattr(convolve, 'has_slow_gradients', lambda: False)

    def run(work_dir: Path, stop_after: int = 0, **options: Any) -> None:
        given = dict(data_root=str(tiny_data), img_size=64, num_workers=0, batch_size=2, max_epochs=1, device='cpu')
        model = dict(_delete_=True, **SHALLOW)
        cfg = load_tiny(
            repo / 'configs/yolov8/det_n_coco8.py', {**given, 'model': model, 'work_dir': str(work_dir), **options}
        )
        cfg.default_hooks.pictures = None
        cfg.train_cfg.final_eval = False
        cfg.default_hooks.checkpoint.interval_iters = 1
        runner = Runner(cfg)
        call_hook = runner.call_hook

        def watch(name: str, **arguments: Any) -> None:
            call_hook(name, **arguments)
            if name == 'after_fit_iter' and runner.iter == stop_after:
                raise KeyboardInterrupt

        runner.call_hook = watch
        if stop_after:
            with pytest.raises(KeyboardInterrupt):
                runner.train()
        else:
            runner.train()

    compiled = {'train_cfg.compile': {'backend': backend}}
    run(tmp_path / 'whole', **({} if backend == 'eager' else compiled))
    run(tmp_path / 'resumed', stop_after=2, **compiled)
    run(tmp_path / 'resumed', resume=True, **compiled)
    whole, found = (load_checkpoint(tmp_path / name / 'last.pth') for name in ('whole', 'resumed'))
    assert found['loop']['iter'] == whole['loop']['iter'] > 2
    for part in ('state_dict', 'model'):
        if part in whole:
            assert whole[part].keys() == found[part].keys()
            for key, value in whole[part].items():
                assert torch.equal(found[part][key], value), key
