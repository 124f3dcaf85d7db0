"""Batch normalisation over the images of all processes, on CPUs and GPUs."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, distributed, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm

from detkit.utils.errors import ConfigError
from detkit.utils.ranks import gather_rows, num_ranks


class _Synchronised(_BatchNorm):
    """Base that takes the statistics of a common training step over all processes.

    Anywhere else, and where the layer is frozen or evaluates, it is the plain layer; torch's ``SyncBatchNorm`` does
    not train on CPUs. Shape, weights and buffers are those of the plain layer.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or num_ranks() == 1:
            return super().forward(x)
        self._check_input_dim(x)
        mean, var, count = _shared_statistics(x.detach())
        if self.track_running_stats:
            self._track(mean, var, count)
        return _Normalise.apply(x, self.weight, self.bias, mean, var, count, self.eps)

    @torch.no_grad()
    def _track(self, mean: Tensor, var: Tensor, count: Tensor) -> None:
        """Update the running statistics; their variance is that of a sample, as in the plain layer."""
        self.num_batches_tracked.add_(1)
        momentum = 1 / self.num_batches_tracked if self.momentum is None else self.momentum
        for running, value in ((self.running_mean, mean), (self.running_var, var * (count / (count - 1)))):
            running.add_((value.to(running.dtype) - running) * momentum)


class SyncBatchNorm1d(_Synchronised, nn.BatchNorm1d):
    """``nn.BatchNorm1d`` over all processes."""


class SyncBatchNorm2d(_Synchronised, nn.BatchNorm2d):
    """``nn.BatchNorm2d`` over all processes."""


class SyncBatchNorm3d(_Synchronised, nn.BatchNorm3d):
    """``nn.BatchNorm3d`` over all processes."""


_SYNCHRONISED = {
    nn.BatchNorm1d: SyncBatchNorm1d,
    nn.BatchNorm2d: SyncBatchNorm2d,
    nn.BatchNorm3d: SyncBatchNorm3d,
}


def synchronise_batch_norm(model: nn.Module) -> None:
    """Let every batch normalisation of ``model`` take its statistics over all processes, in place.

    The modules stay the same objects, so that references to them hold. Frozen ones stay frozen.

    Raises:
        ConfigError: the model has a kind of batch normalisation that cannot be synchronised.
    """
    for name, module in model.named_modules():
        if not isinstance(module, _BatchNorm) or isinstance(module, _Synchronised | nn.SyncBatchNorm):
            continue
        if type(module) not in _SYNCHRONISED:
            raise ConfigError(
                f'sync_bn: {name} is a {type(module).__name__}, which is none of '
                f'{", ".join(kind.__name__ for kind in _SYNCHRONISED)}; use one of these, or set sync_bn=False'
            )
        module.__class__ = _SYNCHRONISED[type(module)]


def _shared_statistics(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean ``(C,)``, biased variance ``(C,)`` and count, a scalar, of ``(B, C, ...)`` over all processes."""
    x = _at_least_float32(x)
    dims = _all_but_channels(x)
    var, mean = torch.var_mean(x, dims, correction=0)
    count = x.new_full((1,), x.numel() // x.shape[1])
    rows = gather_rows(torch.cat([mean, var, count]))  # (ranks, 2 C + 1)
    means, variances, counts = rows.split([len(mean), len(mean), 1], 1)
    shares = counts / counts.sum()  # (ranks, 1)
    mean = (shares * means).sum(0)
    # The variance within the processes, and that of their means.
    var = (shares * (variances + (means - mean).square())).sum(0)
    return mean, var, counts.sum()


class _Normalise(torch.autograd.Function):
    """Normalisation by the statistics of all processes, and its gradient through them.

    With g the gradient of the normalised x̂, that of x is (g - mean(g) - x̂ mean(g x̂)) / σ, the means being over the
    images of all processes. Gradients of weight and bias are this process's, as those of any other layer.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        var: Tensor,
        count: Tensor,
        eps: float,
    ) -> Tensor:
        ctx.save_for_backward(x, weight, mean, (var + eps).rsqrt(), count)
        return F.batch_norm(x, mean, var, weight, bias, False, 0.0, eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, inverse_std, count = ctx.saved_tensors
        shape = [1, -1] + [1] * (x.ndim - 2)
        dims = _all_but_channels(x)
        wide = _at_least_float32(grad)
        normalised = (_at_least_float32(x) - mean.view(shape)) * inverse_std.view(shape)
        own = torch.stack([wide.sum(dims), (wide * normalised).sum(dims)])  # (2, C): of bias and of weight
        means = own.clone()
        distributed.all_reduce(means)
        means = means / count
        scale = inverse_std if weight is None else inverse_std * weight.to(inverse_std.dtype)
        grad_x = (wide - means[0].view(shape) - normalised * means[1].view(shape)) * scale.view(shape)
        grad_weight, grad_bias = (None, None) if weight is None else (own[1].to(weight.dtype), own[0].to(weight.dtype))
        return grad_x.to(x.dtype), grad_weight, grad_bias, None, None, None, None


def _all_but_channels(x: Tensor) -> tuple[int, ...]:
    return (0, *range(2, x.ndim))


def _at_least_float32(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
