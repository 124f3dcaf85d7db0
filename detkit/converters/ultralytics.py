"""``convert_ultralytics``: a YOLOv8, YOLOv10, YOLO11, YOLO26 or YOLO-World ``.pt`` file -> a detkit checkpoint."""

from __future__ import annotations

from pathlib import Path
from reprlib import repr as short_repr
from typing import Any

from detkit.converters.inert_pickle import StandIn, TorchArchive
from detkit.converters.model_file import ModelFile
from detkit.converters.pickled_model import convert_pickled
from detkit.converters.ultralytics_levels import YOLO26P2Model, YOLO26P6Model, YOLOv8P2Model, YOLOv8P6Model
from detkit.converters.ultralytics_models import (
    TASKS,
    FirstWorldModel,
    UltralyticsModel,
    WorldModel,
    YOLO11Model,
    YOLO26Model,
    YOLOv10Model,
)
from detkit.utils.errors import CheckpointError


def convert_ultralytics(source: str | Path, target: str | Path, configs: str | Path) -> list[str]:
    """Convert a file of ultralytics, of any of these families and of any size, see ``convert_pickled``."""
    return convert_pickled(source, target, configs, read_ultralytics)


def read_ultralytics(archive: TorchArchive) -> UltralyticsModel:
    """Find the model in an open file, and check that it is a model of a known family and task.

    Raises:
        CheckpointError: it is not.
    """
    cls = _family(ModelFile(archive, 'YOLOv8', 'ultralytics'))
    file = ModelFile(archive, f'{cls.family}{cls.variant}', 'ultralytics')
    path, model = file.path, file.model
    if not model.path.startswith('ultralytics.'):
        family = ' of the YOLOv5 repository or one of its descendants' if 'models.yolo.' in model.path else ''
        hint = " (YOLOv5's files: detkit convert yolov5)" if family else ''
        raise CheckpointError(
            f'{path} holds a {model.path}{family}, no YOLOv8, YOLOv10, YOLO11 or YOLO26 model of ultralytics{hint}.'
        )
    head = file.layers()[-1]
    if head.kind == 'Classify':
        expected = cls.classifier_layers
    else:
        expected = (
            *cls.layers_before_head(file),
            (head.kind if head.kind in cls.heads else cls.heads[0], cls.head_inputs()),
        )
    *first, last = cls.heads if len(cls.heads) < 4 else ('Detect', 'Segment', 'Pose', 'OBB', 'Classify')
    file.check_layers(expected, f'{", ".join(first)} or {last}' if first else last)
    layout = cls.read_layout(file)
    linear = f'{cls.linear}|model.9.cv1' if layout.get('linear_pooling') else cls.linear
    norm_eps = file.check_attributes(cls.attributes, cls.shortcut_layers, linear)
    task = TASKS[head.kind]
    if task != 'cls':
        file.check_strides(cls.strides)
    return cls(
        task=task,
        **layout,
        norm_eps=norm_eps,
        keypoint_shape=_keypoint_shape(head, path) if task == 'pose' else None,
        keypoint_names=_keypoint_names(model.get('kpt_names')),
        img_size=file.img_size('train_args'),
        version=file.text('version') or 'an unknown version',
        licence=file.text('license'),
        **file.description(),
    )


def _family(file: ModelFile) -> type[UltralyticsModel]:
    """Return the family whose layers a file has."""
    layers = file.layers() if file.model.path.startswith('ultralytics.') else []
    blocks = [layer.kind for layer in layers]
    if 'C2fAttn' in blocks:
        return FirstWorldModel if 'ImagePoolingAttn' in blocks else WorldModel
    if 'SCDown' in blocks:
        return YOLOv10Model
    has_four_levels = blocks.count('Upsample') == 3
    has_five_stages = 'SPPF' in blocks and blocks.index('SPPF') == len(YOLOv8P6Model.stages.convs) * 2 + 1
    if 'C3k2' not in blocks or 'C2f' in blocks:
        if has_four_levels:
            return YOLOv8P6Model if has_five_stages else YOLOv8P2Model
        return UltralyticsModel
    # YOLO26's head has one-to-one branches, and distances without bins
    is_yolo26 = layers[-1].get('reg_max') == 1 or any('.one2one_' in name for name in file.tensors())
    if is_yolo26 and has_four_levels:
        return YOLO26P6Model if has_five_stages else YOLO26P2Model
    return YOLO26Model if is_yolo26 else YOLO11Model


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
