"""Parameter groups, accumulation, clipping, the automatic choice, mixed precision."""

import pytest
import torch
from torch import nn

from detkit.config import load_config
from detkit.engine.amp import cpu_has_bf16, resolve_amp
from detkit.engine.optim_constructor import GroupOptimConstructor, build_optim_wrapper, resolve_optimizer
from detkit.engine.optim_wrapper import clip_grad_norm
from detkit.registry import DETECTORS
from detkit.utils.errors import ConfigError

SGD = dict(type='SGD', lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01)


def small_model() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1))
    return model.to(memory_format=torch.channels_last)


def test_groups():
    model = small_model()
    groups = GroupOptimConstructor(dict(optimizer=SGD, amp=False))(model).optimizer.param_groups
    assert [(g['name'], len(g['params']), g['weight_decay']) for g in groups] == [
        ('weight', 2, 0.01),
        ('norm', 1, 0),
        ('bias', 2, 0),
    ]
    model[0].weight.requires_grad_(False)
    constructor = GroupOptimConstructor(dict(optimizer=SGD, amp=False), dict(lr_mult={'3': 0.1}))
    groups = constructor(model).optimizer.param_groups
    assert [(g['name'], g['lr']) for g in groups] == [
        ('norm', 0.1),
        ('bias', 0.1),
        ('3.weight', pytest.approx(0.01)),
        ('3.bias', pytest.approx(0.01)),
    ]
    whole = GroupOptimConstructor(dict(optimizer=SGD, amp=False), dict(lr_mult={'3': 0.1}, decay_all=True))
    groups = whole(small_model()).optimizer.param_groups
    assert [(g['name'], len(g['params']), g['lr'], g['weight_decay']) for g in groups] == [
        ('weight', 3, 0.1, 0.01),
        ('3.weight', 2, pytest.approx(0.01), 0.01),
    ]
    with pytest.raises(ConfigError, match="'backbone', which no parameter"):
        GroupOptimConstructor(dict(optimizer=SGD), dict(lr_mult={'backbone': 0.1}))(model)
    with pytest.raises(ConfigError, match='lr_mult'):
        GroupOptimConstructor(dict(optimizer=SGD), dict(lr_mul={}))
    with pytest.raises(ConfigError, match='frozen'):
        GroupOptimConstructor(dict(optimizer=SGD))(model.requires_grad_(False))


@pytest.mark.parametrize('reduction', ['sum', 'mean'])
@pytest.mark.parametrize('optimizer', [SGD, dict(type='AdamW', lr=0.01, weight_decay=0.01)])
def test_accumulated_step_equals_one_of_the_whole_batch(optimizer, reduction):
    images = torch.randn(6, 3, 8, 8)
    results = []
    for parts in ([images], images.split(2)):
        model = small_model().eval()  # batch statistics would differ
        wrapper = GroupOptimConstructor(
            dict(
                optimizer=dict(optimizer),
                accumulate=len(parts),
                amp=False,
                clip_grad_norm=1.0,
                reduction=reduction,
            )
        )(model)
        for _ in range(2):
            for i, part in enumerate(parts):
                with wrapper.optim_context(model):
                    squares = model(part).square()
                wrapper.update_params(squares.sum() if reduction == 'sum' else squares.mean())
                assert wrapper.stepped == (i == len(parts) - 1)
        assert wrapper.num_steps == 2
        results.append([p.detach().clone() for p in model.parameters()])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_fused_equals_plain():
    models = []
    for fused in (True, False):
        model = small_model()
        optimizer = {**SGD, 'fused': False} if not fused else dict(SGD)
        wrapper = GroupOptimConstructor(dict(optimizer=optimizer, amp=False))(model)
        for i in range(3):
            wrapper.update_params(model(torch.full((2, 3, 8, 8), float(i + 1))).square().mean())
        models.append(model)
    for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_clipping_equals_torch():
    for scale in (0.01, 100.0):
        params = [nn.Parameter(torch.randn(4, 3)), nn.Parameter(torch.randn(5)), nn.Parameter(torch.zeros(2))]
        for param in params[:2]:
            param.grad = torch.randn_like(param) * scale
        copies = [nn.Parameter(p.detach().clone()) for p in params]
        for copy, param in zip(copies[:2], params[:2], strict=True):
            copy.grad = param.grad.clone()
        expected = nn.utils.clip_grad_norm_(copies, 10.0)
        assert clip_grad_norm(params, 10.0) == pytest.approx(float(expected))
        for copy, param in zip(copies[:2], params[:2], strict=True):
            torch.testing.assert_close(copy.grad, param.grad)
    assert clip_grad_norm([nn.Parameter(torch.zeros(2))], 10.0) == 0


def test_nominal_batch_and_decay():
    nominal = dict(optimizer=dict(SGD), nominal_batch_size=64)
    cfg = resolve_optimizer(nominal, batch_size=16, num_iters=10, num_classes=80)
    assert cfg['accumulate'] == 4 and cfg['optimizer']['weight_decay'] == pytest.approx(0.01)
    cfg = resolve_optimizer(nominal, batch_size=24, num_iters=10, num_classes=80)
    assert cfg['accumulate'] == 3 and cfg['optimizer']['weight_decay'] == pytest.approx(0.01 * 72 / 64)
    cfg = resolve_optimizer(dict(optimizer=dict(SGD)), batch_size=24, num_iters=10, num_classes=80)
    assert cfg['accumulate'] == 1 and cfg['optimizer'] == SGD
    cfg = resolve_optimizer(dict(optimizer=dict(SGD), nominal_batch_size=64, accumulate=1), 4, 10, 80)
    assert cfg['accumulate'] == 1
    for own in (dict(accumulate=12), dict(nominal_batch_size=64)):  # of a run without as many batches
        assert resolve_optimizer(dict(optimizer=dict(SGD), **own), 4, 10, 80)['accumulate'] == 10


def test_auto():
    options = dict(optimizer=dict(type='auto', weight_decay=5e-4), nominal_batch_size=64)
    few = resolve_optimizer(options, batch_size=16, num_iters=40_000, num_classes=80)
    assert (few['optimizer']['type'], few['optimizer']['lr']) == ('AdamW', 0.000119)
    many = resolve_optimizer(options, batch_size=16, num_iters=40_004, num_classes=80)
    assert (many['optimizer']['type'], many['optimizer']['lr'], many['optimizer']['momentum']) == ('SGD', 0.01, 0.937)
    for num_iters, kind in ((40_000, 'AdamW'), (40_004, 'SGD')):
        own = dict(optimizer=dict(type='auto', lr=0.002), nominal_batch_size=64)
        chosen = resolve_optimizer(own, batch_size=16, num_iters=num_iters, num_classes=80)['optimizer']
        assert (chosen['type'], chosen['lr']) == (kind, 0.002)


def test_amp():
    cpu = torch.device('cpu')
    assert resolve_amp(False, cpu) is None
    assert resolve_amp('bf16', cpu) is torch.bfloat16
    assert resolve_amp(True, cpu) is (torch.bfloat16 if cpu_has_bf16() else None)
    with pytest.raises(ConfigError, match='needs a GPU'):
        resolve_amp('fp16', cpu)
    with pytest.raises(ConfigError, match='must be True'):
        resolve_amp('half', cpu)


def test_bf16_reaches_the_layers():
    model = small_model()
    wrapper = GroupOptimConstructor(dict(optimizer=SGD, amp='bf16'))(model)
    with wrapper.optim_context(model):
        outputs = model(torch.randn(1, 3, 8, 8))
    assert outputs.dtype is torch.bfloat16
    wrapper.update_params(outputs.square().sum())
    assert all(param.dtype is torch.float32 for param in model.parameters())


class PartedBackbone(nn.Module):
    """An embedding, two blocks and a normalisation, of which the last is no part."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(2, 2)
        self.blocks = nn.ModuleList(nn.Linear(2, 2, bias=False) for _ in range(2))
        self.norm = nn.LayerNorm(2)
        self.freeze_parts = (('embed',), ('blocks.0',), ('blocks.1',))


def test_rates_decay_from_layer_to_layer_towards_the_image():
    model = nn.ModuleDict({'backbone': PartedBackbone(), 'head': nn.Linear(2, 1, bias=False)})
    paramwise = dict(lr_mult={'backbone': 3.0}, layer_decay=0.5, no_decay=['backbone.embed'])
    groups = GroupOptimConstructor(dict(optimizer=SGD, amp=False), paramwise)(model).optimizer.param_groups
    rates = {group['name']: (group['lr'], group['weight_decay']) for group in groups}
    assert rates == {
        'weight': (0.1, 0.01),
        'backbone.norm': (pytest.approx(0.3), 0),
        'backbone.bias': (pytest.approx(0.3), 0),
        'backbone.blocks.1.weight': (pytest.approx(0.3 * 0.5**2), 0.01),
        'backbone.blocks.0.weight': (pytest.approx(0.3 * 0.5**3), 0.01),
        'backbone.embed.norm': (pytest.approx(0.3 * 0.5**4), 0),
        'backbone.embed.bias': (pytest.approx(0.3 * 0.5**4), 0),
    }


def test_rates_decay_in_a_backbone_whose_parts_are_its_children():
    model = nn.ModuleDict({'backbone': nn.Sequential(nn.Linear(2, 2, False), nn.Linear(2, 2, False))})
    groups = GroupOptimConstructor(dict(optimizer=SGD, amp=False), dict(layer_decay=0.5))(model).optimizer.param_groups
    rates = {group['name']: group['lr'] for group in groups}
    assert rates == {'backbone.1.weight': pytest.approx(0.1 * 0.5**2), 'backbone.0.weight': pytest.approx(0.1 * 0.5**3)}


def test_a_component_says_which_of_its_weights_do_not_decay():
    model = nn.ModuleDict({'backbone': PartedBackbone(), 'head': nn.Linear(2, 1, bias=False)})
    model['backbone'].no_decay = ('embed.',)
    both = {'head.weight', 'backbone.embed.weight'}
    in_backbone = dict(decay_all='backbone')
    for paramwise, decays in ((None, {'head.weight'}), (dict(decay_all=True), both), (in_backbone, both)):
        groups = GroupOptimConstructor(dict(optimizer=SGD, amp=False), paramwise)(model).optimizer.param_groups
        decayed = {id(param) for group in groups if group['weight_decay'] for param in group['params']}
        watched = {'head.weight': model['head'].weight, 'backbone.embed.weight': model['backbone'].embed.weight}
        assert {name for name, param in watched.items() if id(param) in decayed} == decays


@pytest.mark.default_cases(1)
@pytest.mark.parametrize('backbone', ['CSPDarknet', 'ResNet', 'HGNetV2', 'MobileNetV3', 'Darknet', 'WindowedViT'])
def test_the_schedule_of_rfdetr_fits_any_backbone(backbone):
    options = {'model.backbone': dict(type=backbone)}
    config = load_config('rfdetr/det_coco', options, need_classes=False)
    model = DETECTORS.build(config.model)
    groups = build_optim_wrapper(config.optim_wrapper, model, 2, 100, 91).optimizer.param_groups
    undecayed = {id(param) for group in groups if not group['weight_decay'] for param in group['params']}
    embedding = [param for name, param in model.named_parameters() if name.startswith('backbone.embed.')]
    assert all(id(param) in undecayed for param in embedding if param.requires_grad)
    assert len({group['lr'] for group in groups if group['name'].startswith('backbone')}) > 2


def test_groups_of_rfdetr_are_those_of_its_package():
    """Numbers of parameters by rate and decay, as rfdetr 1.11.2 (``get_param_dict``) groups those of size n.

    It decays biases and normalisation weights, too, but for those of the encoder; the boxes' layers have the full rate.
    """
    config = load_config('rfdetr/det_coco', {'size': 'n'}, need_classes=False)
    model = DETECTORS.build(config.model)
    counts: dict[tuple[float, float], int] = {}
    for group in build_optim_wrapper(config.optim_wrapper, model, 2, 100, 91).optimizer.param_groups:
        key = (round(group['lr'] * 1e6, 4), group['weight_decay'])
        counts[key] = counts.get(key, 0) + sum(param.numel() for param in group['params'])
    embedding = 517632 - 384  # its token of masks, which only pretraining uses
    expected = {
        (70.0, 1e-4): 3141312,
        (100.0, 1e-4): 5504802,
        (73.5, 0.0): 768,
        (round(73.5 * 0.8**14, 4), 0.0): embedding,
    }
    for rate in [round(73.5 * 0.8**power, 4) for power in range(2, 14)]:
        expected |= {(rate, 1e-4): 1770240, (rate, 0.0): 4992}
    assert counts == expected


@pytest.mark.parametrize(
    ('given', 'sentence'),
    [
        (dict(lr_mult=0.1), 'lr_mult is 0.1, but must be dict'),
        (dict(lr_mult={'0': -1}), "lr_mult: the factor of '0' is -1; it must be a finite number of at least 0"),
        (dict(lr_mult={'0': '0.1'}), "the factor of '0' is '0.1'"),
        (dict(no_decay=['0', 3]), r"no_decay is \['0', 3\], but must be"),
        (dict(decay_all='no'), "decay_all names 'no', which no parameter"),
        (dict(layer_decay='0.8'), "layer_decay is '0.8', but must be float . None"),
        (3, 'paramwise_cfg is 3; it must be a dict of lr_mult'),
    ],
)
def test_values_of_another_kind_are_refused(given, sentence):
    with pytest.raises(ConfigError, match=sentence):
        GroupOptimConstructor(dict(optimizer=SGD, amp=False), given)(nn.Sequential(nn.Linear(2, 2)))


def test_layer_decay_needs_parts_and_a_sensible_rate():
    model = nn.ModuleDict({'backbone': nn.Linear(2, 2)})
    with pytest.raises(ConfigError, match='layer_decay needs a backbone of several parts, but Linear has none'):
        GroupOptimConstructor(dict(optimizer=SGD), dict(layer_decay=0.8))(model)
    with pytest.raises(ConfigError, match='layer_decay is 1.2; it must be above 0'):
        GroupOptimConstructor(dict(optimizer=SGD), dict(layer_decay=1.2))
    with pytest.raises(ConfigError, match="no_decay names 'neck', which no parameter"):
        GroupOptimConstructor(dict(optimizer=SGD), dict(no_decay=['neck']))(model)
    with pytest.raises(ConfigError, match=r"Without it: optim_wrapper.paramwise_cfg.lr_mult=\"\{'backbone': 0.1\}\""):
        GroupOptimConstructor(dict(optimizer=SGD), dict(lr_mult={'backbone': 0.1, 'neck': 2}))(model)
