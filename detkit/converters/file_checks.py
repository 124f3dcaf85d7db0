"""Checks that every converter makes of a file: its path, its tensors against those of a model, and what errors name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor

from detkit.converters.common import KeyTable
from detkit.engine.checkpoint import refuse_nan
from detkit.export.format import format_of
from detkit.utils.errors import CheckpointError, ConfigError
from detkit.utils.printable import printable

P, T = ParamSpec('P'), TypeVar('T')
# Suffixes by which commands recognise files that are no checkpoints, and what such files are.
_OTHER_SUFFIXES = {'.py': 'a config', '.weights': "Darknet's weights", '.safetensors': 'plain tensors'}


def names_the_file(convert: Callable[Concatenate[Any, P], T]) -> Callable[Concatenate[Any, P], T]:
    """Wrap a function whose first argument is the file to convert, so that every error names that file."""

    @wraps(convert)
    def wrapper(source: str | Path, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return convert(source, *args, **kwargs)
        except (CheckpointError, ConfigError) as error:
            if printable(str(source)) in str(error):
                raise
            raise CheckpointError(f'{source} cannot be converted: {error}') from error

    return wrapper


def check_paths(source: Path, target: Path, suffixes: Sequence[str] = ()) -> None:
    """Refuse to write over the file that is read, or under a name that other commands take for another kind of file.

    Args:
        source: the file to convert.
        target: the file to write.
        suffixes: those that its kind of file must have; by default, a checkpoint, any that no other kind has.

    Raises:
        CheckpointError: they are the same file, or the suffix is another kind's.
    """
    if target.exists() and source.exists() and target.samefile(source):
        raise CheckpointError(f'{target} is the file to be converted; give another name for the result.')
    fmt = format_of(target)
    other = f'files of {fmt.title}' if fmt else _OTHER_SUFFIXES.get(target.suffix.lower())
    if suffixes and not target.name.lower().endswith(tuple(suffixes)):
        raise CheckpointError(
            f"{target} would be a file that ends in {' or '.join(suffixes)}: write '{target.with_suffix(suffixes[0])}'."
        )
    if not suffixes and other:
        then = f', and export that with `detkit export --format {fmt.name}`' if fmt else ''
        raise CheckpointError(
            f'{target} would be a checkpoint, but its suffix is that of {other}: '
            f"write '{target.with_suffix('.pth')}'{then}."
        )


def match_tensors(
    shapes: Mapping[str, Sequence[int]], expected: Mapping[str, Tensor], keys: KeyTable, what: str
) -> dict[str, str]:
    """Return the file's name of each of detkit's parameters and buffers, in detkit's order.

    Args:
        shapes: the shape of each tensor of the file, as it is once converted.
        expected: detkit's state dict, whose shapes they must have.
        keys: the names on both sides.
        what: 'FILE does not fit THE MODEL', for the error.

    Raises:
        CheckpointError: some are unknown, missing or of another shape; it lists them all.
    """
    names, unknown = {}, []
    for theirs in shapes:
        try:
            ours = keys.to_detkit(theirs)
        except KeyError:
            ours = ''
        if ours in expected and ours not in names:
            names[ours] = theirs
        elif ours is not None:
            unknown.append(theirs)
    missing = [keys.to_theirs(ours) for ours in expected if ours not in names]
    other = [
        f'{theirs} {tuple(shapes[theirs])} instead of {tuple(expected[ours].shape)}'
        for ours, theirs in names.items()
        if tuple(shapes[theirs]) != tuple(expected[ours].shape)
    ]
    kinds = (unknown, 'unknown'), (missing, 'missing'), (other, 'of another shape')
    problems = [f'{len(listed)} {kind}:\n  ' + '\n  '.join(listed) for listed, kind in kinds if listed]
    if problems:
        raise CheckpointError(
            f'{what} model of its size. These of its parameters do not match:\n' + '\n'.join(problems)
        )
    return {ours: names[ours] for ours in expected}


def stored_state(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], source: Path) -> dict[str, Tensor]:
    """Return tensors as a checkpoint holds them, floats in single precision and whole numbers in 64 bits.

    Args:
        tensors: a file's, by detkit's names.
        expected: detkit's state dict; its order is that of the result.
        source: the file, for the error.

    Raises:
        CheckpointError: some are of another kind or shape than the model's, hold NaN, or numbers beyond single
            precision; it lists them all.
    """
    state, other = {}, []
    for name, wanted in expected.items():
        tensor = tensors[name]
        fits = tensor.is_floating_point() if wanted.is_floating_point() else not tensor.is_complex()
        state[name] = tensor.to(torch.float32 if wanted.is_floating_point() else torch.int64) if fits else tensor
        if not fits or tensor.shape != wanted.shape:
            other.append(f'{name} is {_kind(tensor)} instead of {_kind(wanted)}')
        elif tensor.dtype == torch.float64 and bool((state[name].isinf() & tensor.isfinite()).any()):
            other.append(f'{name} has numbers that single precision does not reach, {float(tensor.abs().max()):.3g}')
    if other:
        listed = '\n  '.join(other)
        raise CheckpointError(f'{source} holds {len(other)} tensors of another kind than its model:\n  {listed}')
    refuse_nan(state, str(source))
    return state


def _kind(tensor: Tensor) -> str:
    return f'{str(tensor.dtype).removeprefix("torch.")} {tuple(tensor.shape)}'
