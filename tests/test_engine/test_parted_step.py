"""A step that the memory is too small for is made again in parts, with the same losses and gradients."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from detkit.engine import AccumulatingOptimWrapper, Runner, load_checkpoint
from detkit.engine.memory_errors import MemoryShortageError
from detkit.engine.parted_step import PartedSteps, part_of_batch
from detkit.models.data_preprocessor import StepKey
from detkit.utils.errors import ConfigError

from .dummy import DummyDetector, dummy_config
from .rank_families import FAMILIES, build, differences, global_batch

pytestmark = pytest.mark.usefixtures('no_trial')
HALVE = dict(max_epochs=4, val_interval=2, out_of_memory='halve')


@pytest.fixture
def no_trial(monkeypatch):
    """Leave out the two samples that components of a user's own are tried on before training."""
    monkeypatch.setattr('detkit.engine.runner.rehearse', lambda runner: None)


def limit_memory(monkeypatch, most: int, point: str = 'forward') -> list[int]:
    """Let the model fail in training with more than ``most`` images; return the list of the numbers it is given."""
    forward, sizes = DummyDetector.forward, []

    def limited(self, inputs: Tensor, gt: Tensor | None = None, data_samples: list | None = None, mode: str = 'tensor'):
        if mode == 'loss':
            sizes.append(len(inputs))
            if len(inputs) > most and point == 'forward':
                raise torch.cuda.OutOfMemoryError('CUDA out of memory') if most > 1 else MemoryError
        found = forward(self, inputs, gt, data_samples, mode)
        if mode == 'loss' and len(inputs) > most and torch.is_grad_enabled():
            found['loss_cls'] = _FailingBackward.apply(found['loss_cls'])
        return found

    monkeypatch.setattr(DummyDetector, 'forward', limited)
    return sizes


class _FailingBackward(torch.autograd.Function):
    """The identity, whose gradient takes too much memory."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        raise MemoryError


@pytest.mark.default_cases(1)
@pytest.mark.parametrize(('most', 'sizes'), [(2, [4, 2, 2, 2, 2]), (1, [4, 2, 1, 1, 1, 1, 1, 1, 1, 1])])
@pytest.mark.parametrize('point', ['forward', 'backward'])
def test_a_run_whose_steps_are_made_in_parts_is_the_same(tmp_path, monkeypatch, capsys, most, sizes, point):
    """Without dropout of PyTorch's own, and with fixed statistics of normalisation."""
    changes = dict(model=dict(type='DummyDetector', dropout=0.0))
    train_cfg = dict(HALVE, freeze=['backbone'])
    Runner(dummy_config(tmp_path / 'whole', train_cfg=train_cfg, **changes)).train()
    seen = limit_memory(monkeypatch, most, point)
    capsys.readouterr()
    Runner(dummy_config(tmp_path / 'parts', train_cfg=train_cfg, **changes)).train()
    if point == 'forward':
        assert seen[: len(sizes)] == sizes
    assert max(seen.count(size) for size in set(seen)) >= 4 * 3 * 4 // most
    out = capsys.readouterr().out
    assert out.count('the memory is too small for 4 images; 2 parts are tried') == 1
    assert (tmp_path / 'parts' / 'train.log').read_text().count('the memory is too small') == 12 * (2 // most)
    whole, parts = (load_checkpoint(tmp_path / name / 'last.pth') for name in ('whole', 'parts'))
    for name, tensor in whole['model'].items():
        torch.testing.assert_close(parts['model'][name], tensor, rtol=1e-5, atol=1e-6)
    assert parts['loop']['losses']['sums'] == pytest.approx(whole['loop']['losses']['sums'], rel=1e-4)


class _AsItIs(nn.Module):
    def forward(self, batch: dict, training: bool) -> dict:
        return {key: batch[key] for key in ('inputs', 'gt')}


class _Forgetful(nn.Module):
    """Passes on what a model is given, but for batches of more than ``most`` images, which fail."""

    def __init__(self, model: nn.Module, most: int) -> None:
        super().__init__()
        self.model, self.most = model, most
        self.data_preprocessor = _AsItIs()
        self.parse_losses = model.parse_losses

    def forward(self, **batch: Any) -> dict[str, Tensor]:
        if len(batch['inputs']) > self.most:
            raise MemoryError
        return self.model(**batch)

    def train_step(self, batch: dict, optim_wrapper: AccumulatingOptimWrapper) -> dict[str, Tensor]:
        with optim_wrapper.optim_context(self):
            losses = self(**self.data_preprocessor(batch, True), mode='loss')
        loss, values = self.parse_losses(losses)
        optim_wrapper.update_params(loss)
        return values


def step_of(name: str, most: int) -> dict[str, dict[str, Tensor]]:
    """Make a step of two accumulated batches, with statistics that do not depend on the batch."""
    model = build(name)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    optimizer = torch.optim.SGD([param for param in model.parameters() if param.requires_grad], 1e-3, momentum=0.9)
    wrapper = AccumulatingOptimWrapper(
        optimizer, accumulate=2, amp=False, clip_grad_norm=None, reduction=FAMILIES[name].reduction
    )
    runner = SimpleNamespace(
        model=_Forgetful(model, most), optim_wrapper=wrapper, seed=0, iter=0, device=torch.device('cpu')
    )
    runner.console = SimpleNamespace(line=lambda line: None)
    runner.logger = SimpleNamespace(info=lambda line: None)
    steps, losses = PartedSteps(runner, 'halve'), {}
    for number in range(2):
        runner.iter = number
        inputs, gt = global_batch(number)
        found = steps.make({'inputs': inputs, 'gt': gt})
        losses.update({f'{key} {number}': value.detach().double() for key, value in found.items()})
    assert wrapper.num_steps == 1
    gradients = {
        key: optimizer.state[param]['momentum_buffer']
        for key, param in model.named_parameters()
        if param in optimizer.state
    }
    return {'losses': losses, 'gradients': gradients, 'state': dict(model.state_dict())}


@pytest.mark.default_cases(2)
@pytest.mark.parametrize('name', FAMILIES)
def test_parts_of_every_family(name):
    """Six images in parts of two, of which one is without any object; with dropout, in float64."""
    found = differences(step_of(name, 2), step_of(name, 6))
    tolerance = 1e-6 if FAMILIES[name].reduction == 'mean' else 1e-10
    assert max(found.values()) < tolerance, found


def test_a_single_image_that_does_not_fit_ends_the_run(tmp_path, monkeypatch):
    limit_memory(monkeypatch, 0)
    with pytest.raises(MemoryShortageError, match='in iteration 1'):
        Runner(dummy_config(tmp_path / 'run', train_cfg=HALVE)).train()


def test_an_error_of_the_optimiser_is_not_tried_again(tmp_path, monkeypatch):
    """Weights may be half changed then."""

    calls = []

    def fail(self, **kwargs) -> None:
        calls.append(self.pending)
        raise MemoryError

    monkeypatch.setattr(AccumulatingOptimWrapper, 'step', fail)
    with pytest.raises(MemoryShortageError, match='in iteration 1'):
        Runner(dummy_config(tmp_path / 'run', train_cfg=HALVE)).train()
    assert calls == [1]


def test_another_error_is_that_of_its_component(tmp_path, monkeypatch):
    def fail(self, *args, **kwargs) -> None:
        raise RuntimeError('shapes do not match')

    monkeypatch.setattr(DummyDetector, 'forward', fail)
    with pytest.raises(ConfigError, match='DummyDetector fails in epoch 1, iteration 1: RuntimeError: shapes do not'):
        Runner(dummy_config(tmp_path / 'run', train_cfg=HALVE)).train()


def test_a_loss_that_is_no_number_is_skipped_in_parts_too(tmp_path, monkeypatch, capsys):
    limit_memory(monkeypatch, 2)
    loader = {**dummy_config('')['train_dataloader'], 'dataset': dict(type='DummyDataset', bad_position=3)}
    Runner(dummy_config(tmp_path / 'run', train_dataloader=loader, train_cfg=dict(HALVE, non_finite='skip'))).train()
    assert capsys.readouterr().out.count('skipped  iteration') == 4
    model = load_checkpoint(tmp_path / 'run' / 'last.pth')['model']
    assert all(bool(torch.isfinite(tensor).all()) for tensor in model.values())


def test_wrong_policies(tmp_path):
    with pytest.raises(ConfigError, match=r"train_cfg.out_of_memory is 'half'; it must be one of stop, halve"):
        Runner(dummy_config(tmp_path / 'run', train_cfg=dict(HALVE, out_of_memory='half'))).train()
    runner = Runner(dummy_config(tmp_path / 'run', train_cfg=HALVE))
    runner.world_size = 2
    with pytest.raises(ConfigError, match='for one process'):
        runner.train()


def test_parts_of_a_batch():
    inputs, gt = global_batch(1)
    batch = {'inputs': inputs, 'gt': gt, 'keys': list(range(6)), 'data_samples': None, 'step_key': StepKey(1, 2, 3)}
    part = part_of_batch(batch, slice(2, 4))
    assert torch.equal(part['inputs'], inputs[2:4]) and part['keys'] == [2, 3]
    assert part['data_samples'] is None and part['step_key'] == StepKey(1, 2, 3)
    assert part['gt'].num_instances == 5 and part['gt'].masks.shape[0] == 2 and part['gt'].batch_size == 2
    assert torch.equal(part['gt'].labels.flatten()[part['gt'].flat_index], gt.labels[2:4][gt.valid[2:4]])
