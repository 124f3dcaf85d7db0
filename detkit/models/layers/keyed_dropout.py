"""Dropout whose draws depend on the image's position in the step, and on nothing that a process is alone with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detkit.utils.rng import keyed_rng

from .norm_silu import has_hooks


class _StepDraws:
    """Draws the masks and the noise of a training step, one after the other.

    Args:
        seed, iteration: the key of the step.
        first: position in the step's global batch of the first image of this process.
    """

    def __init__(self, seed: int, iteration: int, first: int) -> None:
        self.key = int(keyed_rng(seed, iteration).integers(2**62))
        self.first = first
        self.num_draws = 0
        self.generators: dict[torch.device, torch.Generator] = {}

    def mask(self, x: Tensor, p: float) -> Tensor:
        """Return a bool mask of the shape of ``x``, ``(B, ...)``, that is True with probability ``p``."""
        mask = torch.empty(x.shape, dtype=torch.bool, device=x.device)
        for row, generator in self._rows(mask):
            row.bernoulli_(p, generator=generator)
        return mask

    def uniform(self, shape: Sequence[int], like: Tensor) -> Tensor:
        """Return numbers in [0, 1) of a shape ``(B, ...)``, of the type and device of ``like``."""
        numbers = like.new_empty(shape)
        for row, generator in self._rows(numbers):
            row.uniform_(generator=generator)
        return numbers

    def _rows(self, drawn: Tensor) -> Iterator[tuple[Tensor, torch.Generator]]:
        """Yield each image's row of ``drawn``, with the generator that fills it."""
        generator = self.generators.setdefault(drawn.device, torch.Generator(drawn.device))
        for position, row in enumerate(drawn, self.first):
            yield row, generator.manual_seed(_mixed(self.key, self.num_draws, position))
        self.num_draws += 1


_draws: _StepDraws | None = None


@contextmanager
def keyed_dropout(seed: int, iteration: int, first: int = 0) -> Iterator[None]:
    """Key all draws of ``KeyedDropout``, ``dropout`` and ``keyed_uniform`` inside the block, one training step.

    A draw depends on the seed, the iteration, how many there were before it in this step, and the image's position in
    the batch of all processes. So N processes drop what one process with all their images does.

    Args:
        seed: the run's.
        iteration: number of batches before this one.
        first: position in the batch of all processes of the first image of this one.
    """
    global _draws
    before, _draws = _draws, _StepDraws(seed, iteration, first)
    try:
        yield
    finally:
        _draws = before


def draws_are_keyed() -> bool:
    """Return whether the code runs inside ``keyed_dropout``."""
    return _draws is not None


def dropout(x: Tensor, p: float) -> Tensor:
    """Zero elements of ``x``, ``(B, ...)``, with probability ``p``, and scale the others by ``1 / (1 - p)``.

    Outside ``keyed_dropout`` the draws are those of PyTorch's global generator.
    """
    if p == 0:
        return x
    if _draws is None:
        return F.dropout(x, p)
    # A mask of booleans takes a quarter of the memory that the factors would until the gradient is computed.
    return x.masked_fill(_draws.mask(x, p), 0).mul_(1 / (1 - p))


def keyed_uniform(shape: Sequence[int], like: Tensor) -> Tensor:
    """Return random numbers in [0, 1) of a shape ``(B, ...)``, of the type and device of ``like``.

    Outside ``keyed_dropout`` they are those of PyTorch's global generator.
    """
    return (
        torch.rand(tuple(shape), dtype=like.dtype, device=like.device)
        if _draws is None
        else _draws.uniform(shape, like)
    )


class KeyedDropout(nn.Module):
    """``nn.Dropout`` with keyed draws, see ``keyed_dropout``; the first axis of its input must be the images.

    Args:
        p: share of elements that training leaves out, in [0, 1).
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f'KeyedDropout: p must be in [0, 1), found {p}')
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return dropout(x, self.p) if self.training else x

    def extra_repr(self) -> str:
        return f'p={self.p}'


def drops_nothing(layer: nn.Module) -> bool:
    """Return whether a call of a layer gives its input back, and nobody looks at it."""
    return type(layer) is KeyedDropout and not (layer.training and layer.p) and not has_hooks(layer)


def _mixed(*numbers: int) -> int:
    """Return 32 bits that depend on all numbers (the finaliser of SplitMix64): a CPU's generator takes no more."""
    state = 0
    for number in numbers:
        state = (state + number + 0x9E3779B97F4A7C15) % 2**64
        state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB % 2**64
        state ^= state >> 31
    return state >> 32
