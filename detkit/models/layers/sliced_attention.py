"""Scaled dot-product attention in bfloat16 on a CPU, a few heads at a time, so that their weights stay in the cache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .plain_tensors import is_plain

# N heads of all images, Q queries, S keys, D channels of a head.

# Weights that are computed at a time, of as many heads as there are threads at least, and the most that a head may
# have: beyond, PyTorch's attention, which never has all weights of a query, is faster. Measured on a CPU with AVX-512.
_SLICE = 3 << 17
_MOST_WEIGHTS = 1 << 19


def can_slice(queries: Tensor, keys: Tensor, values: Tensor) -> bool:
    """Tell whether ``sliced_attention`` may stand for PyTorch's attention, and is faster than it.

    PyTorch's takes up to twice the time for the gradient in bfloat16; in float32 it is not slower.
    """
    return (
        all(is_plain(x) and x.dtype == torch.bfloat16 for x in (queries, keys, values))
        and queries.device.type == 'cpu'
        and 0 < queries.shape[-2] * keys.shape[-2] <= _MOST_WEIGHTS
    )


def sliced_attention(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Return ``softmax(queries @ keysᵀ / √D) @ values``, where the softmax and what enters it are float32.

    Weights are not kept for the gradient, but computed again.

    Args:
        queries: ``(B, H, Q, D)``, for which ``can_slice`` holds, as for the others.
        keys, values: ``(B, H, S, D)``.

    Returns:
        ``(B, H, Q, D)``.
    """
    heads = [x.flatten(0, 1).contiguous() for x in (queries, keys, values)]
    needs_grad = torch.is_grad_enabled() and any(x.requires_grad for x in heads)
    attended = _SlicedAttention.apply(*heads) if needs_grad else _attend(*heads)
    return attended.unflatten(0, queries.shape[:2])


def _slices(queries: Tensor, keys: Tensor) -> Iterator[slice]:
    """Yield slices of the N heads ``(N, Q, D)``, ``(N, S, D)``, of about equal size."""
    heads, threads = len(queries), torch.get_num_threads()
    count = max(1, round(heads * queries.shape[1] * keys.shape[1] / _SLICE))
    step = -(-heads // (count * threads)) * threads
    for start in range(0, heads, step):
        yield slice(start, start + step)


def _weights(queries: Tensor, keys: Tensor) -> Tensor:
    """Return the weights ``(n, Q, S)`` of some heads, float32."""
    nothing = queries.new_empty(1, dtype=torch.float32)  # is not added
    scale = queries.shape[-1] ** -0.5
    logits = torch.baddbmm(nothing, queries.float(), keys.float().transpose(1, 2), beta=0, alpha=scale)
    return torch.softmax(logits, -1, out=logits)


def _attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Return the output ``(N, Q, D)`` of all heads."""
    attended = values.new_empty(*queries.shape[:2], values.shape[2])
    for part in _slices(queries, keys):
        torch.bmm(_weights(queries[part], keys[part]).to(values.dtype), values[part], out=attended[part])
    return attended


class _SlicedAttention(torch.autograd.Function):
    """The attention of heads ``(N, Q, D)``, ``(N, S, D)``, ``(N, S, D)`` with its gradient."""

    @staticmethod
    def forward(ctx: Any, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        ctx.save_for_backward(queries, keys, values)
        return _attend(queries, keys, values)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        queries, keys, values = ctx.saved_tensors
        grads = [torch.empty_like(x, memory_format=torch.contiguous_format) for x in (queries, keys, values)]
        scale = queries.shape[-1] ** -0.5
        for part in _slices(queries, keys):
            own = grad[part].contiguous()
            weights = _weights(queries[part], keys[part])
            torch.bmm(weights.to(values.dtype).transpose(1, 2), own, out=grads[2][part])
            grad_weights = torch.bmm(own.float().mul_(scale), values[part].float().transpose(1, 2))
            grad_logits = torch._softmax_backward_data(grad_weights, weights, -1, torch.float32).to(queries.dtype)
            torch.bmm(grad_logits, keys[part], out=grads[0][part])
            torch.bmm(grad_logits.transpose(1, 2), queries[part], out=grads[1][part])
        return tuple(grads)
