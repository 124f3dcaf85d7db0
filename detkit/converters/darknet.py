"""``convert_darknet``: a Darknet ``.weights`` file -> a detkit checkpoint, and back.

A ``.weights`` file is a short header, then every parameter as float32, layer after layer: for a convolution with
normalisation its biases, scales, running means, running variances and kernels; without, its biases and kernels. It
holds no names and no shapes; the number of its values is all that it says about its model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from detkit.converters.common import (
    Conversion,
    Description,
    read_names,
    resolve_config,
    set_classes,
    shown_classes,
)
from detkit.converters.darknet_layout import Layout, Section, compare_layers, format_cfg, parse_cfg
from detkit.converters.file_checks import check_paths, names_the_file
from detkit.inference.model import init_detector
from detkit.inference.steps import input_size
from detkit.models.layers import ConvModule
from detkit.registry import BACKBONES
from detkit.utils.errors import CheckpointError
from detkit.utils.files import replacing, write_text
from detkit.utils.torch_files import is_zip
from detkit.utils.without_memory import without_memory

# For each family: the value of its config's ``size``, and the image size of its published .cfg.
FAMILIES = {'YOLOv3': ('full', 608), 'YOLOv3-SPP': ('spp', 608), 'YOLOv3-tiny': ('tiny', 416)}
# The options that give images the input that Darknet gives them, and the thresholds of its ``detect``. Its letterbox is
# square, rounds down, and pads with a half of white.
INPUT_OPTIONS = {
    'prefilter_above': None,
    'align_corners': True,
    'pad_value': 127,
    'letterbox': dict(rounding='down', pad_to='size'),
    'rect': False,
    'predict_cfg.score_thr': 0.5,
    'predict_cfg.iou_thr': 0.45,
}
_BACKBONE = 'Darknet-53'
_MAX_CLASSES = 10_000  # more is a coincidence of the number of parameters, or a slip
Anchors = list[list[tuple[float, float]]]

# OpenCV adds this to a running variance. Darknet adds as much to its root, its later releases ten times as much.
DARKNET_EPS = 1e-6
_NORMALISED = ('bn.bias', 'bn.weight', 'bn.running_mean', 'bn.running_var', 'conv.weight')
_PLAIN = ('bias', 'weight')


def convert_darknet(
    source: str | Path,
    target: str | Path,
    configs: str | Path,
    cfg: str | Path | None = None,
    names: str | Path | None = None,
) -> list[str]:
    """Convert a file; its content decides the direction.

    Args:
        source: a ``.weights`` file of YOLOv3, YOLOv3-SPP or YOLOv3-tiny, or ``darknet53.conv.74``; or a checkpoint of
            detkit, of such a model.
        target: where the checkpoint goes; or the ``.weights`` file, beside which its ``.cfg`` and ``.names`` are
            written.
        configs: detkit's folder of that name, whose configs for YOLOv3 are the models' descriptions.
        cfg: the ``.cfg`` of a ``.weights`` file, whose layers are checked and whose anchors, classes and image size are
            taken; without it the model is recognised by its number of parameters.
        names: the class names of a ``.weights`` file, one a line.

    Returns:
        Lines for people: what was read and written, the config that fits, and how to go on.

    Raises:
        CheckpointError: a file is missing, damaged, or of another model.
    """
    source, target = Path(source), Path(target)
    back = is_zip(source)
    check_paths(source, target, ('.weights',) if back else ())
    if back:
        if cfg or names:
            raise CheckpointError(
                f'{source} is a checkpoint of detkit, which holds what a .cfg and a .names file say; '
                'they are written beside the .weights file.'
            )
        return export_darknet(source, target)
    return load_darknet(source, Path(configs), cfg and Path(cfg), names and Path(names)).save(target)


@names_the_file
def load_darknet(source: Path, configs: Path, cfg: Path | None = None, names: Path | None = None) -> Conversion:
    """``.weights`` -> checkpoint, which is not written; arguments and errors as of ``convert_darknet``."""
    header, values = read_stream(source)
    origin = {'file': source.name, 'project': 'Darknet', 'images_seen': header.seen}
    with without_memory():
        backbone = BACKBONES.build(dict(type='Darknet', depth=53))
    layers = Layout(backbone).layers
    if len(values) == count_numbers(layers, backbone.state_dict()):
        state = from_stream(values, layers, backbone.state_dict(), source, _BACKBONE)
        state = {f'backbone.{name}': tensor for name, tensor in state.items()}
        return Conversion(
            state,
            None,
            '',
            origin,
            report=(f'read     {source}: {_BACKBONE} without a head, {len(values):,} numbers',),
            advice=lambda target: [
                f'train    detkit train yolov3/det_coco --cfg-options model.backbone.weights={target}',
            ],
        )

    classes = read_names(names) if names else None
    name, family = _of_cfg(cfg, configs) if cfg else _of_count(len(values), source, configs)
    count = family.config['model']['head']['num_classes']
    if classes is not None and len(classes) != count:
        raise CheckpointError(
            f'{names} names {len(classes)} classes, but {cfg or source} has {count}; give the names of all of them '
            'with --names FILE, one a line'
        )
    as_published = tuple(family.config.get('classes') or ())
    if classes is None:
        classes = as_published if len(as_published) == count else tuple(f'class {i}' for i in range(count))
    set_classes(family.config, classes)
    model = family.model
    state = from_stream(values, Layout(model).layers, model.state_dict(), source, name)
    described = replace(family, same_classes=classes == as_published)
    return Conversion(
        state,
        family.config,
        f'configs/yolov3/{family.file.name}',
        origin,
        report=(
            f'read     {source}: {name}, {shown_classes(classes)}, {len(values):,} numbers, trained on '
            f'{header.seen:,} images',
        ),
        advice=lambda target: described.advice(target, 'det_custom.py'),
    )


@names_the_file
def export_darknet(source: Path, target: Path) -> list[str]:
    """Checkpoint -> ``.weights``, ``.cfg`` and ``.names``.

    Returns:
        Lines for people.

    Raises:
        CheckpointError: the checkpoint is damaged, or of a model that Darknet has no layers for; or another ``.cfg`` or
            ``.names`` is in the way.
    """
    model = init_detector(None, source, device='cpu', fuse=False)
    layout = Layout(model)
    eps = {name: module.bn.eps for name, module in model.named_modules() if isinstance(module, ConvModule)}
    values = to_stream(layout.layers, model.state_dict(), eps)
    size = input_size(model.info.config, False)
    net = Section('net', dict(width=str(size), height=str(size), channels=str(model.backbone.stem.conv.in_channels)))
    texts = {
        target.with_suffix('.cfg'): format_cfg([net, *layout.layers]),
        target.with_suffix('.names'): ''.join(f'{name}\n' for name in model.info.classes),
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        if path.exists() and (path == target or not path.is_file() or path.read_bytes() != text.encode()):
            raise CheckpointError(
                f'{path} is in the way: another file has the name of one that is to be written beside '
                f'{target}. Give another name.'
            )
    with replacing(target) as file:
        file.write(Header().to_bytes())
        file.write(memoryview(values).cast('B'))
    for path, text in texts.items():
        write_text(path, text)
    return [
        f'read     {source}: {shown_classes(model.info.classes)}',
        f'wrote    {target}: {len(values):,} numbers',
        *(f'wrote    {path}' for path in texts),
    ]


def _of_cfg(path: Path, configs: Path) -> tuple[str, Description]:
    """Return the family whose layers a ``.cfg`` has: its name and its config.

    Raises:
        CheckpointError: it is none of them; says where it departs from the nearest.
    """
    if not path.is_file():
        raise CheckpointError(f'{path} does not exist; give the path of a .cfg file.')
    net, sections = parse_cfg(path.read_text(encoding='utf-8-sig', errors='replace'), path)
    heads = [section for section in sections if section.kind == 'yolo']
    if not heads:
        raise CheckpointError(f'{path} has no [yolo] layer; what can be converted is {", ".join(FAMILIES)}.')
    num_classes = heads[0].number('classes', 20)
    if not 0 < num_classes <= _MAX_CLASSES:
        raise CheckpointError(f'{path} has {num_classes} classes; expected are 1 to {_MAX_CLASSES}.')
    anchors = [[*head.anchors()] for head in reversed(heads)]  # Darknet's order is coarse to fine
    size = net.number('width', 0)
    if size != net.number('height', 0):
        size = 0  # detkit's images are as large as its config says, so that a side of its own would be lost
    differing = []
    for name in FAMILIES:
        levels = 2 if name == 'YOLOv3-tiny' else 3
        if len(anchors) != levels:
            continue
        family = _family(name, configs, num_classes, anchors, size)
        agreeing, problem = compare_layers(sections, Layout(family.model).layers, path, name)
        if problem is None:
            return name, family
        differing.append((agreeing, problem))
    nearest = f' {max(differing)[1]}.' if differing else ''
    raise CheckpointError(f'{path} describes none of {", ".join(FAMILIES)}.{nearest}')


def _of_count(count: int, source: Path, configs: Path) -> tuple[str, Description]:
    """Return the only family that has this number of parameters for some number of classes: its name and its config.

    Raises:
        CheckpointError: none has as many, or several have.
    """
    fitting, published = [], []
    for name in FAMILIES:
        model = _family(name, configs, 1).model
        with_one_class = count_numbers(Layout(model).layers, model.state_dict())
        per_class = sum(param.numel() for param in model.head.parameters()) // 6  # x, y, w, h, objectness and a class
        more, rest = divmod(count - with_one_class, per_class)
        if rest == 0 and 0 <= more < _MAX_CLASSES:
            fitting.append((name, _family(name, configs, more + 1)))
        published.append(f'{name} {with_one_class + 79 * per_class:,}')
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise CheckpointError(
            f'{source} holds {count:,} numbers, as many as several models have '
            f'({", ".join(name for name, _ in fitting)}): give its .cfg file (--cfg).'
        )
    raise CheckpointError(
        f'{source} holds {count:,} numbers, which no model has, whatever its classes (with 80: '
        f'{", ".join(published)}). The file is truncated, or of another model.'
    )


def _family(
    name: str, configs: Path, num_classes: int, anchors: Anchors | None = None, img_size: int = 0
) -> Description:
    """Return the config of a family with other classes and anchors."""
    size, published_size = FAMILIES[name]
    file = configs / 'yolov3' / 'det_coco.py'
    options = {'size': size, **INPUT_OPTIONS}
    config = resolve_config(file, {**options, 'img_size': img_size or published_size})
    head = config['model']['head']
    differs = {
        'classes': head['num_classes'] != num_classes,
        'anchors': anchors is not None and not np.array_equal(anchors, head['anchors']),
    }
    head['num_classes'] = num_classes
    if differs['anchors']:
        head['anchors'] = anchors
    return Description(config, file, options, tuple(what for what, value in differs.items() if value))


@dataclass(frozen=True)
class Header:
    """The header of a ``.weights`` file: the version of its format, and the number of images trained on."""

    major: int = 0
    minor: int = 2
    revision: int = 5
    seen: int = 0

    @property
    def wide(self) -> bool:
        """Return whether ``seen`` takes eight bytes."""
        return self.major * 10 + self.minor >= 2 and self.major < 1000 and self.minor < 1000

    def to_bytes(self) -> bytes:
        version = np.array([self.major, self.minor, self.revision], '<i4').tobytes()
        return version + np.array([self.seen], '<i8' if self.wide else '<i4').tobytes()


def read_stream(path: str | Path) -> tuple[Header, np.ndarray]:
    """Read the header and the float32 numbers after it.

    Raises:
        CheckpointError: the file is missing, truncated, or something else.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f'{path} does not exist; give the path of a Darknet .weights file.')
    size = path.stat().st_size
    with open(path, 'rb') as file:
        version = file.read(12)
        if len(version) < 12 or version[:2] == b'PK':
            raise CheckpointError(
                f'{path} is no Darknet .weights file ({size} bytes, '
                f'{"a zip archive" if version[:2] == b"PK" else "no header"}).'
            )
        header = Header(*np.frombuffer(version, '<i4').tolist())
        width = 8 if header.wide else 4
        count, rest = divmod(size - 12 - width, 4)
        if not 0 <= header.major < 1000 or not 0 <= header.minor < 1000 or count <= 0 or rest:
            raise CheckpointError(
                f'{path} is no Darknet .weights file, or a truncated one: {size} bytes are not a '
                f'header of {12 + width} and whole numbers of 4.'
            )
        seen = int(np.frombuffer(file.read(width), f'<i{width}')[0])
        values = np.fromfile(file, '<f4')
    return Header(header.major, header.minor, header.revision, seen), values


def tensor_names(layers: Iterable[Section], names: Iterable[str]) -> list[tuple[Section, str]]:
    """Return each parameter in the stream's order, with its layer.

    Args:
        names: the names in detkit's state dict.
    """
    names = set(names)
    return [
        (layer, f'{layer.prefix}.{name}')
        for layer in layers
        if layer.prefix
        for name in (_NORMALISED if f'{layer.prefix}.bn.weight' in names else _PLAIN)
    ]


def count_numbers(layers: Iterable[Section], state: Mapping[str, Tensor]) -> int:
    """Return the count of numbers in the stream of a model with these tensors, which may be on the ``meta`` device."""
    return sum(state[name].numel() for _, name in tensor_names(layers, state))


def from_stream(
    values: np.ndarray, layers: Iterable[Section], shapes: Mapping[str, Tensor], source: str | Path, model: str
) -> dict[str, Tensor]:
    """Return a state dict from a stream.

    Args:
        values: the numbers that ``read_stream`` returns.
        layers: the layers of the model's ``Layout``.
        shapes: the model's state dict; only its shapes matter.
        source, model: names for messages.

    Raises:
        CheckpointError: the stream has more or fewer numbers, or numbers that cannot be this model's.
    """
    layers = list(layers)
    expected = count_numbers(layers, shapes)
    if len(values) != expected:
        raise CheckpointError(
            f'{source} holds {len(values):,} numbers, {model} takes {expected:,}: it is of another '
            f'model, or {"truncated" if len(values) < expected else "has something behind its end"}.'
        )
    state = {
        name: torch.zeros_like(tensor, device='cpu')
        for name, tensor in shapes.items()
        if name.endswith('num_batches_tracked')
    }
    start = 0
    for layer, name in tensor_names(layers, shapes):
        shape = shapes[name].shape
        tensor = torch.tensor(values[start : start + shape.numel()]).view(shape)
        start += shape.numel()
        if not torch.isfinite(tensor).all() or (name.endswith('running_var') and (tensor < 0).any()):
            raise CheckpointError(
                f'{source} is damaged or of another model: what would be {name} of {model} has '
                f'{"negative variances" if torch.isfinite(tensor).all() else "infinite numbers"}.'
            )
        state[name] = reverse_groups(tensor, layer.groups)
    return {name: state[name] for name in shapes}


def to_stream(layers: Iterable[Section], state: Mapping[str, Tensor], eps: Mapping[str, float]) -> np.ndarray:
    """Return the float32 stream of a state dict, the inverse of ``from_stream``.

    Args:
        eps: the epsilon of each normalised layer, by its prefix. Its difference to Darknet's is added to the running
            variance, so that both compute the same.
    """
    parts = []
    for layer, name in tensor_names(layers, state):
        tensor = state[name].float()
        if name.endswith('running_var') and eps[layer.prefix] != DARKNET_EPS:
            tensor = (tensor.double() + (eps[layer.prefix] - DARKNET_EPS)).clamp(min=0).float()
        parts.append(reverse_groups(tensor, layer.groups).flatten())
    return torch.cat(parts).numpy().astype('<f4', copy=False)


def reverse_groups(tensor: Tensor, groups: int) -> Tensor:
    """Return a kernel ``(out, in, k, k)`` with its ``groups`` equal parts of the input channels in reverse order.

    A tensor without input channels is returned as it is.
    """
    if groups == 1 or tensor.dim() < 4:
        return tensor
    return tensor.unflatten(1, (groups, -1)).flip(1).flatten(1, 2).contiguous()
