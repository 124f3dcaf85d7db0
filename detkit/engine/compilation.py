"""``torch.compile`` for the network of a training (``train_cfg.compile``)."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping
from functools import partial
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn

from detkit.models.detectors.base_detector import BaseDetector, Preds, raw_predictions
from detkit.structures.gt_batch import GtBatch
from detkit.utils.errors import ConfigError, first_line, nearest
from detkit.utils.front_end import argument

Setting = bool | str | Mapping[str, Any]

_KEY = 'train_cfg.compile'
_MODES = ('default', 'reduce-overhead', 'max-autotune', 'max-autotune-no-cudagraphs')
_ARGUMENTS = ('backend', 'dynamic', 'fullgraph', 'mode', 'options')
_COMPILERS = ('g++', 'clang++', 'c++')
_NUMBERS = count()


def compile_network(model: nn.Module, setting: Setting, device: torch.device) -> None:
    """Compile a detector's backbone, necks and head as one function, for the forward pass of its losses.

    The losses themselves, validation and prediction run as they are, and the state dict keeps its names. PyTorch
    compiles at the first batch. A head that makes queries of the objects, whose number changes from batch to batch,
    runs as it is, and backbone and necks are compiled alone. When a batch has another shape it compiles once more, for
    any shape; a network that needs more than a few variants runs the rest without, and says so.

    Args:
        model: the detector, not wrapped.
        setting: False; True for ``torch.compile``'s defaults; one of its modes; or its arguments.
        device: where the model trains.

    Raises:
        ConfigError: the setting is wrong, the model is none of detkit's, or this computer cannot compile.
    """
    arguments = _arguments_of(setting)
    if arguments is None:
        return
    if not isinstance(model, BaseDetector):
        raise ConfigError(f'{_KEY}: {type(model).__name__} is no BaseDetector, whose network can be compiled; drop it')
    if arguments.get('backend', 'inductor') == 'inductor' and device.type == 'cpu' and not find_compiler():
        names = ', '.join(_COMPILERS)
        remedy = 'install g++' if sys.platform != 'win32' else "install Microsoft's build tools"
        raise ConfigError(
            f"{_KEY}: PyTorch's compiler needs a C++ compiler for CPUs, and there is none of {names} on the PATH: "
            f'{remedy}, or leave out {argument("compile", "True")}'
        )
    try:
        network, maps = (torch.compile(with_own_code(part), **arguments) for part in (raw_predictions, _feature_maps))
    except (RuntimeError, TypeError, ValueError) as error:  # a Python or a system that it does not support, a backend
        raise ConfigError(f'{_KEY}: {first_line(error)}') from error
    model.compiled_network = partial(_explained, network, maps)


def with_own_code(function: Callable) -> Callable:
    """Return a copy of a function, for one network to be compiled.

    PyTorch compiles a piece of code a few times, for all networks that run it together, and interprets it afterwards.
    """
    code = function.__code__.replace(co_name=f'{function.__name__}_{next(_NUMBERS)}')
    return type(function)(code, function.__globals__, code.co_name, function.__defaults__, function.__closure__)


def find_compiler() -> str | None:
    """Return the path of a C++ compiler; None where none is found."""
    names = _COMPILERS if sys.platform != 'win32' else ('cl', *_COMPILERS)
    return next((path for name in names if (path := shutil.which(name))), None)


def _arguments_of(setting: Setting) -> dict[str, Any] | None:
    """Return the arguments of ``torch.compile``; None for no compilation."""
    if isinstance(setting, bool):
        return {} if setting else None
    if isinstance(setting, str):
        if setting not in _MODES:
            raise ConfigError(
                f'{_KEY} is {setting!r}; it must be True, False, one of {", ".join(_MODES)}, or a dict of arguments of '
                f'torch.compile.{nearest(setting, _MODES)}'
            )
        return {'mode': setting}
    if not isinstance(setting, Mapping):
        raise ConfigError(f'{_KEY} is {setting!r}; it must be True, False, a mode or a dict')
    for key in setting:
        if key not in _ARGUMENTS:
            raise ConfigError(
                f'{_KEY} has no key {key!r}; it takes {", ".join(_ARGUMENTS)}.{nearest(str(key), _ARGUMENTS)}'
            )
    return dict(setting)


def _feature_maps(model: BaseDetector, inputs: Tensor) -> tuple[Tensor, ...]:
    return model.extract_feat(inputs)


def _explained(
    network: Callable[..., Preds],
    maps: Callable[..., tuple[Tensor, ...]],
    model: BaseDetector,
    inputs: Tensor,
    mask: Tensor | None,
    gt: GtBatch | None = None,
) -> Preds:
    """Run a compiled network, with ``gt`` its feature maps alone; an error of the compiler names the setting."""
    try:
        if gt is None:
            return network(model, inputs, mask)
        return model.apply_head(maps(model, inputs), mask, gt)
    except torch._dynamo.exc.TorchDynamoException as error:
        reason = ' '.join(str(error).strip().splitlines()[:2])  # the second line is the cause's
        raise ConfigError(f'{_KEY}: this network cannot be compiled here: {reason}') from error
