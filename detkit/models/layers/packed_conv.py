"""A convolution and its activation as one operation of oneDNN, on weights that it has laid out for itself."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from detkit.models.layers.joining import may_join

# oneDNN's names of activations that have no parameters.
_NAMES = {nn.Identity: 'none', nn.SiLU: 'swish', nn.ReLU: 'relu', nn.Hardswish: 'hardswish'}


class _Packed(NamedTuple):
    """Weights in oneDNN's layout, and what they were made from."""

    weight: Tensor
    source: Tensor
    version: int
    address: int


class PackedConv:
    """Computes ``act(conv(x))`` of a network that predicts on a CPU; it holds the weights in oneDNN's layout.

    PyTorch's convolution brings the weights into that layout in each call, and the activation reads and writes the
    feature map once more. Here the former is done once for each number format, and oneDNN applies the activation to
    what it is about to write. Sums are rounded in another order, and in bfloat16 the activation is computed from what
    is not rounded yet.

    Weights that change are laid out again, as those of copies and pickles are. Only a change in place through ``.data``
    goes unnoticed, which PyTorch itself does not count.
    """

    def __init__(self) -> None:
        self._packed: dict[torch.dtype, _Packed] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {'_packed': {}}

    @staticmethod
    def fits(conv: nn.Module, act: nn.Module, x: Tensor) -> bool:
        """Tell whether a call stands for ``act(conv(x))``."""
        return (
            type(conv) is nn.Conv2d
            and (type(act) in _NAMES or type(act) is nn.LeakyReLU)
            and conv.padding_mode == 'zeros'
            and isinstance(conv.padding, tuple)
            and x.device.type == 'cpu'
            and x.dim() == 4
            and not torch.is_grad_enabled()
            and may_join(x, conv, act)
            and _is_supported(_computed_in(x))
            and conv.weight.dtype == torch.float32
            and not conv.weight.is_inference()  # changes of such weights are not counted
        )

    def __call__(self, conv: nn.Conv2d, act: nn.Module, x: Tensor) -> Tensor:
        """Return ``act(conv(x))``, ``(B, in, H, W) -> (B, out, H', W')``, where ``fits`` says that it can."""
        number_format = _computed_in(x)
        name, values = ('leaky_relu', [act.negative_slope]) if type(act) is nn.LeakyReLU else (_NAMES[type(act)], [])
        return torch.ops.mkldnn._convolution_pointwise(
            x.to(number_format),
            self._weight(conv, number_format),
            None if conv.bias is None else conv.bias.to(number_format),
            conv.padding,
            conv.stride,
            conv.dilation,
            conv.groups,
            name,
            values,
            '',
        )

    def _weight(self, conv: nn.Conv2d, number_format: torch.dtype) -> Tensor:
        """Return the convolution's weights in oneDNN's layout, made again where they have changed."""
        source = conv.weight
        packed = self._packed.get(number_format)
        made_from = None if packed is None else (id(packed.source), packed.version, packed.address)
        if made_from != (id(source), source._version, source.data_ptr()):
            weight = torch.ops.mkldnn._reorder_convolution_weight(
                source.detach().to(number_format), conv.padding, conv.stride, conv.dilation, conv.groups
            )
            packed = self._packed[number_format] = _Packed(weight, source, source._version, source.data_ptr())
        return packed.weight


def _computed_in(x: Tensor) -> torch.dtype:
    """Return the number format in which a convolution of ``x`` is computed."""
    if not hasattr(torch, 'get_autocast_dtype'):  # before PyTorch 2.4
        return torch.get_autocast_cpu_dtype() if torch.is_autocast_cpu_enabled() else x.dtype
    return torch.get_autocast_dtype('cpu') if torch.is_autocast_enabled('cpu') else x.dtype


def _is_supported(number_format: torch.dtype) -> bool:
    if not torch.backends.mkldnn.is_available() or not torch.backends.mkldnn.enabled:
        return False
    return number_format is torch.float32 or (
        number_format is torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )
