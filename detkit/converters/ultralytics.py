"""``convert_ultralytics``: a YOLOv8 ``.pt`` file of ultralytics -> a detkit checkpoint."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as short_repr
from typing import Any, ClassVar

from detkit.converters.common import Description, KeyTable, Rows, set_classes
from detkit.converters.inert_pickle import StandIn, TorchArchive
from detkit.converters.model_file import ModelFile
from detkit.converters.pickled_model import NORM_EPS, PickledModel, Scale, Stages, convert_pickled
from detkit.structures.keypoints import COCO_KEYPOINTS, fill_metainfo
from detkit.utils.errors import CheckpointError

DATASETS = {'det': 'coco', 'seg': 'coco', 'pose': 'coco', 'obb': 'dota', 'cls': 'imagenet'}
COCO_KEYPOINT_SHAPE = (17, 3)

# The head's class says the task.
TASKS = {'Detect': 'det', 'Segment': 'seg', 'Pose': 'pose', 'OBB': 'obb', 'Classify': 'cls'}

# Each layer's class and its input layers; -1 is the layer before.
_STAGE_LAYERS = (('Conv', -1), *(('Conv', -1), ('C2f', -1)) * 4)
_DETECTOR_LAYERS = (
    *_STAGE_LAYERS, ('SPPF', -1),
    ('Upsample', -1), ('Concat', [-1, 6]), ('C2f', -1), ('Upsample', -1), ('Concat', [-1, 4]), ('C2f', -1),
    ('Conv', -1), ('Concat', [-1, 12]), ('C2f', -1), ('Conv', -1), ('Concat', [-1, 9]), ('C2f', -1),
)  # fmt: skip
_HEAD_INPUTS = [15, 18, 21]
_STAGES = Stages('model.0.conv.weight', block_layers=(2, 4, 6, 8), stage_blocks=(3, 6, 6, 3))
# Attributes that decide the outputs but do not show in shapes.
_ATTRIBUTES = {'MaxPool2d': {'kernel_size': 5}, 'SPPF': {'n': 3, 'add': False}}


@dataclass(frozen=True, kw_only=True)
class UltralyticsModel(PickledModel):
    """A YOLOv8 model as a file describes it.

    Attributes:
        keypoint_shape: the number of keypoints and of values each, of a pose model.
        keypoint_names: the names of the keypoints, where the file states them.
        licence: what the file states about its licence.
    """

    writer = 'ultralytics'
    family = 'YOLOv8'
    stages: ClassVar[Stages] = _STAGES

    keypoint_shape: tuple[int, int] | None = None
    keypoint_names: tuple[str, ...] | None = None
    licence: str = ''

    @property
    def config(self) -> str:
        return f'yolov8/{self.task}_{DATASETS[self.task]}.py'

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
                f'The batch normalisations have eps {self.norm_eps:g}, where detectors of YOLOv8 have {NORM_EPS:g}.'
            )
        differs = {
            'keypoints': self.task == 'pose' and self.keypoint_shape != COCO_KEYPOINT_SHAPE,
            'normalisation': model.get('batch_norm') != as_is.get('batch_norm'),
            'classes': len(self.classes) != as_is['head'].get('num_classes'),
        }
        differences = tuple(name for name, value in differs.items() if value)
        return Description(
            config, file, {**scale.options(), **self.input_options}, differences, classes == self.classes
        )

    def meta(self) -> tuple[dict[str, Any], dict[str, Any]]:
        if self.keypoint_shape is None:
            return {'licence': self.licence}, {}
        count, names = self.keypoint_shape[0], self.keypoint_names
        if names is None and count == len(COCO_KEYPOINTS) and self.classes == ('person',):
            names = COCO_KEYPOINTS
        stated = {'keypoint_names': names if names and len(names) == count else None}
        return {'licence': self.licence}, fill_metainfo(stated, count, 'the file')


def convert_ultralytics(source: str | Path, target: str | Path, configs: str | Path) -> list[str]:
    """Convert a file that ultralytics wrote, of a YOLOv8 of any task and size, see ``convert_pickled``."""
    return convert_pickled(source, target, configs, read_ultralytics)


def read_ultralytics(archive: TorchArchive) -> UltralyticsModel:
    """Find the model in an open file, and check that it is a YOLOv8 of one of the five tasks.

    Raises:
        CheckpointError: it is not.
    """
    file = ModelFile(archive, 'YOLOv8', 'ultralytics')
    path, model = file.path, file.model
    if not model.path.startswith('ultralytics.'):
        family = ' of the YOLOv5 repository or one of its descendants' if 'models.yolo.' in model.path else ''
        hint = " (YOLOv5's files: detkit convert yolov5)" if family else ''
        raise CheckpointError(f'{path} holds a {model.path}{family}, no YOLOv8 model of ultralytics{hint}.')
    head = file.layers()[-1]
    if head.kind == 'Classify':
        expected = (*_STAGE_LAYERS, ('Classify', -1))
    else:
        expected = (*_DETECTOR_LAYERS, (head.kind if head.kind in TASKS else 'Detect', _HEAD_INPUTS))
    file.check_layers(expected, 'Detect, Segment, Pose, OBB or Classify')
    norm_eps = file.check_attributes(_ATTRIBUTES, _STAGES.block_layers)
    task = TASKS[head.kind]
    if task != 'cls':
        file.check_strides()
    return UltralyticsModel(
        task=task,
        norm_eps=norm_eps,
        keypoint_shape=_keypoint_shape(head, path) if task == 'pose' else None,
        keypoint_names=_keypoint_names(model.get('kpt_names')),
        img_size=file.img_size('train_args'),
        version=file.text('version') or 'an unknown version',
        licence=file.text('license'),
        **file.description(),
    )


def _keypoint_shape(head: StandIn, path: Path) -> tuple[int, int]:
    shape = head.get('kpt_shape')
    if not (
        isinstance(shape, list | tuple)
        and len(shape) == 2
        and all(isinstance(value, int) for value in shape)
        and shape[0] > 0
        and shape[1] in (2, 3)
    ):
        raise CheckpointError(
            f'{path} has keypoints of shape {short_repr(shape)}; expected their number, and 2 or 3 values each.'
        )
    return shape[0], shape[1]


def _keypoint_names(names: Any) -> tuple[str, ...] | None:
    """Return the keypoint names of a list, or of the first class in a table of lists."""
    if isinstance(names, dict) and names:
        names = names[min(names)]
    return tuple(map(str, names)) if isinstance(names, list | tuple) else None


# Names of parameters. A table serves all sizes, which differ in widths and repeats only.


def _c2f(theirs: str, ours: str) -> Rows:
    return (
        (f'{theirs}.cv1', f'{ours}.in_conv'),
        (f'{theirs}.cv2', f'{ours}.out_conv'),
        (f'{theirs}.m.{{}}.cv{{}}', f'{ours}.blocks.{{}}.conv{{}}'),
    )


_STAGE_KEYS: Rows = (
    ('model.0', 'backbone.stem'),
    ('model.1', 'backbone.stages.0.0'),
    ('model.3', 'backbone.stages.1.0'),
    ('model.5', 'backbone.stages.2.0'),
    ('model.7', 'backbone.stages.3.0'),
    *_c2f('model.2', 'backbone.stages.0.1'),
    *_c2f('model.4', 'backbone.stages.1.1'),
    *_c2f('model.6', 'backbone.stages.2.1'),
    *_c2f('model.8', 'backbone.stages.3.1'),
)

_DETECTOR_KEYS: Rows = (
    *_STAGE_KEYS,
    ('model.9.cv1', 'neck.0.in_conv'),
    ('model.9.cv2', 'neck.0.out_conv'),
    ('model.16', 'neck.1.down_convs.0'),
    ('model.19', 'neck.1.down_convs.1'),
    *_c2f('model.12', 'neck.1.up_blocks.1'),
    *_c2f('model.15', 'neck.1.up_blocks.0'),
    *_c2f('model.18', 'neck.1.down_blocks.0'),
    *_c2f('model.21', 'neck.1.down_blocks.1'),
    ('model.22.cv2.{}.{}', 'head.bbox_branches.{}.{}'),
    ('model.22.cv3.{}.{}', 'head.cls_branches.{}.{}'),
)

_DFL = r'model\.22\.dfl\.'  # the fixed weights of its integral, which detkit computes without parameters

YOLOV8_KEYS: dict[str, KeyTable] = {
    'det': KeyTable(_DETECTOR_KEYS, _DFL),
    'seg': KeyTable(
        (
            *_DETECTOR_KEYS,
            ('model.22.cv4.{}.{}', 'head.coeff_branches.{}.{}'),
            ('model.22.proto.cv1', 'head.proto.conv1'),
            ('model.22.proto.upsample', 'head.proto.upsample'),
            ('model.22.proto.cv2', 'head.proto.conv2'),
            ('model.22.proto.cv3', 'head.proto.conv3'),
        ),
        _DFL,
    ),
    'pose': KeyTable((*_DETECTOR_KEYS, ('model.22.cv4.{}.{}', 'head.keypoint_branches.{}.{}')), _DFL),
    'obb': KeyTable((*_DETECTOR_KEYS, ('model.22.cv4.{}.{}', 'head.angle_branches.{}.{}')), _DFL),
    'cls': KeyTable((*_STAGE_KEYS, ('model.9.conv', 'head.conv'), ('model.9.linear', 'head.fc_cls'))),
}
