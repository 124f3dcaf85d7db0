"""Folding batch normalisation into the convolution before it, for prediction."""

from __future__ import annotations

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .conv_module import ConvModule


def fuse_conv_bn(model: nn.Module) -> nn.Module:
    """Folds every ``ConvModule``'s normalisation into its convolution, in place, and returns the model.

    The model gives the same outputs in evaluation mode, faster. It can no longer be trained, and its state dict is no
    longer that of the unfused model: fuse a copy where that matters.

    Raises:
        ValueError: the model is in training mode, where normalisation uses the batch's statistics.
    """
    if model.training:
        raise ValueError('fuse_conv_bn needs a model in evaluation mode; call model.eval() first')
    for module in model.modules():
        if isinstance(module, ConvModule) and isinstance(module.bn, nn.BatchNorm2d):
            module.conv = fuse_conv_bn_eval(module.conv, module.bn)
            module.bn = nn.Identity()
    return model
