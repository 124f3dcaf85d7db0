"""Whole YOLO models in ``.pt`` files: their layers, attributes and class names, read without running anything.

The YOLO projects pickle the model itself: a sequence of layers, each of which names the layers that it takes.
``TorchArchive`` reads such a file as inert stand-ins; this module finds the model among them, compares it with the
family's, and finds the factors that give its size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as short_repr
from typing import Any

import torch
from torch import Tensor

from detkit.config import load_config
from detkit.converters.inert_pickle import StandIn, TensorRef, TorchArchive
from detkit.models.layers import scale_blocks, scale_channels
from detkit.utils.errors import CheckpointError

# A layer's class, and the layers that it takes (-1: the one before).
Layer = tuple[str, int | list[int]]
# Channels of the stem and of each stage, before the width factor.
_STAGE_CHANNELS = (64, 128, 256, 512, 1024)


@dataclass(frozen=True, kw_only=True)
class PickledModel:
    """A YOLO model as a file describes it.

    Attributes:
        classes: the names, by label.
        tensors: parameters and buffers by the project's names, not yet read.
        factors: depth and width factors that the file states, or None.
        norm_eps: the epsilon of the batch normalisations.
        img_size: the size that the model was trained at, where the file states it.
        entry: the entry of the file that holds the model, 'ema' or 'model'.
        version: the project's release, as far as it is known.
    """

    classes: tuple[str, ...]
    tensors: dict[str, TensorRef]
    factors: tuple[float, float] | None = None
    norm_eps: float = 1e-3
    img_size: int | None = None
    entry: str = 'model'
    version: str = ''


@dataclass(frozen=True)
class Scale:
    """A model's size: its letter, or None for one of its own, and its factors."""

    letter: str | None
    deepen_factor: float
    widen_factor: float
    max_channels: int = 1024

    def options(self, default: str = 'n') -> dict[str, Any]:
        """Return the variables that give a family's config this size: ``size``, or the factors without a letter."""
        if self.letter is None:
            return {name: getattr(self, name) for name in ('deepen_factor', 'widen_factor', 'max_channels')}
        return {} if self.letter == default else {'size': self.letter}

    def fits(self, widths: tuple[int, ...], repeats: tuple[int, ...], stage_blocks: Sequence[int]) -> bool:
        """Return whether these factors give the channels and repeats of a file."""
        return (
            tuple(scale_channels(c, self.widen_factor, self.max_channels) for c in _STAGE_CHANNELS) == widths
            and tuple(scale_blocks(n, self.deepen_factor) for n in stage_blocks) == repeats
        )


def find_scale(
    found: PickledModel,
    sizes: Mapping[str, Sequence[float]],
    family: str,
    source: Path,
    stem: str,
    block_layers: Sequence[int],
    stage_blocks: Sequence[int],
) -> Scale:
    """Return the factors that give the file's channels and repeats; those of a size with a letter, if one fits.

    Args:
        sizes: the factors of ``Scale`` by letter.
        family: its name, for the error.
        stem: the name of the first convolution's weight.
        block_layers: the layer of each stage's repeated block.
        stage_blocks: the repeats of each stage, before the depth factor.

    Raises:
        CheckpointError: no factors do.
    """
    weights = [stem, *(f'model.{layer}.conv.weight' for layer in (1, 3, 5, 7))]
    widths = tuple(found.tensors[name].size[0] if name in found.tensors else 0 for name in weights)
    blocks = [f'model.{layer}.m.' for layer in block_layers]
    repeats = tuple(
        len({name[len(block) :].split('.')[0] for name in found.tensors if name.startswith(block)}) for block in blocks
    )
    scales = [Scale(letter, *factors) for letter, factors in sizes.items()]
    widen = widths[0] / _STAGE_CHANNELS[0]
    pairs = [found.factors] if found.factors else []
    pairs += [(deepen, widen) for deepen in (*(scale.deepen_factor for scale in scales), repeats[1] / stage_blocks[1])]
    for deepen, widen in pairs:
        if widen > 0:
            scales.append(Scale(None, deepen, widen, max(round(widths[-1] / widen), 1)))
    for scale in scales:
        if scale.fits(widths, repeats, stage_blocks):
            return scale
    raise CheckpointError(
        f'{source} is a {family} with {widths} channels and {repeats} repeats of its stages, which no depth and width '
        'factors give.'
    )


def load_sized(file: Path, scale: Scale, img_size: int | None) -> dict[str, Any]:
    """Return a family's config in a size, resolved; ``img_size`` where the file states one."""
    return load_config(file, {**scale.options(), **({'img_size': img_size} if img_size else {})}).to_dict()


def read_tensors(
    archive: TorchArchive, tensors: Mapping[str, TensorRef], names: Mapping[str, str]
) -> tuple[dict[str, Tensor], str]:
    """Read the tensors under detkit's names, in single precision; also return the file's precision (half or single)."""
    state = {ours: archive.read(tensors[theirs]) for ours, theirs in names.items()}
    half = any(value.dtype in (torch.float16, torch.bfloat16) for value in state.values())
    state = {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
    return state, 'half' if half else 'single'


def shapes_of(tensors: Mapping[str, TensorRef]) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor of a file."""
    return {name: tuple(ref.size) for name, ref in tensors.items()}


def find_model(content: Any, path: Path, expected: str) -> tuple[str, StandIn]:
    """Return the entry that holds the model, and the model: the averaged one, 'ema', where there are two.

    Args:
        content: the file's content.
        expected: a sentence on what the project's own files hold, for errors.

    Raises:
        CheckpointError: there is none.
    """
    if not isinstance(content, dict):
        held = content.kind if isinstance(content, StandIn) else type(content).__name__
        held = 'tensor' if isinstance(content, TensorRef) else held
        raise CheckpointError(f'{path} holds a {held} alone; {expected}.')
    if isinstance(content.get('meta'), dict) and 'state_dict' in content:
        raise CheckpointError(
            f"{path} holds 'meta' and 'state_dict': it is a checkpoint of detkit or of another "
            f'toolbox on mmengine; {expected}.'
        )
    entry = 'ema' if content.get('ema') is not None else 'model'
    model = content.get(entry)
    if isinstance(model, StandIn):
        return entry, model
    weights = content if model is None else model
    if isinstance(weights, dict) and weights and all(isinstance(value, TensorRef) for value in weights.values()):
        raise CheckpointError(
            f'{path} is a plain state dict: tensors without the layers, class names and task that '
            f'the conversion needs; {expected}.'
        )
    raise CheckpointError(
        f'{path} holds no model (its entries are {", ".join(map(str, content)) or "none"}); {expected}.'
    )


def children(module: StandIn) -> Iterator[tuple[str, StandIn]]:
    """Yield a module's named parts."""
    for name, child in _table(module, '_modules'):
        if isinstance(child, StandIn):
            yield name, child


def walk(module: StandIn, prefix: str = '', depth: int = 0) -> Iterator[tuple[str, StandIn]]:
    """Yield a module and all its parts with their names, as ``torch.nn.Module.named_modules``, repeated ones too."""
    if depth > 20:
        raise CheckpointError('The file is damaged: its layers are nested without end.')
    yield prefix, module
    for name, child in children(module):
        yield from walk(child, f'{prefix}.{name}' if prefix else name, depth + 1)


def tensors_of(model: StandIn) -> Iterator[tuple[str, TensorRef]]:
    """Yield parameters and buffers by name, as ``torch.nn.Module.state_dict``."""
    for prefix, module in walk(model):
        transient = module.get('_non_persistent_buffers_set') or ()
        for name, value in (*_table(module, '_parameters'), *_table(module, '_buffers')):
            if isinstance(value, TensorRef) and name not in transient:
                yield f'{prefix}.{name}' if prefix else name, value


def _table(module: StandIn, name: str) -> list[tuple[str, Any]]:
    table = module.get(name)
    return [(str(key), value) for key, value in table.items()] if isinstance(table, dict) else []


def layers_of(model: StandIn, path: Path, family: str) -> list[StandIn]:
    """Return the layers that the model runs one after the other."""
    sequence = dict(children(model)).get('model')
    layers = [] if sequence is None else [layer for _, layer in children(sequence)]
    if not layers:
        raise CheckpointError(f'{path} holds a {model.kind}, which is not a sequence of layers as {family} is.')
    return layers


def check_layers(
    layers: Sequence[StandIn], expected: Sequence[Layer], model: StandIn, path: Path, family: str, heads: str
) -> None:
    """Compare the layers with those of the family, the last of which is the head.

    Args:
        heads: the names of the heads that are known, for the error.

    Raises:
        CheckpointError: names the first one that differs.
    """
    described = model.get('yaml')
    name = text_or_empty(described.get('yaml_file')) if isinstance(described, dict) else ''
    made = f' made from {name}' if name else ''
    what = f'{path} holds a {model.kind}{made}, but no {family} that detkit has'
    for number, (layer, (kind, source)) in enumerate(zip(layers, expected, strict=False)):
        found = layer.get('f', -1)
        found = list(found) if isinstance(found, list | tuple) else found
        if layer.kind != kind:
            known = heads if number == len(expected) - 1 else kind
            raise CheckpointError(f'{what}: layer {number} is a {layer.kind}, where {family} has {known}.')
        if found != source:
            raise CheckpointError(
                f'{what}: layer {number} ({kind}) takes layer {found}, where {family} takes {source}.'
            )
    if len(layers) != len(expected):
        raise CheckpointError(f'{what}: it has {len(layers)} layers, where {family} has {len(expected)}.')


def check_attributes(
    model: StandIn, path: Path, family: str, attributes: Mapping[str, Mapping[str, Any]], shortcut_layers: Sequence[str]
) -> float:
    """Compare the attributes that decide a model's outputs but do not show in its shapes.

    Args:
        attributes: the values of a module's attributes, by the name of its class or of the module. A version that
            lacks an attribute behaves as with this value.
        shortcut_layers: the numbers of the layers whose bottlenecks add their input.

    Returns:
        The epsilon of the batch normalisations.

    Raises:
        CheckpointError: names the first one that differs.
    """
    changed = f'{path} is a {family} changed in a way that detkit does not have'
    epsilons = set()
    for name, module in walk(model):
        expected = {**attributes.get(module.kind, {}), **attributes.get(name, {})}
        if module.kind == 'Bottleneck':
            expected['add'] = name.split('.')[1] in shortcut_layers
        for attribute, value in expected.items():
            found = module.get(attribute, value)
            if found != value:
                raise CheckpointError(
                    f'{changed}: {name} ({module.kind}) has {attribute} {found}, where {family} has {value}.'
                )
        if module.kind == 'Conv':
            activation = dict(children(module)).get('act')
            if activation is not None and activation.kind != 'SiLU':
                raise CheckpointError(
                    f'{changed}: {name} has the activation {activation.kind}, where {family} has SiLU.'
                )
        if module.kind == 'BatchNorm2d':
            epsilons.add(module.get('eps', 1e-5))
    if not epsilons:
        raise CheckpointError(
            f'{path} was saved after its batch normalisations had been folded into the convolutions '
            '(by fuse() or an export); give the file that training wrote.'
        )
    if len(epsilons) > 1 or not isinstance(epsilon := epsilons.pop(), float):
        raise CheckpointError(f'{changed}: its batch normalisations differ in eps.')
    return epsilon


def check_strides(archive: TorchArchive, model: StandIn, family: str, expected: list[int]) -> None:
    """Compare the strides that the model states, if it does."""
    stride = model.get('stride')
    if isinstance(stride, TensorRef) and (found := archive.read(stride).tolist()) != expected:
        raise CheckpointError(
            f'{archive.path} is a {family} changed in a way that detkit does not have: its strides '
            f'are {found}, where {family} has {expected}.'
        )


def class_names(model: StandIn, head: StandIn, path: Path) -> tuple[str, ...]:
    """Return the class names by label, as many as the head has."""
    names = model.get('names')
    if isinstance(names, dict) and set(names) == set(range(len(names))):
        names = [names[label] for label in range(len(names))]
    if not isinstance(names, list | tuple) or not names or not all(isinstance(name, str | int) for name in names):
        raise CheckpointError(f"{path} states no class names (its model's 'names' is {short_repr(names)}).")
    num_classes = head.get('nc', len(names))
    if num_classes != len(names):
        raise CheckpointError(f'{path} names {len(names)} classes, but its head has {num_classes}.')
    return tuple(map(str, names))


def stated_factors(described: Any) -> tuple[float, float] | None:
    """Return the depth and width factors of the description that the model was made from, or None."""
    if not isinstance(described, dict):
        return None
    scales = described.get('scales')
    scale = scales.get(described.get('scale')) if isinstance(scales, dict) else None
    pair = scale[:2] if scale else (described.get('depth_multiple'), described.get('width_multiple'))
    return tuple(map(float, pair)) if all(isinstance(value, int | float) for value in pair) else None


def stated_img_size(arguments: Any) -> int | None:
    """Return the image size of the training arguments, or None."""
    size = arguments.get('imgsz') if isinstance(arguments, dict) else None
    size = max(size) if isinstance(size, list | tuple) and size else size
    return size if isinstance(size, int) and size > 0 and size % 32 == 0 else None


def text_or_empty(value: Any) -> str:
    """Return a string, or an empty one for anything else."""
    return value if isinstance(value, str) else ''
