"""Layers for prediction on a CPU, whose weights are kept in the order of the processor's kernels."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._C import _len_torch_dispatch_stack

from detkit.utils.without_memory import without_memory

from .convolve import convolve
from .linear import Linear, prefers_onednn
from .norm_silu import are_watched, has_hooks
from .plain_tensors import is_plain
from .precision import autocast_type

_SAMPLES = 2  # weights of each output that are looked at, see ``forget_changed``
_ROWS = 1024  # vectors for which oneDNN chooses the order of a linear layer; it is as fast for fewer or more
_MIN_OUTPUTS = 65  # narrower linear layers are as fast without
_OPERATIONS = (
    '_linear_pointwise',
    '_reorder_linear_weight',
    '_convolution_pointwise',
    '_reorder_convolution_weight',
    '_is_mkldnn_bf16_supported',
)
# oneDNN's names of activations.
_ACTIVATIONS = {F.relu: 'relu', nn.ReLU: 'relu', F.gelu: 'gelu', nn.GELU: 'gelu', F.silu: 'swish', nn.SiLU: 'swish'}


class Packed(nn.Module):
    """Base of layers that keep packed weights, of which their memory grows.

    oneDNN reorders the weights of a layer in each call, and autocast casts them. Such a layer keeps what both give, for
    each type that it computes in. Results are those of the layer whose parameters it takes but for rounding. Where
    gradients are recorded, on other devices, in other types, in tracing and compiling, and where a mode looks at
    operations, it is that layer.

    Attributes:
        types: those in which it gains by packed weights.
        weight, bias: the parameters, those of the other layer, not copies.
    """

    types: ClassVar[tuple[torch.dtype, ...]] = (torch.float32, torch.bfloat16)
    weight: nn.Parameter
    bias: nn.Parameter | None

    @classmethod
    def of(cls, layer: nn.Module) -> Packed:
        """Return a packed layer in place of another one."""
        with without_memory():  # drawing initial values takes as long as reading a checkpoint
            packed = cls(layer)
        packed.weight, packed.bias = layer.weight, layer.bias
        packed._packed = {}
        return packed.train(layer.training)

    def forward(self, x: Tensor) -> Tensor:
        y = self.product(x) if self.gains(x) else None
        return super().forward(x) if y is None else y

    def gains(self, x: Tensor) -> bool:
        """Return whether the type that an input is computed in is one of ``types``."""
        return (autocast_type('cpu') or x.dtype) in self.types

    def product(self, x: Tensor, act: str = 'none') -> Tensor | None:
        """Return the activated output computed with packed weights, or None where these do not serve.

        Args:
            x: the layer's input.
            act: oneDNN's name of the activation.
        """
        weight, bias = self.weight, self.bias
        dtype = _type_of_product(x, weight)
        if dtype is None:
            return None
        packed = self._packed.get(dtype)
        state = _state(weight, bias)
        if packed is None or packed.state != state:
            weight, bias = weight.detach(), None if bias is None else bias.detach()
            ordered, cast = self.pack(weight.to(dtype), x), None if bias is None else bias.to(dtype)
            packed = self._packed[dtype] = _Weights(ordered, cast, (weight, bias), state, _sample(weight, bias))
        return self.multiply(x.to(dtype), packed.weight, packed.bias, (act, [], 'none' if act == 'gelu' else ''))

    def pack(self, weight: Tensor, x: Tensor) -> Tensor:
        """Return a weight in an order of oneDNN's for inputs like ``x``."""
        raise NotImplementedError

    def multiply(self, x: Tensor, weight: Tensor, bias: Tensor | None, act: tuple) -> Tensor:
        """Return the output for a packed weight; ``act`` are oneDNN's name, numbers and kind of the activation."""
        raise NotImplementedError

    def forget_changed(self) -> None:
        """Drop packed weights of parameters whose values are others now, see the function of this name."""
        for dtype, packed in list(self._packed.items()):
            if not torch.equal(packed.sample, _sample(*packed.source)):
                self._packed.pop(dtype, None)

    def _apply(self, fn: Callable, recurse: bool = True) -> nn.Module:
        """Move or cast the layer; weights that were packed before are of no more use."""
        self._packed = {}
        return super()._apply(fn, recurse)

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy or a file of the layer holds: all but packed weights, which only this process can read."""
        return {**self.__dict__, '_packed': {}}


class PackedLinear(Packed, Linear):
    """A linear layer with packed weights."""

    def __init__(self, layer: Linear) -> None:
        nn.Linear.__init__(self, layer.in_features, layer.out_features, layer.bias is not None)

    @classmethod
    def can_replace(cls, layer: nn.Module) -> bool:
        """Return whether a layer may be replaced, which gains by it."""
        return type(layer) is Linear and layer.out_features >= _MIN_OUTPUTS

    def pack(self, weight: Tensor, x: Tensor) -> Tensor:
        return torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), _ROWS)

    def multiply(self, x: Tensor, weight: Tensor, bias: Tensor | None, act: tuple) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise.default(x, weight, bias, *act)


class PackedConv2d(Packed, nn.Conv2d):
    """A convolution with packed weights: ``(B, in, H, W) -> (B, out, H', W')`` in channels_last.

    In float32 a call takes as long, and longer for small maps.
    """

    types = (torch.bfloat16,)

    def __init__(self, layer: nn.Conv2d) -> None:
        shape = (layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding, layer.dilation)
        nn.Conv2d.__init__(self, *shape, layer.groups, layer.bias is not None)

    @classmethod
    def can_replace(cls, layer: nn.Module) -> bool:
        """Return whether a layer may be replaced."""
        return type(layer) is nn.Conv2d and layer.padding_mode == 'zeros' and not isinstance(layer.padding, str)

    def product(self, x: Tensor, act: str = 'none') -> Tensor | None:
        return super().product(x, act) if x.dim() == 4 else None

    def pack(self, weight: Tensor, x: Tensor) -> Tensor:
        weight = weight.contiguous(memory_format=torch.channels_last)
        return torch.ops.mkldnn._reorder_convolution_weight(weight, *self._options(), list(x.shape))

    def multiply(self, x: Tensor, weight: Tensor, bias: Tensor | None, act: tuple) -> Tensor:
        return torch.ops.mkldnn._convolution_pointwise.default(x, weight, bias, *self._options(), *act)

    def _options(self) -> tuple:
        return self.padding, self.stride, self.dilation, self.groups


def packed_class(layer: nn.Module) -> type[Packed] | None:
    """Return the class that may take the place of a layer to predict; None for layers that stay as they are."""
    if not can_pack():
        return None
    return next((cls for cls in (PackedLinear, PackedConv2d) if cls.can_replace(layer)), None)


@torch.no_grad()
def forget_changed(model: nn.Module) -> None:
    """Drop the packed weights of parameters that were written in a way that PyTorch does not count.

    Those go through ``weight.data`` or ``weight.detach().numpy()``. All others are noticed by the layers
    themselves. Some weights of each output are looked at, and all biases: what changes fewer is not noticed.
    """
    for layer in model.modules():
        if isinstance(layer, Packed):
            layer.forget_changed()


def state_of(model: nn.Module) -> list[tuple[int, int]]:
    """Return what tells whether weights and buffers are the same: where they lie, and how often they were changed."""
    tensors = (*model.parameters(), *model.buffers())
    return [(tensor.data_ptr(), tensor._version) for tensor in tensors if not tensor.is_inference()]


def activated(layer: nn.Module, act: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return ``act(layer(x))``, in one pass where the layer is packed and nobody looks between the two."""
    if isinstance(layer, Packed) and layer.gains(x):
        name = activation_name(act)
        y = None if name is None or are_watched(layer, act) else layer.product(x, name)
        if y is not None:
            return y
    return act(layer(x))


def activation_name(act: Callable[[Tensor], Tensor]) -> str | None:
    """Return oneDNN's name of an activation, None where it has none."""
    if isinstance(act, nn.GELU) and act.approximate != 'none':
        return None
    return _ACTIVATIONS.get(type(act) if isinstance(act, nn.Module) else act)


def norm_activated(layer: nn.Module, norm: nn.Module, act: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return ``act(norm(layer(x)))``, see ``activated``."""
    return activated(layer, act, x) if passes_on(norm) else act(norm(convolve(layer, x)))


def passes_on(layer: nn.Module) -> bool:
    """Return whether a layer only passes its input on, as a normalisation that was fused with the layer before it."""
    return type(layer) is nn.Identity and not has_hooks(layer)


class _Weights(NamedTuple):
    """Packed weights.

    Attributes:
        weight, bias: in the type of the product; the weight in an order of oneDNN's.
        source: what they were packed from, which keeps its memory from being given to other parameters.
        state: see ``_state``.
        sample: see ``_sample``.
    """

    weight: Tensor
    bias: Tensor | None
    source: tuple[Tensor, Tensor | None]
    state: tuple
    sample: Tensor


def _state(weight: Tensor, bias: Tensor | None) -> tuple:
    """Return what tells whether parameters are still the same: where they lie, and how often they were changed."""
    own = (weight.data_ptr(), weight._version, weight.numel())
    return own if bias is None else (*own, bias.data_ptr(), bias._version)


def _sample(weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return a copy of the biases and of some weights of each output, evenly spaced in memory."""
    count = min(weight.numel(), _SAMPLES * len(weight))
    sample = weight.as_strided((count,), (weight.numel() // count,)) if _is_dense(weight) else weight.flatten()
    return sample.clone() if bias is None else torch.cat([sample, bias])


def _is_dense(weight: Tensor) -> bool:
    """Return whether a weight fills its part of the memory."""
    if weight.dim() == 4 and weight.is_contiguous(memory_format=torch.channels_last):
        return True
    return weight.is_contiguous()


def _type_of_product(x: Tensor, weight: Tensor) -> torch.dtype | None:
    """Return the type that a layer computes in where packed weights may stand for its own; None elsewhere."""
    half = autocast_type('cpu')
    dtype = half or x.dtype
    if not computes_in(dtype):
        return None
    fitting = (dtype,) if half is None else (torch.float32, half)
    if x.dtype not in fitting or weight.dtype not in fitting:
        return None
    if not is_plain(x) or _len_torch_dispatch_stack() or not torch.backends.mkldnn.enabled:
        return None
    fits = not (torch.is_grad_enabled() or weight.is_inference()) and x.is_cpu and weight.is_cpu and x.numel()
    return dtype if fits else None


@cache
def computes_in(dtype: torch.dtype) -> bool:
    """Return whether oneDNN has products of a type for this processor."""
    return dtype == torch.float32 or (dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())


@cache
def can_pack() -> bool:
    """Return whether this PyTorch packs weights on this processor, and it is faster with them."""
    return prefers_onednn() and all(hasattr(torch.ops.mkldnn, name) for name in _OPERATIONS)
