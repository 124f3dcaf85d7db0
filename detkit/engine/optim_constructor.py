"""Building an optimiser from its config: the choice ``auto``, accumulation, parameter groups."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from detkit.config.value_types import fits, spelled
from detkit.engine.finetune import NamesUndecayed, backbone_parts
from detkit.engine.optim_wrapper import AccumulatingOptimWrapper
from detkit.engine.training_state import unwrap
from detkit.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, OPTIMIZERS
from detkit.utils.errors import ConfigError, nearest

for _name, _class in vars(torch.optim).items():
    if isinstance(_class, type) and issubclass(_class, torch.optim.Optimizer):
        OPTIMIZERS.register_module(name=_name, module=_class)

# Optimisers with kernels that update a whole tensor in one pass.
_FUSED = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW)


@OPTIMIZERS.register_module(name='auto')
class AutoOptimizer:
    """The optimiser 'auto' of a config: SGD or MuSGD for long runs, AdamW for short ones. It is resolved, never built.

    Args:
        lr: the learning rate in place of the one that is chosen with the optimiser.
        momentum: that of the optimiser for long runs.
        weight_decay: the decay of either optimiser.
        long: the optimiser for long runs, ``'SGD'`` or ``'MuSGD'``.
        long_lr_mult: the ``lr_mult`` of ``GroupOptimConstructor`` that goes with it, beside that of ``paramwise_cfg``.

    Raises:
        ConfigError: ``long`` is another (when it is resolved).
    """

    def __init__(
        self,
        params: Any,
        lr: float | None = None,
        momentum: float = 0.937,
        weight_decay: float = 5e-4,
        long: str = 'SGD',
        long_lr_mult: dict[str, float] | None = None,
    ) -> None:
        raise TypeError("optimizer 'auto' must be resolved before it is built, see resolve_optimizer")

    @staticmethod
    def resolve(
        lr: float | None = None,
        momentum: float = 0.937,
        weight_decay: float = 5e-4,
        long: str = 'SGD',
        *,
        num_steps: float,
        num_classes: int,
    ) -> dict:
        """Return ``long`` for more than 10,000 steps, else AdamW with a rate that falls with the number of classes."""
        if long not in ('SGD', 'MuSGD'):
            raise ConfigError(f"optim_wrapper.optimizer.long is {long!r}; it must be 'SGD' or 'MuSGD'")
        if num_steps > 10_000:
            lr = 0.01 if lr is None else lr
            return dict(type=long, lr=lr, momentum=momentum, nesterov=True, weight_decay=weight_decay)
        lr = round(0.002 * 5 / (4 + num_classes), 6) if lr is None else lr
        return dict(type='AdamW', lr=lr, betas=(0.9, 0.999), weight_decay=weight_decay)


def resolve_optimizer(
    cfg: dict[str, Any], batch_size: int, num_iters: int, num_classes: int, max_epochs: int = 1
) -> dict[str, Any]:
    """Fill in the values that depend on the run: ``accumulate``, the scaled weight decay, the optimiser for ``auto``.

    ``auto`` counts steps of ``nominal_batch_size`` images, and the last of an epoch as a whole one, as ultralytics
    does. No more batches are accumulated than the run has.

    Args:
        cfg: an ``optim_wrapper`` config.
        batch_size: images of one iteration, over all processes.
        num_iters: iterations of the whole run.
        num_classes: the number of classes of the data.
        max_epochs: epochs of the whole run.
    """
    cfg = {**cfg, 'optimizer': dict(cfg['optimizer'])}
    nominal, accumulate = cfg.get('nominal_batch_size'), cfg.get('accumulate')
    num_steps = num_iters / (accumulate or 1)
    summed = accumulate or 1
    if accumulate is None and nominal:
        num_steps = math.ceil(num_iters / max(max_epochs, 1) * min(batch_size / nominal, 1)) * max_epochs
        summed = max(round(nominal / batch_size), 1)
    cfg['accumulate'] = min(summed, max(num_iters, 1))
    optimizer = cfg['optimizer']
    if optimizer['type'] == 'auto':
        options = {key: value for key, value in optimizer.items() if key not in ('type', 'long_lr_mult')}
        long_lr_mult = optimizer.get('long_lr_mult')
        optimizer = cfg['optimizer'] = AutoOptimizer.resolve(**options, num_steps=num_steps, num_classes=num_classes)
        if long_lr_mult and optimizer['type'] == options.get('long', 'SGD'):
            paramwise = dict(cfg.get('paramwise_cfg') or {})
            cfg['paramwise_cfg'] = {**paramwise, 'lr_mult': {**long_lr_mult, **(paramwise.get('lr_mult') or {})}}
    if nominal and 'weight_decay' in optimizer:
        optimizer['weight_decay'] *= batch_size * summed / nominal
    return cfg


def build_optim_wrapper(
    cfg: dict[str, Any], model: nn.Module, batch_size: int, num_iters: int, num_classes: int, max_epochs: int = 1
) -> AccumulatingOptimWrapper:
    """Build a config's ``optim_wrapper`` for a model; the other arguments are those of ``resolve_optimizer``."""
    check_prefixes(cfg['optimizer'].get('long_lr_mult') or {}, model, 'optim_wrapper.optimizer.long_lr_mult')
    cfg = resolve_optimizer(dict(cfg), batch_size, num_iters, num_classes, max_epochs)
    constructor = cfg.pop('constructor', 'GroupOptimConstructor')
    paramwise_cfg = cfg.pop('paramwise_cfg', None)
    built = OPTIM_WRAPPER_CONSTRUCTORS.build(dict(type=constructor, optim_wrapper_cfg=cfg, paramwise_cfg=paramwise_cfg))
    return built(model)


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class GroupOptimConstructor:
    """Builds an optimiser over three groups: weights (decayed), normalisation weights and biases (neither decayed).

    Frozen parameters are left out. Where a name starts with a key of ``lr_mult``, the groups are split and its learning
    rate multiplied: ``paramwise_cfg=dict(lr_mult={'backbone': 0.1})``. With ``decay_all=True`` normalisation weights
    and biases decay too, so that all parameters of one rate are one group, as in DETR's recipe; with
    ``decay_all=['neck', 'head']`` those whose names start so.

    ``layer_decay=0.8`` lowers the rates of a backbone's parts towards the image, as transformers are fine-tuned: of its
    n parts, those of ``train_cfg.freeze``, the i-th (from 0) has 0.8 to the power of n + 1 - i, times the rate that it
    has otherwise. Weights that a component names in its attribute ``no_decay`` do not decay either.

    Args:
        optim_wrapper_cfg: config of the wrapper, ``optimizer`` included.
        paramwise_cfg: ``lr_mult``, ``decay_all``, ``layer_decay``, ``no_decay`` (beginnings of names whose weights do
            not decay either), or None. One beginning needs no list.

    Raises:
        ConfigError: another key, a value of another kind, or a beginning of names that no parameter has (when called),
            or ``layer_decay`` for a backbone without parts.
    """

    KINDS = {
        'lr_mult': dict,
        'decay_all': bool | str | list[str],
        'layer_decay': float | None,
        'no_decay': str | list[str],
    }

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        self.optim_wrapper_cfg = dict(optim_wrapper_cfg)
        given = paramwise_cfg or {}
        self._check(given)
        self.lr_mult: dict[str, float] = given.get('lr_mult', {})
        self._layer_mults: dict[str, float] = {}
        self.decay_all: tuple[str, ...] = _beginnings(given.get('decay_all', False))
        self.layer_decay: float | None = given.get('layer_decay')
        self.no_decay: tuple[str, ...] = _beginnings(given.get('no_decay', ()))
        if self.layer_decay is not None and not 0 < self.layer_decay <= 1:
            raise ConfigError(
                f'optim_wrapper.paramwise_cfg.layer_decay is {self.layer_decay!r}; it must be above 0 and at most 1'
            )

    def _check(self, given: Any) -> None:
        """Refuse keys that ``paramwise_cfg`` has not, and values of another kind than theirs."""
        if not isinstance(given, Mapping):
            raise ConfigError(f'optim_wrapper.paramwise_cfg is {given!r}; it must be a dict of {", ".join(self.KINDS)}')
        for key, value in given.items():
            if key not in self.KINDS:
                raise ConfigError(
                    f'optim_wrapper.paramwise_cfg has no key {key!r}; it takes {", ".join(self.KINDS)}.'
                    f'{nearest(key, self.KINDS)}'
                )
            if not fits(value, self.KINDS[key]):
                raise ConfigError(
                    f'optim_wrapper.paramwise_cfg.{key} is {value!r}, but must be {spelled(self.KINDS[key])}'
                )
        for prefix, factor in given.get('lr_mult', {}).items():
            if not fits(factor, float) or not 0 <= factor < math.inf:
                raise ConfigError(
                    f'optim_wrapper.paramwise_cfg.lr_mult: the factor of {prefix!r} is {factor!r}; it must be a finite '
                    f'number of at least 0'
                )

    def __call__(self, model: nn.Module) -> AccumulatingOptimWrapper:
        model = unwrap(model)
        cfg = dict(self.optim_wrapper_cfg)
        optimizer_cfg = dict(cfg.pop('optimizer'))
        self._check_prefixes(model)
        self._layer_mults = self._find_layer_mults(model)
        groups = self.param_groups(model, optimizer_cfg.get('lr'))
        if not groups:
            raise ConfigError(
                'every parameter of the model is frozen, so there is nothing to train; shorten train_cfg.freeze.'
            )
        optimizer_class = OPTIMIZERS.get(optimizer_cfg['type'])
        if optimizer_class in _FUSED and 'fused' not in optimizer_cfg and _fused_works(groups):
            optimizer_cfg['fused'] = True
        optimizer = OPTIMIZERS.build({**optimizer_cfg, 'params': groups})
        for group in optimizer.param_groups:
            group.setdefault('initial_lr', group['lr'])
        cfg.setdefault('type', 'AccumulatingOptimWrapper')
        return OPTIM_WRAPPERS.build({**cfg, 'optimizer': optimizer})

    def _check_prefixes(self, model: nn.Module) -> None:
        for key in ('lr_mult', 'decay_all', 'no_decay'):
            check_prefixes(getattr(self, key), model, f'optim_wrapper.paramwise_cfg.{key}')

    def _find_layer_mults(self, model: nn.Module) -> dict[str, float]:
        """Return the factor of ``layer_decay`` by the beginning of names, those of a backbone's parts."""
        if self.layer_decay is None:
            return {}
        parts = backbone_parts(model)
        if not parts:
            raise ConfigError(
                f'optim_wrapper.paramwise_cfg.layer_decay needs a backbone of several parts, but '
                f'{type(getattr(model, "backbone", None)).__name__} has none; use lr_mult, or leave layer_decay out'
            )
        return {
            f'backbone.{name}.': self.layer_decay ** (len(parts) + 1 - index)
            for index, names in enumerate(parts)
            for name in names
        }

    def param_groups(self, model: nn.Module, lr: float | None = None) -> list[dict[str, Any]]:
        """Return groups named ``weight``, ``norm``, ``bias``, after the prefix of ``lr_mult`` where one applies."""
        norms = tuple(value for key, value in vars(nn).items() if 'Norm' in key and isinstance(value, type))
        no_decay = (*self.no_decay, *_undecayed(model))
        groups: dict[tuple[str, str], dict[str, Any]] = {}
        for module_name, module in model.named_modules():
            for name, param in module.named_parameters(recurse=False):
                if not param.requires_grad:
                    continue
                full_name = f'{module_name}.{name}' if module_name else name
                kind = 'bias' if 'bias' in name else 'norm' if isinstance(module, norms) else 'weight'
                kind = 'norm' if kind == 'weight' and full_name.startswith(no_decay) else kind
                kind = 'weight' if full_name.startswith(self.decay_all) else kind
                prefix = max((p for p in self.lr_mult if full_name.startswith(p)), key=len, default='')
                layer = max((p for p in self._layer_mults if full_name.startswith(p)), key=len, default='')
                label = layer.removesuffix('.') or prefix
                if (label, kind) not in groups:
                    group: dict[str, Any] = {'name': f'{label}.{kind}' if label else kind, 'params': []}
                    if kind != 'weight':
                        group['weight_decay'] = 0.0
                    if label and lr is not None:
                        group['lr'] = lr * self.lr_mult.get(prefix, 1.0) * self._layer_mults.get(layer, 1.0)
                    groups[label, kind] = group
                group = groups[label, kind]
                if not any(param is other for other in group['params']):
                    group['params'].append(param)
        order = {'weight': 0, 'norm': 1, 'bias': 2}
        return [groups[key] for key in sorted(groups, key=lambda key: (key[0], order[key[1]]))]


def check_prefixes(given: Mapping[str, float] | Sequence[str], model: nn.Module, key: str) -> None:
    """Raise ``ConfigError`` for beginnings of names that no parameter of a model has; ``key`` is the config's."""
    names = [name for name, _ in unwrap(model).named_parameters()]
    for prefix in given:
        if not any(name.startswith(prefix) for name in names):
            fitting = [p for p in given if any(name.startswith(p) for name in names)]
            write = {p: given[p] for p in fitting} if isinstance(given, Mapping) else fitting
            raise ConfigError(
                f'{key} names {prefix!r}, which no parameter of the model starts with.'
                f'{nearest(prefix, {name.split(".")[0] for name in names})} Without it: {key}="{write}"'
            )


def _beginnings(given: bool | str | Sequence[str]) -> tuple[str, ...]:
    """Return beginnings of names as a tuple: of one, of a list, of all names (True) or of none (False)."""
    if isinstance(given, bool):
        return ('',) if given else ()
    return (given,) if isinstance(given, str) else tuple(given)


def _undecayed(model: nn.Module) -> list[str]:
    """Return the beginnings of the names of weights that the model's own components say do not decay."""
    return [
        f'{name}.{weights}' if name else weights
        for name, module in model.named_modules()
        if isinstance(module, NamesUndecayed)
        for weights in module.no_decay
    ]


def group_names(groups: Sequence[dict[str, Any]]) -> list[str]:
    """Return the names of an optimiser's parameter groups, by which logs and charts call them.

    They are those of ``GroupOptimConstructor`` ('weight', 'backbone.bias'). A group that another constructor left
    without a name, or whose name an earlier group has, is called by its number ('group1').
    """
    names: list[str] = []
    for number, group in enumerate(groups):
        name = str(group.get('name', ''))
        names.append(name if name and name not in names else f'group{number}')
    return names


def _fused_works(groups: list[dict[str, Any]]) -> bool:
    """Return whether this release has fused kernels for all parameters (for SGD and on CPUs from PyTorch 2.4)."""
    release = tuple(int(part) for part in torch.__version__.split('+')[0].split('.')[:2])
    params = [param for group in groups for param in group['params']]
    devices = {param.device.type for param in params}
    return release >= (2, 4) and devices in ({'cuda'}, {'cpu'}) and all(param.is_floating_point() for param in params)
