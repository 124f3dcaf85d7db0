"""Fitting a file's tensors to a model of detkit: its factors from the shapes, and the name of each tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from detkit.config import load_config
from detkit.converters.inert_pickle import TensorRef, TorchArchive
from detkit.models.layers import scale_blocks, scale_channels
from detkit.utils.errors import CheckpointError


@dataclass(frozen=True)
class Scale:
    """A model's size: its letter, or None for one of its own, and its factors."""

    letter: str | None
    deepen_factor: float
    widen_factor: float
    max_channels: int

    def variables(self, *names: str, default: str = 'n') -> dict[str, Any]:
        """Return the variables that give a family's config this size: ``size``, or ``names`` where it has no letter."""
        if self.letter is None:
            return {name: getattr(self, name) for name in names}
        return {} if self.letter == default else {'size': self.letter}


def size_table(file: Path) -> dict[str, tuple[float, ...]]:
    """Return the table ``sizes`` of a config's family.

    Raises:
        CheckpointError: the config is missing.
    """
    if not file.is_file():
        raise CheckpointError(f"{file} is missing, which describes the model; give the folder of detkit's configs.")
    return load_config(file, need_classes=False)['sizes']


def stage_shapes(
    tensors: Mapping[str, TensorRef], convs: Sequence[str], blocks: Sequence[str]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Channels after each of ``convs``, weights by name (0 where there is none), and repeats in each of ``blocks``."""
    widths = tuple(tensors[name].size[0] if name in tensors and tensors[name].size else 0 for name in convs)
    repeats = tuple(
        len({name[len(block) + 1 :].split('.')[0] for name in tensors if name.startswith(f'{block}.')})
        for block in blocks
    )
    return widths, repeats


def fit_scale(
    widths: tuple[int, ...],
    repeats: tuple[int, ...],
    known: Iterable[Scale],
    stage_channels: Sequence[int],
    stage_blocks: Sequence[int],
    stated: tuple[float, float] | None,
) -> Scale | None:
    """The factors that give these channels and repeats: those of a known size if one does; None where none do.

    Args:
        widths: channels of the stem and of each stage.
        repeats: of each stage's block.
        known: the sizes that have a letter.
        stage_channels, stage_blocks: both before the factors.
        stated: the factors that the file states.
    """
    scales = list(known)
    widen = widths[0] / stage_channels[0]
    pairs = [stated] if stated else []
    pairs += [(deepen, widen) for deepen in (*(scale.deepen_factor for scale in scales), repeats[1] / stage_blocks[1])]
    for deepen, widen in pairs:
        if widen > 0:
            scales.append(Scale(None, deepen, widen, max(round(widths[-1] / widen), 1)))
    for scale in scales:
        if (
            tuple(scale_channels(c, scale.widen_factor, scale.max_channels) for c in stage_channels) == widths
            and tuple(scale_blocks(n, scale.deepen_factor) for n in stage_blocks) == repeats
        ):
            return scale
    return None


def match_tensors(
    tensors: Mapping[str, TensorRef],
    expected: Mapping[str, Tensor],
    to_detkit: Callable[[str], str | None],
    to_theirs: Callable[[str], str],
    what: str,
    shape_of: Callable[[str], tuple[int, ...]] | None = None,
) -> dict[str, str]:
    """The file's name of each of detkit's parameters and buffers, in detkit's order.

    Args:
        tensors: of the file.
        expected: detkit's, of whose shapes they must be.
        to_detkit: detkit's name; None for a tensor that it has no need of; raises KeyError for an unknown one.
        to_theirs: its inverse.
        what: 'FILE does not fit THE MODEL', for the error.
        shape_of: the shape of a file's tensor once converted; by default as it is.

    Raises:
        CheckpointError: some are unknown, missing or of another shape; it lists them all.
    """

    def shape(name: str) -> tuple[int, ...]:
        return tuple(tensors[name].size) if shape_of is None else shape_of(name)

    names, unknown = {}, []
    for theirs in tensors:
        try:
            ours = to_detkit(theirs)
        except KeyError:
            unknown.append(theirs)
            continue
        if ours is not None and ours not in expected:
            unknown.append(theirs)
        elif ours is not None:
            names[ours] = theirs
    missing = [to_theirs(ours) for ours in expected if ours not in names]
    other = [
        f'{theirs} {tuple(tensors[theirs].size)} instead of {tuple(expected[ours].shape)}'
        for ours, theirs in names.items()
        if shape(theirs) != tuple(expected[ours].shape)
    ]
    kinds = (unknown, 'unknown'), (missing, 'missing'), (other, 'of another shape')
    problems = [f'{len(listed)} {kind}:\n  ' + '\n  '.join(listed) for listed, kind in kinds if listed]
    if problems:
        raise CheckpointError(f'{what} model of its size. Of its parameters are\n' + '\n'.join(problems))
    return {ours: names[ours] for ours in expected}


def read_tensors(
    archive: TorchArchive, tensors: Mapping[str, TensorRef], names: Mapping[str, str]
) -> tuple[dict[str, Tensor], str]:
    """The tensors under detkit's names, in single precision, and the precision of the file (half or single)."""
    state = {ours: archive.read(tensors[theirs]) for ours, theirs in names.items()}
    half = any(value.dtype in (torch.float16, torch.bfloat16) for value in state.values())
    state = {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
    return state, 'half' if half else 'single'
