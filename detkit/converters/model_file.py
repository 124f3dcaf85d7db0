"""``ModelFile``: the whole model in a YOLO project's ``.pt`` file, read without running anything.

The YOLO projects pickle the model itself: a sequence of layers, each of which names the layers that it takes.
``TorchArchive`` reads such a file as inert stand-ins, among which the model is found here, compared with the family's,
and its attributes and class names are read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from reprlib import repr as short_repr
from typing import Any

from torch import Tensor

from detkit.converters.inert_pickle import StandIn, TensorRef, TorchArchive
from detkit.utils.errors import CheckpointError
from detkit.utils.limits import MAX_PIXELS
from detkit.utils.printable import one_line

# A layer's class, and the layers that it takes (-1: the one before).
Layer = tuple[str, int | list[int]]
STRIDES = [8, 16, 32]
_MOST_MODULES = 10_000
_LONGEST_LINE = 200  # of a version and a licence
# Attributes that decide the outputs but do not show in shapes.
_ATTRIBUTES = {'Upsample': {'scale_factor': 2, 'mode': 'nearest'}, 'Concat': {'d': 1}}


class ModelFile:
    """The model in an open file, and its comparison with that of a family.

    Args:
        archive: the open file.
        family: its name, such as 'YOLOv8'.
        writer: the project that writes such files.

    Attributes:
        entry: the entry that holds the model: the averaged one, 'ema', where there are two.
        model: the model.

    Raises:
        CheckpointError: the file holds no model.
    """

    def __init__(self, archive: TorchArchive, family: str, writer: str) -> None:
        self.path, self.family = archive.path, family
        self.entry, self.model = _find_model(
            archive.content, self.path, f"files of {writer} hold the whole model under 'ema' or 'model'"
        )
        self._archive = archive
        self._changed = f'{self.path} is a {self.family} changed in a way that detkit does not have'

    def layers(self) -> list[StandIn]:
        """Return the layers that the model runs one after the other; the last is the head."""
        layers = [layer for name, part in _children(self.model) if name == 'model' for _, layer in _children(part)]
        if not layers:
            raise CheckpointError(
                f'{self.path} holds a {self.model.kind}, which is not a sequence of layers as {self.family} is.'
            )
        return layers

    def check_layers(self, expected: Sequence[Layer], heads: str) -> None:
        """Compare the layers with those of the family.

        Args:
            expected: the family's layers.
            heads: the names of the heads that are known, for the error.

        Raises:
            CheckpointError: names the first one that differs.
        """
        layers, family = self.layers(), self.family
        described = self.model.get('yaml')
        name = text_or_empty(described.get('yaml_file')) if isinstance(described, dict) else ''
        made = f' made from {name}' if name else ''
        what = f'{self.path} holds a {self.model.kind}{made}, but no {family} that detkit has'
        for number, (layer, (kind, source)) in enumerate(zip(layers, expected, strict=False)):
            taken = layer.get('f', -1)
            taken = list(taken) if isinstance(taken, list | tuple) else taken
            if layer.kind != kind:
                known = heads if number == len(expected) - 1 else kind
                raise CheckpointError(f'{what}: layer {number} is a {layer.kind}, where {family} has {known}.')
            if taken != source:
                raise CheckpointError(
                    f'{what}: layer {number} ({kind}) takes layer {short_repr(taken)}, where {family} takes {source}.'
                )
        if len(layers) != len(expected):
            raise CheckpointError(f'{what}: it has {len(layers)} layers, where {family} has {len(expected)}.')

    def check_attributes(
        self, attributes: Mapping[str, Mapping[str, Any]], shortcut_layers: Sequence[int], linear: str = r'(?!)'
    ) -> float:
        """Compare the attributes that decide a model's outputs but do not show in its shapes.

        Args:
            attributes: the values of a module's attributes, by the name of its class or of the module. A version that
                lacks an attribute behaves as with this value.
            shortcut_layers: the layers whose bottlenecks add their input.
            linear: a regular expression of the names of the convolutions without an activation.

        Returns:
            The epsilon of the batch normalisations.

        Raises:
            CheckpointError: names the first one that differs.
        """
        epsilons, tensors = set(), self.tensors()
        for name, module in self._walk():
            expected = {
                **_ATTRIBUTES.get(module.kind, {}),
                **attributes.get(module.kind, {}),
                **attributes.get(name, {}),
            }
            if module.kind == 'Bottleneck':
                expected['add'] = name.split('.')[1] in map(str, shortcut_layers)
            for attribute, value in expected.items():
                stated = module.get(attribute, value)
                if stated != value:
                    raise CheckpointError(
                        f'{self._changed}: {name} ({module.kind}) has {attribute} {short_repr(stated)}, where '
                        f'{self.family} has {value}.'
                    )
            activation = dict(_children(module)).get('act') if module.kind in ('Conv', 'DWConv') else None
            usual = 'Identity' if re.fullmatch(linear, name) else 'SiLU'
            if activation is not None and activation.kind != usual:
                raise CheckpointError(
                    f'{self._changed}: {name} has the activation {activation.kind}, where {self.family} has {usual}.'
                )
            if module.kind == 'Attention':
                weight = tensors.get(f'{name}.proj.conv.weight')
                heads, usual_heads = module.get('num_heads'), max(weight.size[0] // 64, 1) if weight else None
                if heads != usual_heads:
                    raise CheckpointError(
                        f'{self._changed}: {name} has {short_repr(heads)} heads, where {self.family} has {usual_heads}.'
                    )
            if module.kind == 'BatchNorm2d':
                epsilons.add(module.get('eps', 1e-5))
        if not epsilons:
            raise CheckpointError(
                f'{self.path} was saved after its batch normalisations had been folded into the convolutions '
                '(by fuse() or an export); give the file that training wrote.'
            )
        if len(epsilons) > 1 or not isinstance(epsilon := epsilons.pop(), float):
            raise CheckpointError(f'{self._changed}: its batch normalisations differ in eps.')
        return epsilon

    def activation(self, name: str) -> str | None:
        """Return the class of a convolution's activation, None where there is no such convolution."""
        for found, module in self._walk():
            if found == f'{name}.act':
                return module.kind
        return None

    def tensor(self, attribute: str) -> Tensor | None:
        """Return a tensor that is an attribute of the model, None where there is none of that name."""
        value = self.model.get(attribute)
        return self._archive.read(value) if isinstance(value, TensorRef) else None

    def check_strides(self, expected: Sequence[int] = STRIDES) -> None:
        """Compare the strides that the model states, if it does."""
        stride = self.model.get('stride')
        if isinstance(stride, TensorRef) and (strides := self._archive.read(stride).tolist()) != list(expected):
            raise CheckpointError(
                f'{self._changed}: its strides are {strides}, where {self.family} has {list(expected)}.'
            )

    def description(self) -> dict[str, Any]:
        """Return the attributes of ``PickledModel`` that every file states in the same way."""
        return dict(
            classes=self._classes(),
            path=self.path,
            tensors=self.tensors(),
            factors=self._factors(),
            entry=self.entry,
        )

    def _classes(self) -> tuple[str, ...]:
        """Return the class names by label, as many as the head has."""
        names = self.model.get('names')
        if isinstance(names, dict):  # by label, which a data.yaml may have in quotes
            by_label = {str(label): name for label, name in names.items()}
            if by_label.keys() == set(map(str, range(len(names)))):
                names = [by_label[str(label)] for label in range(len(names))]
        if not isinstance(names, list | tuple) or not names or not all(isinstance(name, str | int) for name in names):
            raise CheckpointError(
                f"{self.path} states no class names (its model's 'names' is {short_repr(names)}); set them, and save "
                'it again.'
            )
        num_classes = self.layers()[-1].get('nc', len(names))
        if num_classes != len(names):
            raise CheckpointError(
                f'{self.path} names {len(names)} classes, but its head has {short_repr(num_classes)}; give the file '
                'that training wrote.'
            )
        return tuple(map(str, names))

    def tensors(self) -> dict[str, TensorRef]:
        """Return parameters and buffers by name, as ``torch.nn.Module.state_dict``."""
        tensors = {}
        for prefix, module in self._walk():
            transient = module.get('_non_persistent_buffers_set') or ()
            for name, value in (*_table(module, '_parameters'), *_table(module, '_buffers')):
                if isinstance(value, TensorRef) and name not in transient:
                    tensors[f'{prefix}.{name}' if prefix else name] = value
        return tensors

    def _factors(self) -> tuple[float, float] | None:
        """Return the depth and width factors of the description that the model was made from, or None."""
        described = self.model.get('yaml')
        if not isinstance(described, dict):
            return None
        scales = described.get('scales')
        scale = scales.get(described.get('scale')) if isinstance(scales, dict) else None
        pair = scale[:2] if scale else (described.get('depth_multiple'), described.get('width_multiple'))
        return tuple(map(float, pair)) if all(isinstance(value, int | float) for value in pair) else None

    def img_size(self, entry: str) -> int | None:
        """Return the image size of the training arguments, which are in this entry of the file, or None."""
        arguments = self._archive.content.get(entry)
        size = arguments.get('imgsz') if isinstance(arguments, dict) else None
        size = max(size) if isinstance(size, list | tuple) and size else size
        is_size = isinstance(size, int) and size > 0 and size % 32 == 0 and size * size <= MAX_PIXELS
        return size if is_size else None

    def _walk(self) -> Iterator[tuple[str, StandIn]]:
        """Yield the model and all its parts with names, as ``torch.nn.Module.named_modules``, repeated ones too.

        Raises:
            CheckpointError: there are more of them than in any model, as of modules that hold themselves.
        """
        waiting, count = [('', self.model)], 0
        while waiting:
            prefix, module = waiting.pop()
            yield prefix, module
            children = [(f'{prefix}.{name}' if prefix else name, child) for name, child in _children(module)]
            waiting += reversed(children)
            count += 1
            if count + len(waiting) > _MOST_MODULES:
                raise CheckpointError(
                    f'{self.path} is damaged: it has more than {_MOST_MODULES:,} layers, or nests them endlessly; copy '
                    'the file again.'
                )

    def text(self, entry: str) -> str:
        """Return a line that the file holds beside the model, an empty one where there is none."""
        return one_line(text_or_empty(self._archive.content.get(entry))[:_LONGEST_LINE])


def _find_model(content: Any, path: Path, expected: str) -> tuple[str, StandIn]:
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


def _children(module: StandIn) -> Iterator[tuple[str, StandIn]]:
    for name, child in _table(module, '_modules'):
        if isinstance(child, StandIn):
            yield name, child


def _table(module: StandIn, name: str) -> list[tuple[str, Any]]:
    table = module.get(name)
    return [(str(key), value) for key, value in table.items()] if isinstance(table, dict) else []


def text_or_empty(value: Any) -> str:
    """Return a string, or an empty one for anything else."""
    return value if isinstance(value, str) else ''
