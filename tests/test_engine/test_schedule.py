"""Learning rate, momentum and accumulation against the recipe, by hand."""

import math
from types import SimpleNamespace

import pytest
import torch
from mmengine.optim import OptimWrapper

from detkit.engine.schedule import Schedules, WarmupDecay, build_schedules
from detkit.utils.errors import ConfigError


def started(accumulate: int = 4, epoch_length: int = 10, max_epochs: int = 20, **options) -> tuple[WarmupDecay, object]:
    params = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    groups = [{'params': [params[0]], 'name': 'weight'}, {'params': [params[1]], 'name': 'bias'}]
    optimizer = torch.optim.SGD(groups, lr=0.01, momentum=0.937)
    for group in optimizer.param_groups:
        group['initial_lr'] = 0.01
    wrapper = SimpleNamespace(optimizer=optimizer, accumulate=accumulate, current_accumulate=0)
    schedule = WarmupDecay(**options)
    schedule.start(wrapper, epoch_length, max_epochs)
    return schedule, wrapper


def test_warmup_begins_and_ends_as_stated():
    schedule, wrapper = started()
    weight, bias = wrapper.optimizer.param_groups
    schedule.apply(0)
    assert (weight['lr'], bias['lr'], weight['momentum'], wrapper.current_accumulate) == (0, 0.1, 0.8, 1)
    schedule.apply(15)
    lr = 0.01 * (1 - 1 / 20 * 0.99)
    assert weight['lr'] == pytest.approx(lr / 2)
    assert bias['lr'] == pytest.approx((0.1 + lr) / 2)
    assert weight['momentum'] == pytest.approx((0.8 + 0.937) / 2)
    assert wrapper.current_accumulate == 2  # 2.5 to even
    schedule.apply(30)
    assert weight['lr'] == bias['lr'] == pytest.approx(0.01 * (1 - 3 / 20 * 0.99))
    assert (weight['momentum'], wrapper.current_accumulate) == (0.937, 4)


def test_at_least_so_many_iterations():
    assert started(warmup_min_iters=100)[0].warmup_iters == 100
    assert started(warmup_min_iters=100, warmup_epochs=0)[0].warmup_iters == 0


@pytest.mark.parametrize(('epoch_length', 'warmup'), [(5000, 1000), (1000, 999), (8, 7), (1, 0)])
def test_warmup_within_the_first_epoch(epoch_length, warmup):
    """YOLOv3: from a thousandth of the rate over min(1000, iterations - 1), all parameters alike."""
    schedule, wrapper = started(
        epoch_length=epoch_length,
        decay='cosine',
        warmup_epochs=1,
        warmup_max_iters=1000,
        warmup_factor=1e-3,
        warmup_bias_lr='weights',
        warmup_momentum=None,
    )
    assert schedule.warmup_iters == warmup
    for iteration in sorted({0, warmup // 2, warmup}):
        share = iteration / warmup if warmup else 1
        schedule.apply(iteration)
        for group in wrapper.optimizer.param_groups:
            assert group['lr'] == pytest.approx(0.01 * (1e-3 * (1 - share) + share))
            assert group['momentum'] == 0.937
    assert wrapper.current_accumulate == 4
    schedule.apply(10 * epoch_length)
    assert wrapper.optimizer.param_groups[0]['lr'] == pytest.approx(0.01 * 0.505)


def test_warmup_that_contradicts_itself():
    with pytest.raises(ConfigError, match='warmup_max_iters 50 is less'):
        WarmupDecay(warmup_min_iters=100, warmup_max_iters=50)
    with pytest.raises(ConfigError, match="warmup_bias_lr is 'weight'"):
        WarmupDecay(warmup_bias_lr='weight')


@pytest.mark.parametrize(
    ('decay', 'half'), [('linear', 0.505), ('cosine', 0.01 + 0.99 * (1 + math.cos(math.pi / 2)) / 2), ('constant', 1.0)]
)
def test_decay(decay, half):
    schedule = started(decay=decay)[0]
    assert schedule.factor(100) == schedule.factor(109) == pytest.approx(half)
    smooth = started(decay=decay, by_epoch=False)[0]
    assert smooth.factor(100) == pytest.approx(half)
    assert smooth.factor(200) == pytest.approx(1.0 if decay == 'constant' else 0.01)


def test_biases_of_adam_start_at_zero():
    schedule, wrapper = started()
    wrapper.optimizer = torch.optim.AdamW(wrapper.optimizer.param_groups, lr=0.01)
    for group in wrapper.optimizer.param_groups:
        group.pop('momentum')
    schedule.start(wrapper, 10, 20)
    schedule.apply(0)
    assert [group['lr'] for group in wrapper.optimizer.param_groups] == [0, 0]


def test_unknown_decay():
    with pytest.raises(ConfigError, match="'linar'.*Did you mean 'linear'"):
        WarmupDecay(decay='linar')


@pytest.mark.filterwarnings('ignore:Detected call of')
def test_mmengine_schedulers_are_placed_by_iteration():
    from mmengine.optim import MultiStepLR

    def at(iterations: list[int]) -> float:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        schedules = Schedules([MultiStepLR(optimizer, milestones=[2], gamma=0.1, by_epoch=True)], epoch_length=5)
        for iteration in iterations:
            schedules.apply(iteration)
        return optimizer.param_groups[0]['lr']

    assert at([9]) == 1.0
    assert at([10]) == at(list(range(11))) == pytest.approx(0.1)


def test_schedulers_side_by_side_do_not_depend_on_where_a_run_was_resumed():
    """Each starts from the values that the others left, by iterations and by epochs."""
    decays = [dict(type='CosineAnnealingLR', T_max=4, eta_min=1e-3), dict(type='MultiStepLR', milestones=[1, 3])]
    warmup = dict(type='LinearLR', start_factor=0.001, by_epoch=False, end=8)

    def rates(cfg: list[dict], iterations: range) -> list[float]:
        wrapper = started()[1]
        schedules = build_schedules([dict(each) for each in cfg], wrapper, epoch_length=5, max_epochs=4)
        return [schedules.apply(i) or wrapper.optimizer.param_groups[0]['lr'] for i in iterations]

    for cfg in ([warmup, decays[0]], [decays[0], warmup], [decays[1], warmup]):
        expected = rates(cfg, range(20))
        assert [rates(cfg, range(i, i + 1))[0] for i in range(20)] == expected
    assert rates([decays[1], warmup], range(9))[8] == pytest.approx(0.1 * rates([warmup], range(9))[8])
    for beside in (warmup, dict(type='WarmupDecay'), dict(type='LinearMomentum')):
        with pytest.raises(ConfigError, match=f'so that {beside["type"]} beside it would have no effect'):
            rates([dict(type='WarmupDecay'), beside], range(1))
    rates([dict(type='WarmupDecay', warmup_momentum=None), dict(type='LinearMomentum')], range(1))


def test_mmengines_schedulers_in_epochs_can_step_each_iteration():
    """``convert_to_iter_based``: a ramp over two epochs of five iterations rises at each of them."""
    weight = torch.nn.Parameter(torch.zeros(1))
    wrapper = OptimWrapper(torch.optim.SGD([weight], lr=1.0))
    cfg = dict(type='LinearLR', start_factor=0.1, end=2)
    rates = {}
    for by_iteration in (False, True):
        wrapper.optimizer.param_groups[0].update(lr=1.0, initial_lr=1.0)
        schedules = build_schedules({**cfg, 'convert_to_iter_based': by_iteration}, wrapper, 5, 4)
        rates[by_iteration] = []
        for iteration in range(12):
            schedules.apply(iteration)
            rates[by_iteration].append(wrapper.optimizer.param_groups[0]['lr'])
    assert rates[False] == pytest.approx([0.1] * 5 + [1.0] * 7)
    assert rates[True] == pytest.approx([0.1 + 0.1 * i for i in range(9)] + [1.0] * 3)


def test_a_flat_rate_with_a_cosine_after_it_and_a_tail():
    """DEIM: quadratic warm-up of 2000 iterations, flat, half a cosine to half of the rate, and a constant tail."""
    schedule, wrapper = started(
        epoch_length=500,
        max_epochs=58,
        warmup_epochs=0.01,
        warmup_min_iters=2000,
        warmup_bias_lr='weights',
        warmup_power=2,
        warmup_momentum=None,
        decay='cosine',
        final_factor=0.5,
        flat_epochs=4 + 58 // 2,
        tail_epochs=8,
        by_epoch=False,
    )
    expected = {0: 0.0, 1000: 0.25, 2000: 1.0, 33 * 500: 1.0, 50 * 500: 0.5, 58 * 500: 0.5}
    middle = (33 + 50) * 500 // 2
    expected |= {middle: 0.75, 40 * 500: 0.5 + 0.25 * (1 + math.cos(math.pi * 7 / 17))}
    for iteration, share in expected.items():
        schedule.apply(iteration)
        for group in wrapper.optimizer.param_groups:
            assert group['lr'] == pytest.approx(0.01 * share), iteration


@pytest.mark.parametrize('flat, tail, shares', [(10, 4, (1, 1, 1)), (3, 3, (1, 1, 0.1)), (0, 5, (1, 0.1, 0.1))])
def test_flat_epochs_and_a_tail_that_leave_no_room(flat, tail, shares):
    schedule, _ = started(max_epochs=5, decay='linear', final_factor=0.1, flat_epochs=flat, tail_epochs=tail)
    assert [schedule.factor(epoch * 10) for epoch in (0, 3, 4)] == pytest.approx(list(shares))


@pytest.mark.parametrize('mistake', [dict(flat_epochs=-1), dict(tail_epochs=-0.5), dict(warmup_power=0)])
def test_negative_lengths_are_refused(mistake):
    (name, value), *_ = mistake.items()
    with pytest.raises(ConfigError, match=rf'param_scheduler\.{name} is {value}; it must be'):
        WarmupDecay(**mistake)


@pytest.mark.filterwarnings('ignore:Detected call of')
def test_a_cycle_that_is_shorter_than_the_run_is_refused_before_training():
    cfg = dict(type='OneCycleLR', eta_max=0.1, by_epoch=False)

    def build(total_steps: int | None) -> Schedules:
        wrapper = OptimWrapper(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0))
        return build_schedules({**cfg, 'total_steps': total_steps}, wrapper, epoch_length=5, max_epochs=2)

    with pytest.raises(ConfigError, match='total_steps of OneCycleLR is 4, but the run has 10 iterations for it'):
        build(4)
    build(10).apply(9)
    build(None).apply(9)
