"""``read_ultralytics``: what a YOLOv8 file of ultralytics holds, found out from its layer structure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as short_repr
from typing import Any

from detkit.converters.inert_pickle import StandIn, TensorRef, TorchArchive
from detkit.utils.errors import CheckpointError

# The head's class says the task.
TASKS = {'Detect': 'det', 'Segment': 'seg', 'Pose': 'pose', 'OBB': 'obb', 'Classify': 'cls'}

# Each layer's class, and the layers that it takes where that is not the one before.
_STAGES = (('Conv', -1), *(('Conv', -1), ('C2f', -1)) * 4)
_DETECTOR = (
    *_STAGES, ('SPPF', -1),
    ('Upsample', -1), ('Concat', [-1, 6]), ('C2f', -1), ('Upsample', -1), ('Concat', [-1, 4]), ('C2f', -1),
    ('Conv', -1), ('Concat', [-1, 12]), ('C2f', -1), ('Conv', -1), ('Concat', [-1, 9]), ('C2f', -1),
)  # fmt: skip
_HEAD_INPUTS = [15, 18, 21]
_STRIDES = [8, 16, 32]
_SHORTCUT_LAYERS = ('2', '4', '6', '8')  # the backbone's C2f

# What shapes do not show, though outputs depend on it. An attribute that a version lacks has this value in it.
_ATTRIBUTES = {
    'MaxPool2d': {'kernel_size': 5},
    'SPPF': {'n': 3, 'add': False},
    'Upsample': {'scale_factor': 2, 'mode': 'nearest'},
    'Concat': {'d': 1},
}


@dataclass(frozen=True)
class UltralyticsModel:
    """A YOLOv8 model as a file describes it.

    Attributes:
        task: 'det', 'seg', 'pose', 'obb' or 'cls'.
        classes: the names, by label.
        tensors: parameters and buffers by ultralytics' names, not yet read.
        factors: depth and width factors that the file states, or None.
        norm_eps: of the batch normalisations.
        keypoint_shape: number of keypoints and of values each, of a pose model.
        keypoint_names: the names of the keypoints, where the file tells them.
        img_size: that the model was trained at, where the file tells it.
        entry: which of the file's models it is, 'ema' or 'model'.
        version, licence: what the file says about its origin.
    """

    task: str
    classes: tuple[str, ...]
    tensors: dict[str, TensorRef]
    factors: tuple[float, float] | None
    norm_eps: float
    keypoint_shape: tuple[int, int] | None
    keypoint_names: tuple[str, ...] | None
    img_size: int | None
    entry: str
    version: str
    licence: str


def read_ultralytics(archive: TorchArchive) -> UltralyticsModel:
    """Find the model in an open file, and check that it is a YOLOv8 of one of the five tasks.

    Raises:
        CheckpointError: it is not.
    """
    content, path = archive.content, archive.path
    entry, model = _find_model(content, path)
    layers = _layers(model, path)
    task = _check_structure(layers, model, path)
    norm_eps = _check_attributes(model, path)
    if task != 'cls':
        _check_strides(archive, model)
    classes = _classes(model, path)
    head = layers[-1]
    num_classes = head.get('nc', len(classes))
    if num_classes != len(classes):
        raise CheckpointError(f'{path} names {len(classes)} classes, but its head has {num_classes}.')
    return UltralyticsModel(
        task, classes, dict(_tensors(model)), _factors(model.get('yaml')), norm_eps,
        _keypoint_shape(head, path) if task == 'pose' else None, _keypoint_names(model.get('kpt_names')),
        _img_size(content.get('train_args')), entry, _text(content.get('version')) or 'an unknown version',
        _text(content.get('license')))


def children(module: StandIn) -> Iterator[tuple[str, StandIn]]:
    """A module's named parts."""
    for name, child in _table(module, '_modules'):
        if isinstance(child, StandIn):
            yield name, child


def walk(module: StandIn, prefix: str = '', depth: int = 0) -> Iterator[tuple[str, StandIn]]:
    """A module and all its parts with their names, as ``torch.nn.Module.named_modules``, repeated ones too."""
    if depth > 20:
        raise CheckpointError('The file is damaged: its layers are nested without end.')
    yield prefix, module
    for name, child in children(module):
        yield from walk(child, f'{prefix}.{name}' if prefix else name, depth + 1)


def _table(module: StandIn, name: str) -> list[tuple[str, Any]]:
    table = module.get(name)
    return [(str(key), value) for key, value in table.items()] if isinstance(table, dict) else []


def _tensors(model: StandIn) -> Iterator[tuple[str, TensorRef]]:
    """As ``torch.nn.Module.state_dict``."""
    for prefix, module in walk(model):
        transient = module.get('_non_persistent_buffers_set') or ()
        for name, value in (*_table(module, '_parameters'), *_table(module, '_buffers')):
            if isinstance(value, TensorRef) and name not in transient:
                yield f'{prefix}.{name}' if prefix else name, value


def _find_model(content: Any, path: Path) -> tuple[str, StandIn]:
    expected = "ultralytics' own files hold the whole model under 'ema' or 'model'"
    if not isinstance(content, dict):
        held = content.kind if isinstance(content, StandIn) else type(content).__name__
        held = 'tensor' if isinstance(content, TensorRef) else held
        raise CheckpointError(f'{path} holds a {held} alone; {expected}.')
    if isinstance(content.get('meta'), dict) and 'state_dict' in content:
        raise CheckpointError(f"{path} holds 'meta' and 'state_dict': it is a checkpoint of detkit or of another "
                              f'toolbox on mmengine, no file of ultralytics; {expected}.')
    entry = 'ema' if content.get('ema') is not None else 'model'
    model = content.get(entry)
    if isinstance(model, StandIn):
        if not model.path.startswith('ultralytics.'):
            family = ' of the YOLOv5 repository or one of its descendants' if model.path.startswith('models.') else ''
            raise CheckpointError(f'{path} holds a {model.path}{family}, no YOLOv8 model of ultralytics.')
        return entry, model
    weights = content if model is None else model
    if isinstance(weights, dict) and weights and all(isinstance(value, TensorRef) for value in weights.values()):
        raise CheckpointError(f'{path} is a plain state dict: tensors without the layers, class names and task that '
                              f'the conversion needs; {expected}.')
    raise CheckpointError(f'{path} holds no model (its entries are {", ".join(map(str, content)) or "none"}); '
                          f'{expected}.')


def _layers(model: StandIn, path: Path) -> list[StandIn]:
    sequence = dict(children(model)).get('model')
    layers = [] if sequence is None else [layer for _, layer in children(sequence)]
    if not layers:
        raise CheckpointError(f'{path} holds a {model.kind}, which is not a sequence of layers as YOLOv8 is.')
    return layers


def _check_structure(layers: list[StandIn], model: StandIn, path: Path) -> str:
    """The task, if the layers are those of YOLOv8."""
    head = layers[-1].kind
    expected = _STAGES if head == 'Classify' else _DETECTOR
    expected = (*expected, (head if head in TASKS else 'Detect', -1 if head == 'Classify' else _HEAD_INPUTS))
    described = model.get('yaml')
    name = _text(described.get('yaml_file')) if isinstance(described, dict) else ''
    what = f'{path} holds a {model.kind}' + (f' made from {name}' if name else '') + ', but no YOLOv8 that detkit has'
    for number, (layer, (kind, source)) in enumerate(zip(layers, expected, strict=False)):
        found = layer.get('f', -1)
        found = list(found) if isinstance(found, list | tuple) else found
        if layer.kind != kind:
            known = 'Detect, Segment, Pose, OBB or Classify' if number == len(expected) - 1 else kind
            raise CheckpointError(f'{what}: layer {number} is a {layer.kind}, where YOLOv8 has {known}.')
        if found != source:
            raise CheckpointError(f'{what}: layer {number} ({kind}) takes layer {found}, where YOLOv8 takes {source}.')
    if len(layers) != len(expected):
        raise CheckpointError(f'{what}: it has {len(layers)} layers, where YOLOv8 has {len(expected)}.')
    return TASKS[head]


def _check_attributes(model: StandIn, path: Path) -> float:
    """The batch normalisations' epsilon, if all that shapes do not show is as in YOLOv8."""
    epsilons = set()
    for name, module in walk(model):
        expected = dict(_ATTRIBUTES.get(module.kind, {}))
        if module.kind == 'Bottleneck':
            expected['add'] = name.split('.')[1] in _SHORTCUT_LAYERS
        for attribute, value in expected.items():
            found = module.get(attribute, value)
            if found != value:
                raise CheckpointError(f'{path} is a YOLOv8 changed in a way that detkit does not have: {name} '
                                      f'({module.kind}) has {attribute} {found}, where YOLOv8 has {value}.')
        if module.kind == 'Conv':
            activation = dict(children(module)).get('act')
            if activation is not None and activation.kind != 'SiLU':
                raise CheckpointError(f'{path} is a YOLOv8 changed in a way that detkit does not have: {name} has the '
                                      f'activation {activation.kind}, where YOLOv8 has SiLU.')
        if module.kind == 'BatchNorm2d':
            epsilons.add(module.get('eps', 1e-5))
    if not epsilons:
        raise CheckpointError(f'{path} was saved after its batch normalisations had been folded into the convolutions '
                              '(by fuse() or an export); give the file that training wrote.')
    if len(epsilons) > 1 or not isinstance(epsilon := epsilons.pop(), float):
        raise CheckpointError(f'{path} is a YOLOv8 changed in a way that detkit does not have: its batch '
                              'normalisations differ in eps.')
    return epsilon


def _check_strides(archive: TorchArchive, model: StandIn) -> None:
    stride = model.get('stride')
    if isinstance(stride, TensorRef) and archive.read(stride).tolist() != _STRIDES:
        raise CheckpointError(f'{archive.path} is a YOLOv8 changed in a way that detkit does not have: its strides are '
                              f'{archive.read(stride).tolist()}, where YOLOv8 has {_STRIDES}.')


def _classes(model: StandIn, path: Path) -> tuple[str, ...]:
    names = model.get('names')
    if isinstance(names, dict) and set(names) == set(range(len(names))):
        names = [names[label] for label in range(len(names))]
    if not isinstance(names, list | tuple) or not names or not all(isinstance(name, str | int) for name in names):
        raise CheckpointError(f"{path} states no class names (its model's 'names' is {short_repr(names)}).")
    return tuple(map(str, names))


def _factors(described: Any) -> tuple[float, float] | None:
    """Depth and width factor, from the description that the model was made from."""
    if not isinstance(described, dict):
        return None
    scales = described.get('scales')
    scale = scales.get(described.get('scale')) if isinstance(scales, dict) else None
    pair = scale[:2] if scale else (described.get('depth_multiple'), described.get('width_multiple'))
    return tuple(map(float, pair)) if all(isinstance(value, int | float) for value in pair) else None


def _keypoint_shape(head: StandIn, path: Path) -> tuple[int, int]:
    shape = head.get('kpt_shape')
    if not (isinstance(shape, list | tuple) and len(shape) == 2 and all(isinstance(value, int) for value in shape)
            and shape[0] > 0 and shape[1] in (2, 3)):
        raise CheckpointError(f'{path} has keypoints of shape {short_repr(shape)}; expected their number, and 2 or 3 '
                              'values each.')
    return shape[0], shape[1]


def _keypoint_names(names: Any) -> tuple[str, ...] | None:
    """From a list, or a table of lists by class of which the first counts."""
    if isinstance(names, dict) and names:
        names = names[min(names)]
    return tuple(map(str, names)) if isinstance(names, list | tuple) else None


def _img_size(arguments: Any) -> int | None:
    size = arguments.get('imgsz') if isinstance(arguments, dict) else None
    size = max(size) if isinstance(size, list | tuple) and size else size
    return size if isinstance(size, int) and size > 0 and size % 32 == 0 else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ''
