"""Fusion of batch normalisation with the convolution before it, for prediction."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .normalization import FrozenBatchNorm2d

_FUSABLE = (nn.BatchNorm2d, nn.SyncBatchNorm, FrozenBatchNorm2d)


def fuse_conv_bn(model: nn.Module) -> nn.Module:
    """Fuse normalisations with the convolutions before them, in place, and return the model.

    A pair is a module's ``conv`` and ``bn`` (``conv1`` and ``bn1``, …), as in ``ConvModule`` and in torchvision's
    residual blocks, or a convolution and the normalisation that follows it in a sequence. Where ``conv`` is a sequence,
    its last layer is the convolution.

    The model gives the same outputs in evaluation mode, faster. It can no longer be trained, and its state dict is no
    longer that of the unfused model: fuse a copy where that matters.

    Raises:
        ValueError: the model is in training mode, where normalisation uses the batch's statistics.
    """
    if model.training:
        raise ValueError('fuse_conv_bn needs a model in evaluation mode; call model.eval() first')
    for module in model.modules():
        for conv_name, bn_name in list(_pairs(module)):
            conv, bn = getattr(module, conv_name), getattr(module, bn_name)
            holder = module
            if isinstance(conv, nn.Sequential) and len(conv):
                holder, conv_name = conv, str(len(conv) - 1)
                conv = conv[-1]
            if isinstance(conv, nn.Conv2d) and isinstance(bn, _FUSABLE):
                setattr(holder, conv_name, fuse_conv_bn_eval(conv, bn))
                setattr(module, bn_name, nn.Identity())
    return model


def _pairs(module: nn.Module) -> Iterator[tuple[str, str]]:
    """Yield the names of pairs of children that may be a convolution and its normalisation."""
    names = [name for name, _ in module.named_children()]
    if isinstance(module, nn.Sequential):
        yield from zip(names, names[1:], strict=False)
    for name in names:
        partner = name.replace('conv', 'bn', 1)
        if name.startswith('conv') and partner in names:
            yield name, partner
