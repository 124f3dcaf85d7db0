"""Whether a network repeats its results, without which no exported file can have them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from detkit.models.detectors import BaseDetector

# Least difference, as a share of the largest value, that is no rounding.
_SHARE = 1e-4


@torch.no_grad()
def changing_part(model: BaseDetector, size: Sequence[int]) -> str | None:
    """Return the first part of a network whose results differ between two equal calls, with its class; None for none.

    Args:
        model: the detector, in evaluation mode.
        size: (h, w) of the image, whose pixels are drawn.
    """
    necks = {f'neck.{i}': neck for i, neck in enumerate(model.neck or ())}
    parts = {'backbone': model.backbone, **necks, 'head': model.head}
    found: dict[str, list[list[Tensor]]] = {name: [] for name in parts}
    param = next(model.parameters())
    image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0)).to(param)

    def keeping(name: str):
        def keep(module, inputs, outputs) -> None:
            found[name].append([leaf.clone() for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor)])

        return keep

    handles = [part.register_forward_hook(keeping(name)) for name, part in parts.items()]
    try:
        for _ in range(2):
            model(image, mode='tensor')
    finally:
        for handle in handles:
            handle.remove()
    for name, calls in found.items():
        if len(calls) == 2 and not all(map(_equal, *calls)):
            return f'{name} ({type(parts[name]).__name__})'
    return None


@torch.inference_mode()
def gives_numbers(model: BaseDetector, size: Sequence[int]) -> bool:
    """Return whether no output of a detector for noise of a size (h, w) holds NaN."""
    param = next(model.parameters())
    image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0)).to(param)
    leaves = [leaf for leaf in tree_leaves(model(image, mode='tensor')) if isinstance(leaf, Tensor)]
    return not any(bool(leaf.isnan().any()) for leaf in leaves)


def _equal(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape:
        return False
    one, other = one.double(), other.double()
    numbers = one[one.isfinite()]
    largest = numbers.abs().max().item() if numbers.numel() else 0.0
    return torch.allclose(one, other, rtol=0, atol=_SHARE * largest, equal_nan=True)
