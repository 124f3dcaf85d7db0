"""``UltralyticsModel``: a model of a family of ultralytics as a ``.pt`` file describes it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from detkit.converters.common import Description, KeyTable, set_classes, sizes_of
from detkit.converters.model_file import STRIDES, Layer, ModelFile
from detkit.converters.pickled_model import NORM_EPS, PickledModel, Scale, Stages
from detkit.converters.ultralytics_keys import (
    WORLD_LINEAR,
    WORLD_V1_DETECTOR,
    WORLD_V2_DETECTOR,
    YOLO11_CLASSIFIER,
    YOLO11_DETECTOR,
    YOLO11_LINEAR,
    YOLO11_STAGES,
    YOLOV8_CLASSIFIER,
    YOLOV8_DETECTOR,
    YOLOV8_KEYS,
    YOLOV8_STAGES,
    YOLOV10_CHOICES,
    YOLOV10_DETECTOR,
    YOLOV10_LINEAR,
    YOLOV10_STAGES,
    world_keys,
    yolo11_keys,
    yolo26_keys,
    yolov10_keys,
)
from detkit.structures.keypoints import COCO_KEYPOINTS, fill_metainfo
from detkit.utils.errors import CheckpointError

DATASETS = {'det': 'coco', 'seg': 'coco', 'pose': 'coco', 'obb': 'dota', 'cls': 'imagenet'}
COCO_KEYPOINT_SHAPE = (17, 3)
TEXT_DIMS = 512

# The head's class says the task.
TASKS = {
    'Detect': 'det', 'Segment': 'seg', 'Segment26': 'seg', 'Pose': 'pose', 'Pose26': 'pose', 'OBB': 'obb',
    'OBB26': 'obb', 'Classify': 'cls', 'WorldDetect': 'det', 'v10Detect': 'det',
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class UltralyticsModel(PickledModel):
    """A YOLOv8 model as a file describes it; other families of ultralytics are subclasses.

    Attributes:
        folder: the folder of the family's configs.
        detector_layers: the layers before a detector's head.
        classifier_layers: all layers of a classifier.
        heads: the classes of a detector's head.
        strides: those of a detector's levels.
        attributes, shortcut_layers, linear: see ``ModelFile.check_attributes``.
        keypoint_shape: the number of keypoints and of values each, of a pose model.
        keypoint_names: the names of the keypoints, where the file states them.
        licence: what the file states about its licence.
    """

    writer = 'ultralytics'
    family = 'YOLOv8'
    folder: ClassVar[str] = 'yolov8'
    stages: ClassVar[Stages] = YOLOV8_STAGES
    detector_layers: ClassVar[tuple[Layer, ...]] = YOLOV8_DETECTOR
    classifier_layers: ClassVar[tuple[Layer, ...]] = YOLOV8_CLASSIFIER
    attributes: ClassVar[dict[str, dict[str, Any]]] = {
        'MaxPool2d': {'kernel_size': 5},
        'SPPF': {'n': 3, 'add': False},
    }
    shortcut_layers: ClassVar[tuple[int, ...]] = YOLOV8_STAGES.block_layers
    linear: ClassVar[str] = r'(?!)'
    heads: ClassVar[tuple[str, ...]] = ('Detect', 'Segment', 'Pose', 'OBB')
    strides: ClassVar[tuple[int, ...]] = tuple(STRIDES)

    keypoint_shape: tuple[int, int] | None = None
    keypoint_names: tuple[str, ...] | None = None
    licence: str = ''

    @property
    def config(self) -> str:
        return f'{self.folder}/{self.task}_{DATASETS[self.task]}.py'

    @property
    def keys(self) -> KeyTable:
        return YOLOV8_KEYS[self.task]

    @property
    def input_options(self) -> dict[str, Any]:
        # A classifier's images are resampled as torchvision does on both sides.
        return {} if self.task == 'cls' else super().input_options

    def describe(self, scale: Scale, file: Path) -> Description:
        config = self.load_config(scale, file)
        model, classes = config['model'], config.get('classes')
        as_is = copy.deepcopy(model)
        set_classes(config, self.classes)
        if self.task == 'pose':
            model['head']['keypoint_shape'] = self.keypoint_shape
        if self.task == 'cls':
            model['batch_norm']['eps'] = self.norm_eps
        elif self.norm_eps != NORM_EPS:
            raise CheckpointError(
                f'{self.path} has batch normalisations of eps {self.norm_eps:g}, where detectors of {self.family} have '
                f'{NORM_EPS:g}; train it with that.'
            )
        differs = {
            'keypoints': self.task == 'pose' and self.keypoint_shape != COCO_KEYPOINT_SHAPE,
            'normalisation': model.get('batch_norm') != as_is.get('batch_norm'),
            'classes': len(self.classes) != as_is['head'].get('num_classes'),
        }
        differences = tuple(name for name, value in differs.items() if value)
        return Description(
            config, file, {**self.size_options(scale), **self.input_options}, differences, classes == self.classes
        )

    @classmethod
    def head_inputs(cls) -> list[int]:
        """Return the layers that a detector's head takes, fine to coarse."""
        last = len(cls.detector_layers) - 1
        return [last - 3 * level for level in reversed(range(len(cls.strides)))]

    @classmethod
    def layers_before_head(cls, file: ModelFile) -> tuple[Layer, ...]:
        """Return the layers before a detector's head; ``file`` decides where a family has a choice."""
        return cls.detector_layers

    @classmethod
    def read_layout(cls, file: ModelFile) -> dict[str, Any]:
        """Return what the family's layers say that other attributes do not."""
        return {}

    def meta(self) -> tuple[dict[str, Any], dict[str, Any]]:
        if self.keypoint_shape is None:
            return {'licence': self.licence}, {}
        count, names = self.keypoint_shape[0], self.keypoint_names
        if names is None and count == len(COCO_KEYPOINTS) and self.classes == ('person',):
            names = COCO_KEYPOINTS
        stated = {'keypoint_names': names if names and len(names) == count else None}
        return {'licence': self.licence}, fill_metainfo(stated, count, str(self.path))


@dataclass(frozen=True, kw_only=True)
class YOLO11Model(UltralyticsModel):
    """A YOLO11 as a file describes it.

    Attributes:
        inner: the inner block of the layers that have ``C3k`` in the larger sizes alone, see ``C3k2``.
        linear_pooling: whether the pyramid pooling's first convolution lacks its activation, as some releases write it.
    """

    family = 'YOLO11'
    folder = 'yolo11'
    stages = YOLO11_STAGES
    detector_layers = YOLO11_DETECTOR
    classifier_layers = YOLO11_CLASSIFIER
    shortcut_layers = (2, 4, 6, 8, 13, 16, 19, 22)
    linear = YOLO11_LINEAR

    inner: str = 'bottleneck'
    linear_pooling: bool = False

    @property
    def keys(self) -> KeyTable:
        return yolo11_keys(self.task, self.inner)

    @classmethod
    def read_layout(cls, file: ModelFile) -> dict[str, Any]:
        inner = 'c3k' if 'model.2.m.0.cv3.conv.weight' in file.tensors() else 'bottleneck'
        return dict(inner=inner, linear_pooling=file.activation('model.9.cv1') == 'Identity')

    def find_scale(self, file: Path) -> Scale:
        scale = super().find_scale(file)
        if scale.letter is not None and sizes_of(file)[scale.letter][3] != self.inner:
            scale = replace(scale, letter=None)
        return scale

    def size_options(self, scale: Scale) -> dict[str, Any]:
        return {**super().size_options(scale), **({} if scale.letter else {'inner': self.inner})}

    def describe(self, scale: Scale, file: Path) -> Description:
        description = super().describe(scale, file)
        if self.linear_pooling:
            description.config['model']['neck'][0]['linear_in'] = True
            description = replace(description, differences=(*description.differences, 'pooling'))
        return description


@dataclass(frozen=True, kw_only=True)
class YOLO26Model(YOLO11Model):
    """A YOLO26 as a file describes it; its pyramid pooling always lacks the activation."""

    family = 'YOLO26'
    folder = 'yolo26'
    attributes: ClassVar[dict[str, dict[str, Any]]] = {
        'MaxPool2d': {'kernel_size': 5},
        'SPPF': {'n': 3, 'add': True},
        **dict.fromkeys(('Detect', 'Segment26', 'Pose26', 'OBB26'), {'reg_max': 1}),
    }
    linear = rf'{YOLO11_LINEAR}|model\.9\.cv1'
    heads = ('Detect', 'Segment26', 'Pose26', 'OBB26')

    @property
    def keys(self) -> KeyTable:
        return yolo26_keys(self.task, self.inner)

    @classmethod
    def read_layout(cls, file: ModelFile) -> dict[str, Any]:
        _check_one_to_one(file)
        return {**super().read_layout(file), 'linear_pooling': False}


@dataclass(frozen=True, kw_only=True)
class YOLOv10Model(UltralyticsModel):
    """A YOLOv10 as a file describes it.

    Attributes:
        compact: the positions whose block is a ``C2fCIB``, as the config names them.
        large_kernel: whether these blocks have a large kernel.
    """

    family = 'YOLOv10'
    folder = 'yolov10'
    stages = YOLOV10_STAGES
    detector_layers = YOLOV10_DETECTOR
    attributes: ClassVar[dict[str, dict[str, Any]]] = {**UltralyticsModel.attributes, 'CIB': {'add': True}}
    linear = YOLOV10_LINEAR
    heads = ('v10Detect',)

    compact: tuple[str, ...]
    large_kernel: bool

    @property
    def keys(self) -> KeyTable:
        return yolov10_keys()

    @classmethod
    def layers_before_head(cls, file: ModelFile) -> tuple[Layer, ...]:
        chosen = _compact_layers(file)
        return tuple(
            ('C2fCIB', source) if number in chosen else (kind, source)
            for number, (kind, source) in enumerate(cls.detector_layers)
        )

    @classmethod
    def read_layout(cls, file: ModelFile) -> dict[str, Any]:
        _check_one_to_one(file)
        return dict(
            compact=tuple(YOLOV10_CHOICES[layer] for layer in _compact_layers(file)),
            large_kernel=any('.cv1.2.conv1.' in name for name in file.tensors()),
        )

    def find_scale(self, file: Path) -> Scale:
        scale = super().find_scale(file)
        if scale.letter and sizes_of(file)[scale.letter][3:] != (self.compact, self.large_kernel):
            scale = replace(scale, letter=None)
        return scale

    def size_options(self, scale: Scale) -> dict[str, Any]:
        own = {} if scale.letter else {'compact': self.compact, 'large_kernel': self.large_kernel}
        return {**super().size_options(scale), **own}


@dataclass(frozen=True, kw_only=True)
class WorldModel(UltralyticsModel):
    """A YOLO-World of the second version as a file describes it.

    Attributes:
        texts: ``(C, D)``, the embeddings of the classes' names.
        number: the version.
    """

    family = 'YOLO-World'
    folder = 'yolo_world'
    detector_layers = WORLD_V2_DETECTOR
    attributes: ClassVar[dict[str, dict[str, Any]]] = {
        **UltralyticsModel.attributes,
        'MaxSigmoidAttnBlock': {'scale': 1.0, 'ec': None},
        'ImagePoolingAttn': {'scale': 1.0, 'nh': 8, 'nf': 3},
    }
    linear = WORLD_LINEAR
    heads = ('WorldDetect',)
    number: ClassVar[int] = 2

    texts: Tensor

    @property
    def keys(self) -> KeyTable:
        return world_keys(self.number)

    @classmethod
    def read_layout(cls, file: ModelFile) -> dict[str, Any]:
        texts = file.tensor('txt_feats')
        texts = texts[0] if texts is not None and texts.ndim == 3 and len(texts) == 1 else texts
        texts = texts.float() if texts is not None and texts.is_floating_point() and texts.ndim == 2 else None
        if texts is None or not texts.isfinite().all() or not texts.any(1).all():
            raise CheckpointError(
                f"{file.path} has no embeddings of its classes' names (txt_feats), or some that are zero or not "
                'finite; set its classes, and save it again.'
            )
        return dict(texts=texts)

    def size_options(self, scale: Scale) -> dict[str, Any]:
        return {**scale.options('s'), **({'version': 1} if self.number == 1 else {})}

    def describe(self, scale: Scale, file: Path) -> Description:
        description = super().describe(scale, file)
        if len(self.texts) != len(self.classes):
            raise CheckpointError(
                f'{self.path} names {len(self.classes)} classes, but has {len(self.texts)} embeddings; set its classes '
                'anew, and save it again.'
            )
        if self.texts.shape[1] != TEXT_DIMS:
            raise CheckpointError(
                f'{self.path} has embeddings of {self.texts.shape[1]} numbers, where {self.family} has {TEXT_DIMS}; '
                "set its classes by CLIP's ViT-B/32, and save it again."
            )
        description.config['model']['classes'] = self.classes
        return description

    def match(self, expected: Mapping[str, Tensor]) -> dict[str, str]:
        return super().match({name: tensor for name, tensor in expected.items() if name != 'texts'})

    def convert(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        return {**state, 'texts': self.texts}


@dataclass(frozen=True, kw_only=True)
class FirstWorldModel(WorldModel):
    """A YOLO-World of the first version, with image pooling attention, as a file describes it."""

    detector_layers = WORLD_V1_DETECTOR
    number = 1

    @classmethod
    def head_inputs(cls) -> list[int]:
        return [15, 19, 22]


def _check_one_to_one(file: ModelFile) -> None:
    if not any('.one2one_' in name for name in file.tensors()):
        raise CheckpointError(
            f'{file.path} is a {file.family} that was trained without one-to-one branches (end2end=False), which '
            'detkit does not have; train it with them.'
        )


def _compact_layers(file: ModelFile) -> list[int]:
    """Return the layers of a YOLOv10 whose block is a ``C2fCIB``, where it may be one."""
    kinds = [layer.kind for layer in file.layers()]
    return [number for number in YOLOV10_CHOICES if number < len(kinds) and kinds[number] == 'C2fCIB']
