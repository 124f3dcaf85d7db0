"""The optimiser step: mixed precision, accumulated gradients, clipping."""

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from mmengine.dist import get_world_size
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from detkit.engine.amp import resolve_amp
from detkit.engine.launch import largest_of_ranks
from detkit.registry import OPTIM_WRAPPERS
from detkit.utils.ranks import common_step


@OPTIM_WRAPPERS.register_module()
class AccumulatingOptimWrapper:
    """Combines the gradients of ``accumulate`` batches, clips their norm, and steps; nothing waits for the device.

    A step means the same however its images were divided into batches and among processes, where ``reduction`` is the
    ``loss_reduction`` of the head: the gradients of losses that are sums over a batch's images are summed, those of
    losses that are means are averaged.

    Args:
        optimizer: built by the constructor from a config; ``dict(type='auto')`` picks optimiser and learning rate.
        nominal_batch_size: accumulate until this many images, ``max(round(nominal / batch), 1)`` batches; weight decay
            is scaled by the quotient of the real and the nominal number. None: step after each batch.
        accumulate: number of batches a step, in place of ``nominal_batch_size``.
        amp: True, False, 'bf16' or 'fp16', see ``detkit.engine.amp``.
        clip_grad_norm: largest norm of all gradients together, None for no limit.
        reduction: 'sum' or 'mean', of the gradients of processes and of accumulated batches.

    Attributes:
        current_accumulate: batches a step at this iteration; the schedule sets it.
        pending: batches whose gradients wait for a step.
        num_steps: steps taken.
        stepped: whether the last ``update_params`` stepped.
        grad_norm: norm before clipping at the last step, on the device.
        skips_non_finite: leave out batches whose loss, and steps whose gradients, are infinite or not a number; this
            waits for the device in each batch.
        left_out: whether the last ``update_params`` left out its batch or step.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        nominal_batch_size: int | None = None,
        accumulate: int | None = None,
        amp: bool | str = True,
        clip_grad_norm: float | None = 10.0,
        reduction: str = 'sum',
    ) -> None:
        if reduction not in ('sum', 'mean'):
            raise ValueError(f"reduction must be 'sum' or 'mean', not {reduction!r}")
        self.optimizer = optimizer
        self.nominal_batch_size = nominal_batch_size
        self.accumulate = self.current_accumulate = accumulate or 1
        self.clip_grad_norm = clip_grad_norm
        self.reduction = reduction
        self.loss_factor = get_world_size() if reduction == 'sum' else 1  # DDP takes the mean of gradients
        self.device = optimizer.param_groups[0]['params'][0].device
        self.amp_dtype = resolve_amp(amp, self.device)
        self.scaler = _grad_scaler() if self.amp_dtype is torch.float16 else None
        self.pending = 0
        self.num_steps = 0
        self.stepped = False
        self.grad_norm: Tensor | None = None
        self.skips_non_finite = False
        self.left_out = False

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Autocast, normalise over all processes, and exchange gradients only in the batch that completes a step."""
        with ExitStack() as stack:
            stack.enter_context(common_step())
            if isinstance(model, DistributedDataParallel) and self.pending + 1 < self.current_accumulate:
                stack.enter_context(model.no_sync())
            if self.amp_dtype is not None:
                stack.enter_context(torch.autocast(self.device.type, self.amp_dtype))
            yield

    def update_params(self, loss: Tensor, step_kwargs: dict | None = None, zero_kwargs: dict | None = None) -> None:
        """Add the gradients of ``loss``, and step when enough batches are in."""
        if self.leave_out(loss):
            return
        self.backward(loss)
        self.finish_batch(step_kwargs, zero_kwargs)

    def leave_out(self, loss: Tensor) -> bool:
        """Decide, and return, whether a batch is left out because of its loss, see ``skips_non_finite``."""
        self.left_out = self.skips_non_finite and bool(largest_of_ranks(not bool(torch.isfinite(loss))))
        if self.left_out:
            self.stepped = False
        return self.left_out

    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        """Add the gradients of the loss of a batch, or of a part of it."""
        loss = loss.float() * self.loss_factor if self.loss_factor != 1 else loss.float()
        (self.scaler.scale(loss) if self.scaler else loss).backward(**kwargs)

    def finish_batch(self, step_kwargs: dict | None = None, zero_kwargs: dict | None = None) -> None:
        """Count the batch whose gradients are in, and step when there are enough of them."""
        self.pending += 1
        self.stepped = self.pending >= self.current_accumulate
        if self.stepped:
            self.step(**(step_kwargs or {}))
            self.zero_grad(**(zero_kwargs or {}))

    def step(self, **kwargs: Any) -> None:
        """Clip and step."""
        if self.scaler:
            self.scaler.unscale_(self.optimizer)
        if self.reduction == 'mean' and self.pending > 1:
            torch._foreach_div_([param.grad for param in self.parameters() if param.grad is not None], self.pending)
        if self.clip_grad_norm is not None:
            self.grad_norm = clip_grad_norm(self.parameters(), self.clip_grad_norm)
        if self.scaler:
            self.scaler.step(self.optimizer, **kwargs)
            self.scaler.update()
        elif self.skips_non_finite and not bool(torch.isfinite(self._norm())):
            self.left_out, self.stepped = True, False
        else:
            self.optimizer.step(**kwargs)
        self.pending = 0
        self.num_steps += not self.left_out

    def _norm(self) -> Tensor:
        """Return the norm of all gradients before clipping."""
        return clip_grad_norm(self.parameters(), math.inf) if self.clip_grad_norm is None else self.grad_norm

    def zero_grad(self, **kwargs: Any) -> None:
        """Clear the gradients; arguments as those of the optimiser's ``zero_grad``."""
        self.optimizer.zero_grad(**kwargs)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The optimiser's parameter groups."""
        return self.optimizer.param_groups

    def parameters(self) -> list[nn.Parameter]:
        return [param for group in self.optimizer.param_groups for param in group['params']]

    def state_dict(self) -> dict[str, Any]:
        return {
            'type': type(self.optimizer).__name__,
            'optimizer': self.optimizer.state_dict(),
            'pending': self.pending,
            'num_steps': self.num_steps,
            'scaler': self.scaler.state_dict() if self.scaler else None,
            'grad_norm': self.grad_norm,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a run's state; hyper-parameters stay as configured, as the schedule sets them anyway."""
        saved = state_dict['optimizer']
        self.optimizer.load_state_dict(
            {'state': saved['state'], 'param_groups': self.optimizer.state_dict()['param_groups']}
        )
        # Fused kernels walk a weight and its state side by side in memory, so both need the same layout.
        for param, state in self.optimizer.state.items():
            for key, value in state.items():
                if isinstance(value, Tensor) and value.shape == param.shape and value.stride() != param.stride():
                    state[key] = torch.empty_like(param).copy_(value)
        self.pending = state_dict['pending']
        self.num_steps = state_dict['num_steps']
        self.grad_norm = state_dict['grad_norm']
        if self.scaler and state_dict['scaler']:
            self.scaler.load_state_dict(state_dict['scaler'])


@torch.no_grad()
def clip_grad_norm(params: list[nn.Parameter], max_norm: float) -> Tensor:
    """Scale all gradients so that their joint L2 norm is at most ``max_norm``.

    Returns:
        The norm before, on the device.
    """
    grads = [param.grad for param in params if param.grad is not None]
    if not grads:
        return torch.zeros(())
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
    if norm.device.type == 'cpu' and norm <= max_norm:
        return norm  # reading a number costs nothing on a CPU, scaling by 1 would
    torch._foreach_mul_(grads, (max_norm / (norm + 1e-6)).clamp(max=1.0))
    return norm


def _grad_scaler() -> Any:
    if hasattr(torch.amp, 'GradScaler'):
        return torch.amp.GradScaler('cuda')
    return torch.cuda.amp.GradScaler()
