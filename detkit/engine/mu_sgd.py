"""``MuSGD``: gradient descent with momentum that also moves matrices along their orthogonalised momentum."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from detkit.registry import OPTIMIZERS

from .amp import cpu_has_bf16

# The polynomial whose repetition brings all singular values near 1 (https://kellerjordan.github.io/posts/muon).
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
NUM_REPEATS = 5


@OPTIMIZERS.register_module()
class MuSGD(Optimizer):
    """Stochastic gradient descent beside Muon, as YOLO26 is trained (https://arxiv.org/abs/2606.03748).

    With the gradient g, a rate and a momentum m, a step is::

        weights with two dimensions or more:  w -= lr · (muon · O(m · a + (1 - m) · g) + sgd · (h + m · b))
        all other parameters:                 w -= lr · (h + m · b)

        a <- m · a + (1 - m) · g        h = g + weight_decay · w        b <- m · b + h

    O makes a matrix, one row for each output channel, nearly orthogonal, see ``orthogonalize``. A tensor whose last
    dimension but one is longer than the last has its O multiplied by the square root of their quotient. For a
    convolution that is the height and the width of its kernel, as in ultralytics 8.4.190, so 1 for a square one.

    Args:
        params: parameters, or dicts of parameters with arguments of their own.
        lr: the learning rate.
        momentum: m of both parts.
        weight_decay: that of the part of gradient descent; Muon's part has none.
        nesterov: False replaces m · a + (1 - m) · g by a, and h + m · b by b.
        muon: weight of Muon's part.
        sgd: weight of the part of gradient descent where there are both.

    Raises:
        ValueError: an argument is negative, or the momentum is not below 1.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        nesterov: bool = True,
        muon: float = 0.2,
        sgd: float = 1.0,
    ) -> None:
        for name, value in dict(lr=lr, weight_decay=weight_decay, muon=muon, sgd=sgd).items():
            if value < 0:
                raise ValueError(f'MuSGD: {name} is {value}; it must be at least 0')
        if not 0 <= momentum < 1:
            raise ValueError(f'MuSGD: momentum is {momentum}; it must be at least 0 and below 1')
        defaults = dict(lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov, muon=muon, sgd=sgd)
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Take a step with the gradients of the parameters that have one, and return the loss of ``closure``."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = [param for param in group['params'] if param.grad is not None]
            matrices = [param for param in params if param.ndim >= 2]
            others = [param for param in params if param.ndim < 2]
            if matrices:
                self._muon(matrices, group)
                self._sgd(matrices, group, group['lr'] * group['sgd'])
            if others:
                self._sgd(others, group, group['lr'])
        return loss

    def _muon(self, params: list[nn.Parameter], group: dict[str, Any]) -> None:
        momentum = group['momentum']
        grads = [param.grad for param in params]
        means = self._buffers(params, 'muon_buffer')
        torch._foreach_lerp_(means, grads, 1 - momentum)
        directions = list(torch._foreach_lerp(grads, means, momentum)) if group['nesterov'] else means
        updates = orthogonalize(directions)
        torch._foreach_add_(params, updates, alpha=-group['lr'] * group['muon'])

    def _sgd(self, params: list[nn.Parameter], group: dict[str, Any], lr: float) -> None:
        momentum, decay = group['momentum'], group['weight_decay']
        grads = [param.grad for param in params]
        if decay:
            grads = list(torch._foreach_add(grads, params, alpha=decay))
        sums = self._buffers(params, 'momentum_buffer')
        torch._foreach_mul_(sums, momentum)
        torch._foreach_add_(sums, grads)
        updates = torch._foreach_add(grads, sums, alpha=momentum) if group['nesterov'] else sums
        torch._foreach_add_(params, list(updates), alpha=-lr)

    def _buffers(self, params: list[nn.Parameter], name: str) -> list[Tensor]:
        """Return a state of each parameter, zeros at first."""
        for param in params:
            if name not in self.state[param]:
                self.state[param][name] = torch.zeros_like(param)
        return [self.state[param][name] for param in params]


def orthogonalize(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return matrices with the singular vectors of the given ones and singular values between about 0.7 and 1.2.

    It is Muon's update (https://kellerjordan.github.io/posts/muon): five repetitions of X <- a·X + (b·A + c·A²)·X with
    A = X·Xᵀ, from X divided by its Frobenius norm, in the format of ``working_dtype``. Matrices of one shape are
    computed together.

    Args:
        tensors: each with two dimensions or more, ``(rows, ...)``; all dimensions but the first are the columns.

    Returns:
        Tensors of the same shapes and types, multiplied as ``MuSGD`` says.
    """
    a, b, c = COEFFICIENTS
    by_shape: dict[tuple[int, int], list[int]] = defaultdict(list)
    matrices = [tensor.flatten(1) for tensor in tensors]
    for index, matrix in enumerate(matrices):
        by_shape[matrix.shape[0], matrix.shape[1]].append(index)
    results = list(tensors)
    for (rows, columns), indices in by_shape.items():
        stack = torch.stack([matrices[index] for index in indices])  # (N, rows, columns)
        stack = stack.to(working_dtype(stack.device))
        stack = stack / (torch.linalg.vector_norm(stack, dim=(1, 2), keepdim=True) + 1e-7)
        if rows > columns:
            stack = stack.mT
        for _ in range(NUM_REPEATS):
            gram = stack @ stack.mT
            stack = torch.baddbmm(stack, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), stack, beta=a)
        if rows > columns:
            stack = stack.mT
        for index, matrix in zip(indices, stack, strict=True):
            tensor = tensors[index]
            factor = max(1.0, tensor.shape[-2] / tensor.shape[-1]) ** 0.5
            results[index] = matrix.reshape(tensor.shape).to(tensor.dtype) * factor
    return results


def working_dtype(device: torch.device) -> torch.dtype:
    """Return the format of Muon's polynomial: bfloat16, and float32 on a CPU that has no products in bfloat16.

    Such a CPU converts each number back and forth, for which it takes five to ten times as long as in float32.
    """
    return torch.float32 if device.type == 'cpu' and not cpu_has_bf16() else torch.bfloat16
