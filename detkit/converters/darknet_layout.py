"""Darknet's description of a model: the sections of a ``.cfg`` file, one a layer, and the layers of detkit's models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from detkit.models.backbones import Darknet
from detkit.models.backbones.darknet import SameMaxPool
from detkit.models.detectors import BaseDetector
from detkit.models.heads import YOLOv3Head
from detkit.models.layers import Bottleneck, ConvModule
from detkit.models.necks import SPP, YOLOv3Neck
from detkit.utils.errors import CheckpointError

LEAKY_SLOPE = 0.1
_MOST = 1e9  # No whole number of a layer is larger.
_ACTIVATIONS = {nn.Identity: 'linear', nn.ReLU: 'relu', nn.SiLU: 'swish', nn.Mish: 'mish'}


@dataclass(frozen=True)
class Section:
    """A section of a ``.cfg``: a layer, or the ``net`` that comes first.

    Attributes:
        kind: the name in brackets, such as ``convolutional``.
        options: the values by key, as written.
        index: the layer's index, from 0.
        where: the line in the file, for messages.
        prefix: the prefix of the layer's parameters in detkit's state dict; '' where it has none.
        groups: the number of equal parts of its input channels, whose order is the reverse of detkit's.
    """

    kind: str
    options: dict[str, str]
    index: int = -1
    where: str = ''
    prefix: str = ''
    groups: int = 1

    def text(self, key: str, default: str) -> str:
        return self.options.get(key, default)

    def number(self, key: str, default: int) -> int:
        return self.numbers(key, str(default))[0]

    def numbers(self, key: str, default: str = '') -> tuple[int, ...]:
        """Return whole numbers; Darknet drops the digits after a decimal point."""
        values = self.floats(key, default)
        if not all(abs(value) < _MOST for value in values):  # also of NaN
            raise CheckpointError(f'{self.where}: {key} is {self.text(key, default)[:80]!r}, which is out of range')
        return tuple(map(int, values))

    def floats(self, key: str, default: str = '') -> tuple[float, ...]:
        text = self.text(key, default)
        try:
            values = tuple(float(item) for item in text.replace(',', ' ').split())
        except ValueError:
            values = ()
        if not values:
            raise CheckpointError(f'{self.where}: {key} is {text[:80]!r}, where numbers are expected')
        return values

    def layers(self, key: str) -> tuple[int, ...]:
        """Return indices from 0 of other layers, which a file may count backwards from this one."""
        return tuple(value if value >= 0 else self.index + value for value in self.numbers(key))

    def facts(self) -> dict[str, object]:
        """Return the options that decide the layer's output, in one form for the several spellings of a ``.cfg``.

        The other options of a ``.cfg`` concern training. Indices of other layers are counted from 0.

        Raises:
            CheckpointError: an option is no number where there should be one.
        """
        if self.kind == 'convolutional':
            size = self.number('size', 1)
            return dict(
                batch_normalize=self.number('batch_normalize', 0),
                filters=self.number('filters', 1),
                size=size,
                stride=self.number('stride', 1),
                padding=size // 2 if self.number('pad', 0) else self.number('padding', 0),
                groups=self.number('groups', 1),
                dilation=self.number('dilation', 1),
                activation=self.text('activation', 'logistic'),
            )
        if self.kind == 'shortcut':
            return {'from': self.layers('from'), 'activation': self.text('activation', 'linear')}
        if self.kind == 'route':
            return dict(layers=self.layers('layers'), groups=self.number('groups', 1))
        if self.kind == 'upsample':
            return dict(stride=self.number('stride', 2), scale=self.floats('scale', '1')[0])
        if self.kind == 'maxpool':
            stride = self.number('stride', 1)
            size = self.number('size', stride)
            return dict(size=size, stride=stride, padding=self.number('padding', size - 1))
        if self.kind == 'yolo':
            return dict(
                anchors=self.anchors(),
                classes=self.number('classes', 20),
                scale_x_y=self.floats('scale_x_y', '1')[0],
                new_coords=self.number('new_coords', 0),
            )
        return {}

    def anchors(self) -> tuple[tuple[float, float], ...]:
        """Return the anchors (width, height) in pixels of a ``yolo`` layer, its mask applied.

        Raises:
            CheckpointError: the mask names one that is not there.
        """
        values = self.floats('anchors')
        shapes = tuple(zip(values[::2], values[1::2], strict=False))
        mask = self.numbers('mask', ','.join(map(str, range(len(shapes)))))
        if not all(0 <= i < len(shapes) for i in mask):
            raise CheckpointError(f'{self.where}: mask is {mask}, but there are {len(shapes)} anchors')
        return tuple(shapes[i] for i in mask)


def parse_cfg(text: str, source: str | Path) -> tuple[Section, list[Section]]:
    """Return the ``net`` section, and the layers in their order.

    Raises:
        CheckpointError: the text is no ``.cfg``; says which line.
    """
    sections: list[Section] = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.split('#')[0].split(';')[0].strip()
        if not line:
            continue
        key, equals, value = (part.strip() for part in line.partition('='))
        if line.startswith('[') and line.endswith(']'):
            kind, index = line[1:-1].strip().lower(), len(sections) - 1
            sections.append(Section(kind, {}, index, f'{source}, line {number} ([{kind}], layer {index})'))
        elif sections and equals and key:
            sections[-1].options[key] = value
        else:
            raise CheckpointError(
                f'{source}, line {number}: {raw.strip()[:80]!r} is neither a [section] nor key=value; is '
                'this the .cfg of a Darknet model?'
            )
    if not sections or sections[0].kind not in ('net', 'network'):
        raise CheckpointError(f'{source} does not begin with [net]; it is no .cfg of a Darknet model.')
    return sections[0], sections[1:]


def format_cfg(sections: Sequence[Section]) -> str:
    """Return the text of a ``.cfg`` file."""
    blocks = (
        '\n'.join((f'[{section.kind}]', *(f'{key}={value}' for key, value in section.options.items())))
        for section in sections
    )
    return '\n\n'.join(blocks) + '\n'


class Layout:
    """The layers of a backbone or a whole detector.

    Args:
        model: a ``Darknet``, or a detector of ``Darknet``, ``YOLOv3Neck`` and ``YOLOv3Head``.

    Raises:
        CheckpointError: it has a part that Darknet has no layer for.
    """

    def __init__(self, model: nn.Module) -> None:
        self.layers: list[Section] = []
        if isinstance(model, Darknet):
            self._backbone(model, '')
            return
        necks = list(model.neck or ()) if isinstance(model, BaseDetector) else []
        parts = [model.backbone, *necks, model.head] if isinstance(model, BaseDetector) else [model]
        kinds = [type(part) for part in parts]
        if kinds != [Darknet, YOLOv3Neck, YOLOv3Head]:
            names = ', '.join(kind.__name__ for kind in kinds)
            raise CheckpointError(
                f'Darknet has no layers for {names}; what can be converted is Darknet with YOLOv3Neck and YOLOv3Head.'
            )
        outputs = self._backbone(model.backbone, 'backbone.')
        self._levels(necks[0], model.head, [outputs[i] for i in model.backbone.out_indices])

    def _add(self, kind: str, prefix: str = '', groups: int = 1, **options: object) -> int:
        """Append a layer and return its index."""
        text = {
            key.rstrip('_'): ','.join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
            for key, value in options.items()
        }
        self.layers.append(Section(kind, text, len(self.layers), prefix=prefix, groups=groups))
        return len(self.layers) - 1

    def _conv(self, module: ConvModule, prefix: str, groups: int = 1) -> int:
        conv = module.conv
        size, stride = conv.kernel_size[0], conv.stride[0]
        return self._add(
            'convolutional',
            prefix,
            groups,
            batch_normalize=1,
            filters=conv.out_channels,
            size=size,
            stride=stride,
            pad=1,
            activation=activation_name(module.act),
        )

    def _backbone(self, backbone: Darknet, prefix: str) -> list[int]:
        """Append the backbone; return the index of the last layer of the stem and of each stage."""
        outputs = [self._conv(backbone.stem, f'{prefix}stem')]
        for number, stage in enumerate(backbone.stages):
            for index, part in enumerate(stage):
                name = f'{prefix}stages.{number}.{index}'
                if isinstance(part, ConvModule):
                    self._conv(part, name)
                elif isinstance(part, Bottleneck):
                    self._conv(part.conv1, f'{name}.conv1')
                    self._conv(part.conv2, f'{name}.conv2')
                    self._add('shortcut', from_=len(self.layers) - 3, activation='linear')
                else:
                    self._add('maxpool', size=2, stride=1 if isinstance(part, SameMaxPool) else 2)
            outputs.append(len(self.layers) - 1)
        return outputs

    def _levels(self, neck: YOLOv3Neck, head: YOLOv3Head, feats: Sequence[int]) -> None:
        """Append neck and head level by level, coarse to fine.

        Args:
            feats: the index of the layer of each of the backbone's feature maps, fine to coarse.
        """
        anchors = head.prior_generator.anchors
        flat = ', '.join(f'{width:g},{height:g}' for level in anchors for width, height in level)
        for level in reversed(range(len(feats))):
            for index, part in enumerate(neck.sets[level]):
                name = f'neck.0.sets.{level}.{index}'
                if isinstance(part, SPP):
                    self._spp(part, name)
                elif isinstance(part, ConvModule):
                    self._conv(part, name)
                else:
                    raise CheckpointError(f'Darknet has no layers for {type(part).__name__} ({name}).')
            end_of_set = len(self.layers) - 1
            self._conv(neck.out_convs[level], f'neck.0.out_convs.{level}')
            conv = head.convs[level]
            self._add(
                'convolutional',
                f'head.convs.{level}',
                filters=conv.out_channels,
                size=1,
                stride=1,
                pad=1,
                activation='linear',
            )
            shapes = len(anchors[level])
            mask = [level * shapes + i for i in range(shapes)]
            self._add('yolo', mask=mask, anchors=flat, classes=head.num_classes, num=shapes * len(anchors))
            if level > 0:
                self._add('route', layers=[end_of_set])
                self._conv(neck.up_convs[level - 1], f'neck.0.up_convs.{level - 1}')
                up = self._add('upsample', stride=2)
                self._add('route', layers=[up, feats[level - 1]])

    def _spp(self, spp: SPP, prefix: str) -> None:
        """Append pools side by side, concatenated from the largest to the input: detkit's order reversed."""
        parts = [self._conv(spp.in_conv, f'{prefix}.in_conv')]
        for size in spp.kernel_sizes:
            if len(parts) > 1:
                self._add('route', layers=[parts[0]])
            parts.append(self._add('maxpool', size=size, stride=1))
        self._add('route', layers=parts[::-1])
        self._conv(spp.out_conv, f'{prefix}.out_conv', groups=len(parts))


def activation_name(act: nn.Module) -> str:
    """Return Darknet's name of an activation.

    Raises:
        CheckpointError: it has none.
    """
    if isinstance(act, nn.LeakyReLU) and act.negative_slope == LEAKY_SLOPE:
        return 'leaky'
    if type(act) not in _ACTIVATIONS:
        raise CheckpointError(
            f'Darknet has no activation {act}; it has LeakyReLU({LEAKY_SLOPE}) and '
            f'{", ".join(kind.__name__ for kind in _ACTIVATIONS)}.'
        )
    return _ACTIVATIONS[type(act)]


def compare_layers(
    sections: Sequence[Section], expected: Sequence[Section], source: str | Path, model: str
) -> tuple[int, str | None]:
    """Compare the layers of a file with those of a model.

    Returns:
        The number of layers before the first that differs, and a sentence about that one; None where all agree.
    """
    for index, (section, other) in enumerate(zip(sections, expected, strict=False)):
        if section.kind != other.kind:
            return index, f'{section.where}: {model} has [{other.kind}] there'
        facts, wanted = section.facts(), other.facts()
        for key, value in facts.items():
            if value != wanted[key]:
                return index, f'{section.where}: {key} is {_shown(value)}, where {model} has {_shown(wanted[key])}'
    if len(sections) != len(expected):
        return min(len(sections), len(expected)), f'{source} has {len(sections)} layers, {model} has {len(expected)}'
    return len(sections), None


def _shown(value: object) -> str:
    return ', '.join(map(str, value)) if isinstance(value, tuple) else str(value)
