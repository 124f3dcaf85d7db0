"""The state of a run that a checkpoint holds, so that a resumed run continues bit for bit."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from mmengine.dist import all_gather_object, broadcast, get_rank, get_world_size
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from detkit.engine.checkpoint import check_plain, describe_model, misfits
from detkit.engine.data_state import data_changes
from detkit.engine.model_cost import count_parameters
from detkit.engine.optim_state import parameter_names, place_state
from detkit.engine.own_components import naming_own_components
from detkit.engine.random_state import capture_random_state, restore_random_state
from detkit.utils.errors import CheckpointError, ComponentError

if TYPE_CHECKING:
    from detkit.engine.runner import Runner


def unwrap(model: nn.Module) -> nn.Module:
    """Return the model inside a wrapper for distributed training, or the model itself."""
    return model.module if isinstance(model, DataParallel | DistributedDataParallel) else model


def sync_buffers(model: nn.Module) -> None:
    """Give every process the running statistics of the first one, which are the ones saved."""
    for buffer in model.buffers():
        broadcast(buffer)


def make_meta(runner: Runner, metrics: dict[str, float] | None = None) -> dict[str, Any]:
    """Return a checkpoint's ``meta``: the model, see ``describe_model``, and how far it is trained."""
    cfg, loop = runner.cfg, runner.train_loop
    return {
        **describe_model(cfg, str(cfg.filename or ''), runner.classes, cfg.get('task'), runner.keypoints),
        'torch_version': str(torch.__version__),
        'time': time.strftime('%Y-%m-%d %H:%M:%S'),
        'seed': runner.seed,
        'parameters': count_parameters(unwrap(runner.model)),
        'epoch': loop.epoch,
        'iter': loop.iter,
        'best_fitness': loop.best_fitness,
        'best_epoch': loop.best_epoch,
        'best_metric': loop.best_metric,
        'metrics': dict(metrics or {}),
        'started_from': dict(runner.started_from),
    }


def capture_training_state(runner: Runner, metrics: dict[str, float] | None = None) -> dict[str, Any]:
    """Return the content of a checkpoint; every process must call it, as random states and gradients are its own."""
    model = unwrap(runner.model)
    weights = dict(model.state_dict())
    loop = runner.train_loop.state_dict()
    of_rank = {
        'random': capture_random_state(),
        'gradients': {
            name: param.grad.detach().cpu() for name, param in model.named_parameters() if param.grad is not None
        },
    }
    ranks = all_gather_object(of_rank)
    return {
        'meta': make_meta(runner, metrics),
        'state_dict': runner.ema.state_dict() if runner.ema else weights,
        'model': weights,
        'ema': {'num_updates': runner.ema.num_updates} if runner.ema else None,
        'optimizer': {
            **runner.optim_wrapper.state_dict(),
            'parameters': parameter_names(runner.optim_wrapper.optimizer, model),
        },
        'loop': loop,
        'hooks': _hook_states(runner),
        'ranks': ranks,
        'data': runner.data_state,
    }


def weights_only(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a checkpoint that predicting and fine-tuning need."""
    return {key: checkpoint[key] for key in ('meta', 'state_dict')}


def restore_training_state(runner: Runner, checkpoint: dict[str, Any], source: str) -> list[str]:
    """Restore the state that ``capture_training_state`` returned.

    Args:
        runner: with model, optimiser, loop and hooks built.
        checkpoint: from ``load_checkpoint``.
        source: the checkpoint's name in messages.

    Returns:
        Sentences on parts of the state that cannot be restored.

    Raises:
        CheckpointError: it holds weights only, belongs to another model, optimiser or class list, or holds a state that
            detkit does not write.
    """
    try:
        with naming_own_components(runner.cfg, lambda: f'where it takes its state from {source}'):
            return _restore(runner, checkpoint, source)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f'{source} does not hold the state of a run as detkit writes it ({type(error).__name__}: {error}). It is '
            'damaged or forged: start a new run from its weights with load_from.'
        ) from error


def _restore(runner: Runner, checkpoint: dict[str, Any], source: str) -> list[str]:
    if 'loop' not in checkpoint:
        raise CheckpointError(
            f'{source} holds weights only, so training cannot go on from it. Resume from last.pth, '
            'or start a new run from these weights with load_from.'
        )
    model = unwrap(runner.model)
    if list(checkpoint['meta']['classes']) != list(runner.classes):
        raise CheckpointError(
            f'{source} was trained for other classes; resume with the same data, or start a new run '
            'from it with load_from.'
        )
    stateless = _load_weights(runner, checkpoint, source)
    notes = [  # older checkpoints say nothing of their data
        f'the {name} data are not those of the checkpoint: {difference}. The run goes on with these'
        for name, difference in data_changes(checkpoint.get('data', {}), runner.data_state).items()
    ]
    if checkpoint['meta'].get('seed', runner.seed) != runner.seed:
        notes.append(
            f'the seed is {runner.seed}, where it was {checkpoint["meta"]["seed"]}: the order of the images and their '
            'augmentation are those of another run from here on'
        )
    if stateless:
        notes.append(
            f'parameters that were frozen when {source} was written begin without a state of the optimiser: '
            f'{len(stateless)}, such as {stateless[0]}'
        )
    runner.train_loop.load_state_dict(checkpoint['loop'])
    for name, hook in _stateful_hooks(runner):
        if name in checkpoint['hooks']:
            hook.load_state_dict(checkpoint['hooks'][name])

    if len(checkpoint['ranks']) == get_world_size():
        of_rank = checkpoint['ranks'][get_rank()]
        restore_random_state(of_rank['random'])
        for name, param in model.named_parameters():
            gradient = of_rank['gradients'].get(name) if param.requires_grad else None
            # Fused optimisers rely on the gradient having the weight's memory layout.
            param.grad = None if gradient is None else torch.empty_like(param).copy_(gradient)
    else:
        runner.optim_wrapper.pending = 0
        notes.append(
            f'{len(checkpoint["ranks"])} processes wrote {source} and {get_world_size()} resume it: random '
            'states and unfinished gradients are not restored'
        )
    return notes


def _load_weights(runner: Runner, checkpoint: dict[str, Any], source: str) -> list[str]:
    """Load the weights, the optimiser's state and the averages of a checkpoint.

    Returns:
        The names of parameters that its optimiser had not.
    """
    _load_model(runner, checkpoint['model'], source)
    optimizer, saved = runner.optim_wrapper, checkpoint['optimizer']
    if saved['type'] != type(optimizer.optimizer).__name__:
        raise CheckpointError(
            f'{source} was trained with {saved["type"]}, this run uses '
            f'{type(optimizer.optimizer).__name__}: start a new run from it with load_from.'
        )
    placed, stateless = place_state(saved, optimizer.optimizer, unwrap(runner.model), source)
    optimizer.load_state_dict(placed)
    if runner.ema:
        runner.ema.load_state_dict(checkpoint['state_dict'])
        runner.ema.num_updates = (checkpoint['ema'] or {'num_updates': optimizer.num_steps})['num_updates']
    return stateless


def _load_model(runner: Runner, weights: dict[str, Tensor], source: str) -> None:
    model = unwrap(runner.model)
    problems = misfits(model, weights)
    if problems:
        raise CheckpointError(
            f'{source} belongs to another model: {problems}. Resume it with the model that it was trained with, or '
            'start a new run from it with load_from.'
        )
    model.load_state_dict(weights)


def restore_weights(runner: Runner, checkpoint: dict[str, Any], source: str) -> None:
    """Go back to the weights, averages and optimiser's state of a checkpoint, while the run goes on where it is.

    The position of the run, its random draws and its hooks stay as they are; gradients of an unfinished step are
    dropped. A checkpoint of weights only, as ``best.pth`` is at the end of a run, leaves the optimiser's state alone.
    Arguments and errors are those of ``restore_training_state``.
    """
    optimizer = runner.optim_wrapper
    num_steps = optimizer.num_steps
    if 'loop' in checkpoint:
        _load_weights(runner, checkpoint, source)
    else:
        _load_model(runner, checkpoint['state_dict'], source)
        if runner.ema:
            runner.ema.load_state_dict(checkpoint['state_dict'])
    optimizer.num_steps, optimizer.pending = num_steps, 0
    for param in unwrap(runner.model).parameters():
        param.grad = None


@runtime_checkable
class StatefulHook(Protocol):
    """A hook whose state a checkpoint holds, detkit's or mmengine's."""

    def state_dict(self) -> dict[str, Any]:
        """Return plain types and tensors."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load what ``state_dict`` returned."""


def _hook_states(runner: Runner) -> dict[str, dict[str, Any]]:
    """Return the states of the hooks that have one, by name.

    Raises:
        ComponentError: a state holds more than plain types and tensors.
    """
    states: dict[str, dict[str, Any]] = {}
    for name, hook in _stateful_hooks(runner):
        state = hook.state_dict()
        try:
            check_plain(state, f'{name}.state_dict()')
        except TypeError as error:
            raise ComponentError(str(error), type(hook).__name__) from error
        if state:
            states[name] = state
    return states


def _stateful_hooks(runner: Runner) -> list[tuple[str, StatefulHook]]:
    """Return the hooks that may have a state, each with a name that no other has."""
    named: list[tuple[str, StatefulHook]] = []
    for hook in runner.hooks:
        if isinstance(hook, StatefulHook):
            name = type(hook).__name__
            count = sum(other.split('#')[0] == name for other, _ in named)
            named.append((f'{name}#{count}' if count else name, hook))
    return named
