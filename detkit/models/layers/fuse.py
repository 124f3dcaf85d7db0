"""Fusion of batch normalisation with the convolution before it, and packed linear layers, for prediction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.nn.utils.parametrize import is_parametrized

from detkit.registry import is_own

from .calls import passes_to
from .csp_rep import MergingConvs
from .norm_silu import has_hooks
from .normalization import FrozenBatchNorm2d
from .packed import Packed, packed_class
from .sync_batch_norm import SyncBatchNorm2d

# Weights of all convolutions beyond which they are not packed: 64 MiB in bfloat16. Larger networks gain least.
_MOST_CONV_WEIGHTS = 1 << 25
_NORMALISATIONS = (nn.BatchNorm2d, nn.SyncBatchNorm, SyncBatchNorm2d, FrozenBatchNorm2d)


def fuse_conv_bn(model: nn.Module) -> nn.Module:
    """Fuse normalisations with the convolutions before them, in place, and return the model.

    A pair is a module's ``conv`` and ``bn`` (``conv1`` and ``bn1``, …), as in ``ConvModule`` and in torchvision's
    residual blocks, or a convolution and the normalisation that follows it in a sequence. Where ``conv`` is a sequence,
    its last layer is the convolution. Pairs with hooks, with weights that are computed from others, or of a class with
    a computation of its own stay as they are, as do those of a module of another package whose ``forward`` does not
    simply call one after the other (``passes_to``). Branches that can become one convolution (``MergingConvs``) then
    do, and layers whose weights the processor takes in an order of its own become ``Packed``.

    The model gives the same outputs in evaluation mode, faster. It can no longer be trained, and its state dict is no
    longer that of the unfused model: fuse a copy where that matters, or see ``fused``.

    Raises:
        ValueError: the model is in training mode, where normalisation uses the batch's statistics.
    """
    for (holder, conv_name), (module, bn_name) in _fusable(model):
        conv = fuse_conv_bn_eval(getattr(holder, conv_name), getattr(module, bn_name))
        setattr(holder, conv_name, conv)
        setattr(module, bn_name, nn.Identity())
    for block in _mergeable(model):
        block.merge_branches()
    packed: dict[nn.Module, Packed] = {}  # a layer may be in two places
    for holder, name, layer in _packable(model):
        if layer not in packed:
            packed[layer] = packed_class(layer).of(layer)
        setattr(holder, name, packed[layer])
    return model


@contextmanager
def fused(model: nn.Module) -> Iterator[None]:
    """Let ``fuse_conv_bn`` fuse a model inside of the block; after it the model holds its own layers again.

    Raises:
        ValueError: as ``fuse_conv_bn``.
    """
    own = [(module, name, getattr(module, name)) for pair in _fusable(model) for module, name in pair]
    own += [(block, block.small, getattr(block, block.small)) for block in _mergeable(model)]
    own += _packable(model)
    try:
        fuse_conv_bn(model)
        yield
    finally:
        for module, name, layer in own:
            setattr(module, name, layer)


def _mergeable(model: nn.Module) -> list[MergingConvs]:
    return [module for module in model.modules() if isinstance(module, MergingConvs)]


def _packable(model: nn.Module) -> list[tuple[nn.Module, str, nn.Module]]:
    """Return the layers that packed ones replace, with the modules that hold them and their names there."""
    found = [
        (holder, name, layer)
        for holder in model.modules()
        for name, layer in holder._modules.items()
        if layer is not None and packed_class(layer) and not has_hooks(layer) and not is_parametrized(layer)
    ]
    convs = {layer for _, _, layer in found if isinstance(layer, nn.Conv2d)}
    if sum(conv.weight.numel() for conv in convs) <= _MOST_CONV_WEIGHTS:
        return found
    return [each for each in found if each[2] not in convs]


def _fusable(model: nn.Module) -> list[tuple[tuple[nn.Module, str], tuple[nn.Module, str]]]:
    """Return the pairs to be fused: for the convolution and for the normalisation who holds it, and its name there."""
    if model.training:
        raise ValueError('fuse_conv_bn needs a model in evaluation mode; call model.eval() first')
    found = []
    for module in model.modules():
        for conv_name, bn_name in _pairs(module):
            conv, holder = getattr(module, conv_name), module
            name = conv_name
            if type(conv).forward is nn.Sequential.forward and len(conv) and not has_hooks(conv):
                holder, conv_name = conv, str(len(conv) - 1)
                conv = conv[-1]
            if _are_plain(conv, getattr(module, bn_name)) and _follow(module, name, bn_name):
                found.append(((holder, conv_name), (module, bn_name)))
    return found


def _are_plain(conv: nn.Module, bn: nn.Module) -> bool:
    """Return whether a convolution and a normalisation do what PyTorch's do, and nobody looks between them."""
    return (
        isinstance(conv, nn.Conv2d)
        and isinstance(bn, _NORMALISATIONS)
        and type(conv).forward is nn.Conv2d.forward
        and type(bn).forward in [each.forward for each in _NORMALISATIONS]
        and bn.running_var is not None
        and not bn.training
        and not is_parametrized(conv)
        and not any(has_hooks(layer) for layer in (conv, bn))
    )


def _follow(module: nn.Module, conv_name: str, bn_name: str) -> bool:
    """Return whether a module calls the two layers in turn, which names alone say of those that are no user's own."""
    forward = type(module).forward
    if forward is nn.Module.forward or 'forward' in vars(module):  # a container, whose owner calls the layers
        return False
    return not is_own(forward) or passes_to(module, conv_name, bn_name)


def _pairs(module: nn.Module) -> Iterator[tuple[str, str]]:
    """Yield the names of pairs of children that may be a convolution and its normalisation."""
    names = [name for name, _ in module.named_children()]
    if isinstance(module, nn.Sequential):  # whatever their names
        yield from zip(names, names[1:], strict=False)
        return
    for name in names:
        partner = name.replace('conv', 'bn', 1)
        if name.startswith('conv') and partner in names:
            yield name, partner
