"""MuSGD: the same steps as a plain computation and as ultralytics'."""

from pathlib import Path

import numpy as np
import pytest
import torch
from builders import CONFIGS
from parity.musgd_shapes import OPTIONS, SHAPES, STEPS, TRIPLE, WEIGHTS, gradient, initial, rate

from detkit.config import load_config
from detkit.engine import MuSGD, mu_sgd
from detkit.engine.mu_sgd import orthogonalize, working_dtype
from detkit.engine.optim_constructor import GroupOptimConstructor, resolve_optimizer
from detkit.registry import DETECTORS
from detkit.utils.errors import ConfigError

RECORDED = Path(__file__).parents[1] / 'parity' / 'musgd.npz'


def run(dtype: torch.dtype, memory_format: torch.memory_format = torch.contiguous_format) -> dict[str, np.ndarray]:
    params = initial(dtype)
    for param in params.values():
        if param.ndim == 4:
            param.data = param.data.contiguous(memory_format=memory_format)
    # parameters of one rate and decay are one group, as in a run, so that equal shapes are computed together
    triple = [params[name] for name in TRIPLE]
    decayed = [param for name, param in params.items() if param.ndim >= 2 and name not in TRIPLE]
    others = [param for param in params.values() if param.ndim < 2]
    groups = [{'params': decayed}, {'params': others, 'weight_decay': 0.0}, {'params': triple}]
    optimizer = MuSGD(groups, **OPTIONS, **WEIGHTS)
    for step in range(STEPS):
        for name, param in params.items():
            param.grad = None if name == 'bias' and step == 0 else gradient(name, step).to(dtype)
        for index, group in enumerate(optimizer.param_groups):
            group['lr'] = rate(step) * (3 if index == 2 else 1)
        optimizer.step()
    return {name: param.detach().numpy() for name, param in params.items()}


@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
def test_steps_equal_ultralytics(monkeypatch, memory_format):
    monkeypatch.setattr(mu_sgd, 'working_dtype', lambda device: torch.float64)
    recorded = np.load(RECORDED)
    for name, found in run(torch.float64, memory_format).items():
        expected = recorded[f'float64.{name}']
        assert np.abs(found - expected).max() <= 1e-6 * np.abs(expected).max(), name


def test_steps_in_bfloat16_equal_ultralytics_to_its_precision(monkeypatch):
    monkeypatch.setattr(mu_sgd, 'cpu_has_bf16', lambda: True)
    recorded = np.load(RECORDED)
    start = {name: param.detach().numpy() for name, param in initial(torch.float32).items()}
    for name, found in run(torch.float32).items():
        expected = recorded[f'bfloat16.{name}']
        tolerance = 2.0**-7 if len(SHAPES[name]) >= 2 else 1e-6  # bfloat16 has 8 binary digits
        assert np.abs(found - expected).max() <= tolerance * np.abs(expected - start[name]).max(), name


@pytest.mark.parametrize(('native', 'wanted'), [(True, torch.bfloat16), (False, torch.float32)])
def test_bfloat16_is_used_where_the_processor_has_it(monkeypatch, native, wanted):
    monkeypatch.setattr(mu_sgd, 'cpu_has_bf16', lambda: native)
    assert working_dtype(torch.device('cpu')) is wanted
    assert working_dtype(torch.device('cuda')) is torch.bfloat16
    (result,) = orthogonalize([torch.randn(6, 9)])
    assert torch.equal(result, result.bfloat16().float()) is native


def test_the_first_step_equals_a_plain_computation(monkeypatch):
    monkeypatch.setattr(mu_sgd, 'working_dtype', lambda device: torch.float64)
    torch.manual_seed(0)
    weight, grad = torch.randn(6, 2, 2, 2).double(), torch.randn(6, 2, 2, 2).double()
    for nesterov in (True, False):
        param = torch.nn.Parameter(weight.clone())
        param.grad = grad.clone()
        MuSGD([param], lr=0.1, momentum=0.8, weight_decay=0.01, nesterov=nesterov, muon=0.3, sgd=0.5).step()
        mean = 0.2 * grad
        matrix = (0.8 * mean + 0.2 * grad if nesterov else mean).flatten(1)
        left, values, right = torch.linalg.svd(matrix, full_matrices=False)
        values = values / values.square().sum().sqrt()
        for _ in range(5):
            values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
        muon = (left @ torch.diag(values) @ right).reshape(weight.shape)
        moved = weight - 0.1 * 0.3 * muon
        decayed = grad + 0.01 * moved
        expected = moved - 0.1 * 0.5 * decayed * (1.8 if nesterov else 1)
        torch.testing.assert_close(param.detach(), expected, rtol=1e-6, atol=1e-8)


def test_singular_values_are_near_one():
    torch.manual_seed(0)
    tensors = [torch.randn(64, 16, 3, 3), torch.randn(16, 64), torch.randn(16, 64), torch.zeros(4, 4)]
    results = orthogonalize(tensors)
    for tensor, result in zip(tensors[:3], results[:3], strict=True):
        values = torch.linalg.svdvals(result.flatten(1))
        assert result.shape == tensor.shape and result.dtype == tensor.dtype
        assert 0.6 < values.min() and values.max() < 1.3
    assert not results[3].any()


def test_a_kernel_of_unequal_sides_and_a_tall_matrix_are_scaled(monkeypatch):
    monkeypatch.setattr(mu_sgd, 'working_dtype', lambda device: torch.float64)
    tall = torch.linalg.qr(torch.randn(32, 8, dtype=torch.float64))[0]
    assert torch.linalg.svdvals(orthogonalize([tall])[0]).max() > 1.3  # times sqrt(32 / 8)
    flat = torch.randn(8, 4, 5, 1, dtype=torch.float64)
    square = flat.reshape(8, 4 * 5, 1, 1)
    torch.testing.assert_close(orthogonalize([flat])[0].flatten(), orthogonalize([square])[0].flatten() * 5**0.5)


def test_arguments_are_checked():
    param = torch.nn.Parameter(torch.zeros(2, 2))
    with pytest.raises(ValueError, match='lr is -1'):
        MuSGD([param], lr=-1)
    with pytest.raises(ValueError, match='momentum is 1'):
        MuSGD([param], lr=1, momentum=1)
    MuSGD([param], lr=1).step()  # no gradient, nothing to do
    assert not param.any()


def test_class_branches_have_the_triple_rate_of_the_recipe(yolo26_groups):
    rates = {group['name']: group['lr'] for group in yolo26_groups}
    assert rates['weight'] == pytest.approx(0.01) and rates['bias'] == pytest.approx(0.01)
    for branch in ('head.cls_branches', 'head.one_to_one.cls_branches'):
        for kind in ('weight', 'norm', 'bias'):
            assert rates[f'{branch}.{kind}'] == pytest.approx(0.03)


@pytest.fixture
def yolo26_groups() -> list[dict]:
    cfg = load_config(CONFIGS / 'yolo26' / 'det_coco.py')
    with torch.device('meta'):
        model = DETECTORS.build({**cfg.model, 'head': {**cfg.model.head, 'num_classes': 80}})
    wrapper = resolve_optimizer(cfg.optim_wrapper.to_dict(), 64, 100_000, 80)
    paramwise = wrapper.pop('paramwise_cfg')
    wrapper.pop('constructor')
    return GroupOptimConstructor(wrapper, paramwise)(model).optimizer.param_groups


def test_auto_takes_it_for_long_runs():
    options = dict(optimizer=dict(type='auto', long='MuSGD', momentum=0.9, weight_decay=5e-4), nominal_batch_size=64)
    assert resolve_optimizer(options, 64, 20_000, 80)['optimizer']['type'] == 'MuSGD'
    assert resolve_optimizer(options, 64, 9_000, 80)['optimizer']['type'] == 'AdamW'
    options['optimizer']['long'] = 'Muon'
    with pytest.raises(ConfigError, match="long is 'Muon'"):
        resolve_optimizer(options, 64, 20_000, 80)
