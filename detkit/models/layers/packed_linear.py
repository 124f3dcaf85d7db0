"""``PackedLinear``: a linear layer for prediction, whose weights are kept in the order of the processor's kernels."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook
from torch.utils._python_dispatch import _get_current_dispatch_mode

from .linear import Linear, has_vectors
from .norm_silu import has_hooks
from .plain_tensors import is_plain
from .precision import autocast_type

_ROWS = 1024  # for which oneDNN chooses the order; for fewer or more rows it is as fast
_MIN_OUTPUTS = 65  # narrower layers are as fast without
# oneDNN's names of activations.
_ACTIVATIONS = {F.relu: 'relu', nn.ReLU: 'relu', F.gelu: 'gelu', nn.GELU: 'gelu', F.silu: 'swish', nn.SiLU: 'swish'}


class PackedLinear(Linear):
    """A linear layer that predicts faster on a CPU, with the parameters of another one.

    oneDNN reorders the weights of a layer in each call, and autocast casts them. This layer keeps both, for each type
    that it computes in, so that its memory grows by as much. Results are those of ``Linear`` but for rounding. With
    gradients, on other devices, in tracing and compiling, and where a mode looks at operations, it is that layer.

    Args:
        layer: the one whose parameters are taken, not copied.
    """

    def __init__(self, layer: Linear) -> None:
        super(Linear, self).__init__(layer.in_features, layer.out_features, layer.bias is not None, device='meta')
        self.weight, self.bias = layer.weight, layer.bias
        self.train(layer.training)
        self._packed: dict[torch.dtype, _Packed] = {}

    @classmethod
    def can_replace(cls, layer: Linear) -> bool:
        """Return whether a layer is wide enough, and this processor and PyTorch pack weights."""
        return layer.out_features >= _MIN_OUTPUTS and can_pack()

    def forward(self, x: Tensor) -> Tensor:
        y = self.product(x)
        return super().forward(x) if y is None else y

    def product(self, x: Tensor, act: str = 'none') -> Tensor | None:
        """Return the activated output computed with packed weights, or None where these do not serve.

        Args:
            x: ``(..., in_features)``.
            act: oneDNN's name of the activation.
        """
        dtype = _type_of_product(x, self.weight)
        if dtype is None:
            return None
        packed = self._packed.get(dtype)
        if packed is None or packed.source != _source(self.weight, self.bias):
            packed = self._packed[dtype] = _Packed.of(self.weight, self.bias, dtype)
        kind = 'none' if act == 'gelu' else ''  # of GELU: that of the error function
        return torch.ops.mkldnn._linear_pointwise(x.to(dtype), packed.weight, packed.bias, act, [], kind)

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy or a file of the layer holds: all but packed weights, which only this process can read."""
        return {**self.__dict__, '_packed': {}}


def activated(layer: nn.Module, act: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return ``act(layer(x))``, in one pass where the layer is packed and nobody looks between the two."""
    name = _ACTIVATIONS.get(type(act) if isinstance(act, nn.Module) else act)
    if name is not None and isinstance(layer, PackedLinear) and not _are_watched(layer, act):
        y = layer.product(x, name)
        if y is not None:
            return y
    return act(layer(x))


def _are_watched(layer: nn.Module, act: Callable[[Tensor], Tensor]) -> bool:
    """Return whether hooks see the layer's output, or the activation is an approximation."""
    if _has_any_global_hook() or has_hooks(layer):
        return True
    return isinstance(act, nn.Module) and (has_hooks(act) or getattr(act, 'approximate', 'none') != 'none')


class _Packed(NamedTuple):
    """Packed weights.

    Attributes:
        weight, bias: in the type of the product; the weight in an order of oneDNN's own.
        source: what they were packed from, see ``_source``.
    """

    weight: Tensor
    bias: Tensor | None
    source: tuple

    @classmethod
    def of(cls, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> _Packed:
        packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach().to(dtype).contiguous(), _ROWS)
        return cls(packed, None if bias is None else bias.detach().to(dtype), _source(weight, bias))


def _source(*params: Tensor | None) -> tuple:
    """Return what tells whether parameters are still the same: where they lie, and how often they were changed."""
    return tuple(None if x is None else (x.data_ptr(), x.dtype, x._version) for x in params)


def _type_of_product(x: Tensor, weight: Tensor) -> torch.dtype | None:
    """Return the type that a layer computes in where packed weights may stand for its own; None elsewhere."""
    if not is_plain(x) or {x.device.type, weight.device.type} != {'cpu'} or not x.numel():
        return None
    if _get_current_dispatch_mode() is not None or not torch.backends.mkldnn.enabled:
        return None
    if weight.is_inference() or (torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)):
        return None
    half = autocast_type('cpu')
    if half is None:
        dtype = x.dtype if x.dtype == weight.dtype else None
    else:
        dtype = half if {x.dtype, weight.dtype} <= {torch.float32, half} else None
    return dtype if dtype == torch.float32 or (dtype == torch.bfloat16 and _has_bfloat16()) else None


@cache
def can_pack() -> bool:
    """Return whether this PyTorch packs weights on this processor."""
    names = ('_linear_pointwise', '_reorder_linear_weight')
    return has_vectors() and all(hasattr(torch.ops.mkldnn, name) for name in names)


@cache
def _has_bfloat16() -> bool:
    """Return whether oneDNN has products in bfloat16 for this processor."""
    return torch.ops.mkldnn._is_mkldnn_bf16_supported()
