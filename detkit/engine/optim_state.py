"""The optimiser's state in a checkpoint, which belongs to parameters by their names, however they are grouped."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from detkit.utils.errors import CheckpointError

# Their fused kernels read a state as if it had the shape of the parameter.
_SHAPED = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW)


def parameter_names(optimizer: Optimizer, model: nn.Module) -> list[str]:
    """Return the names of an optimiser's parameters, in the order in which its state counts them."""
    names = {id(param): name for name, param in model.named_parameters()}
    params = [param for group in optimizer.param_groups for param in group['params']]
    return [names.get(id(param), str(position)) for position, param in enumerate(params)]


def place_state(
    saved: dict[str, Any], optimizer: Optimizer, model: nn.Module, source: str
) -> tuple[dict[str, Any], list[str]]:
    """Assign a saved state to the parameters of an optimiser, whose groups may be others.

    Args:
        saved: the wrapper's ``state_dict`` with ``parameters``, their names; those of former versions lack them.
        optimizer: of the run that goes on.
        model: with the optimiser's parameters, not wrapped.
        source: the checkpoint's name in messages.

    Returns:
        ``saved`` with the state at the optimiser's own positions, and the names of the parameters that it had not.

    Raises:
        CheckpointError: without names, the groups are others, or a state has not the shape of its parameter.
    """
    names, state = parameter_names(optimizer, model), saved['optimizer']['state']
    before = saved.get('parameters')
    if before is None:
        _check_groups(saved['optimizer']['param_groups'], optimizer.param_groups, source)
        before = names
    position = {name: index for index, name in enumerate(before)}
    state = {i: state[position[name]] for i, name in enumerate(names) if position.get(name) in state}
    params = [param for group in optimizer.param_groups for param in group['params']]
    added = [i for i, name in enumerate(names) if name not in position]
    if isinstance(optimizer, torch.optim.SGD) and any('momentum_buffer' in values for values in state.values()):
        # PyTorch's fused SGD has a buffer for all parameters of a group or for none; one of zeros is a first step.
        state |= {i: {'momentum_buffer': torch.zeros_like(params[i])} for i in added}
    if isinstance(optimizer, _SHAPED):
        for i, values in state.items():
            for key, value in values.items():
                shape = torch.Size() if key == 'step' else params[i].shape
                if isinstance(value, Tensor) and value.shape != shape:
                    raise CheckpointError(
                        f'{source}: the state {key!r} of {names[i]} has the shape {tuple(value.shape)}, not '
                        f'{tuple(shape)}: start a new run from its weights with load_from.'
                    )
    return {**saved, 'optimizer': {**saved['optimizer'], 'state': state}}, [names[i] for i in added]


def _check_groups(before: list[dict[str, Any]], now: list[dict[str, Any]], source: str) -> None:
    """Refuse a checkpoint of a former version, whose state has no names, where the groups are others."""

    def sizes(groups: list[dict[str, Any]]) -> list[tuple[str, int]]:
        return [(str(group.get('name', '')), len(group['params'])) for group in groups]

    if sizes(before) != sizes(now):
        raise CheckpointError(
            f"{source} was written with other groups of the optimiser's parameters: resume with the "
            'optim_wrapper.paramwise_cfg and train_cfg.freeze that it was trained with, or start a new run from it '
            'with load_from.'
        )
