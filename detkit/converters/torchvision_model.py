"""``TorchvisionModel``: what the tensors of a file of torchvision say about its detector."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from detkit.converters.common import renamed
from detkit.utils.errors import CheckpointError

# By folder of the configs.
NAMES = dict(
    faster_rcnn='Faster R-CNN',
    mask_rcnn='Mask R-CNN',
    keypoint_rcnn='Keypoint R-CNN',
    retinanet='RetinaNet',
    fcos='FCOS',
)
# Blocks in the stages of a ResNet, and whether a block has three convolutions, by size.
_DEPTHS = {
    ((2, 2, 2, 2), False): 'r18',
    ((3, 4, 6, 3), False): 'r34',
    ((3, 4, 6, 3), True): 'r50',
    ((3, 4, 23, 3), True): 'r101',
}
COUNTER = '.num_batches_tracked'


@dataclass(frozen=True)
class TorchvisionModel:
    """What the names and shapes of a file's tensors say.

    Attributes:
        family: the folder of the configs.
        second: whether it is version 2.
        size: the ``size`` of those configs.
        trained_norm: whether the backbone's normalisation was trained, and not frozen.
        num_anchors: anchors of a cell; 1 for FCOS.
        num_labels: the labels that it counts, without the background of a two-stage detector.
        num_keypoints: of Keypoint R-CNN; else 0.
    """

    family: str
    second: bool
    size: str
    trained_norm: bool
    num_anchors: int
    num_labels: int
    num_keypoints: int

    @property
    def two_stage(self) -> bool:
        return self.family.endswith('_rcnn')

    @property
    def table(self) -> str:
        """The key of ``TORCHVISION_KEYS``."""
        return ('rcnn_v2' if self.second else 'rcnn') if self.two_stage else self.family

    def label(self) -> str:
        """Return the name for messages."""
        return f'{NAMES[self.family]} {self.size}'


def current_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors by the names of torchvision 0.15 and later; published files have those of before."""
    retinanet = family_of(tensors)[0] == 'retinanet'
    return renamed(tensors, lambda name: _current_name(name, retinanet))


def _current_name(name: str, retinanet: bool) -> str:
    name = re.sub(r'^(backbone\.fpn\.(?:inner|layer)_blocks\.\d+)\.(weight|bias)$', r'\1.0.\2', name)
    name = re.sub(r'^rpn\.head\.conv\.(weight|bias)$', r'rpn.head.conv.0.0.\1', name)
    name = re.sub(r'^(roi_heads\.mask_head)\.mask_fcn(\d)\.', lambda match: f'{match[1]}.{int(match[2]) - 1}.0.', name)
    if retinanet:  # convolutions and activations in one sequence
        name = re.sub(
            r'^(head\.(?:classification|regression)_head\.conv)\.(\d)\.(weight|bias)$',
            lambda match: f'{match[1]}.{int(match[2]) // 2}.0.{match[3]}',
            name,
        )
    return name


def family_of(tensors: Mapping[str, Tensor]) -> tuple[str | None, bool]:
    """Return the folder of a detector's configs by its tensors, None for none, and whether it is version 2."""
    if 'roi_heads.box_predictor.cls_score.weight' in tensors:
        second = 'roi_heads.box_head.fc6.weight' not in tensors
        if any(name.startswith('roi_heads.mask_head.') for name in tensors):
            return 'mask_rcnn', second
        if any(name.startswith('roi_heads.keypoint_head.') for name in tensors):
            return 'keypoint_rcnn', second
        return 'faster_rcnn', second
    if 'head.regression_head.bbox_ctrness.weight' in tensors:
        return 'fcos', False
    if 'head.classification_head.cls_logits.weight' in tensors:
        return 'retinanet', 'head.classification_head.conv.0.1.weight' in tensors
    return None, False


def find_model(tensors: Mapping[str, Tensor], source: Path) -> TorchvisionModel:
    """Recognise a model by the names and shapes of its tensors, which have current names.

    Raises:
        CheckpointError: it is none that detkit has, or damaged.
    """
    family, second = family_of(tensors)
    if family is None:
        some = ', '.join(sorted(tensors)[:3]) or 'none'
        raise CheckpointError(
            f'{source} is no detector of torchvision that detkit has (its tensors are {some}, ...); it converts '
            f'{", ".join(NAMES.values())}.'
        )

    def rows(name: str) -> int:
        tensor = tensors.get(name)
        if tensor is None or tensor.ndim == 0:
            raise CheckpointError(f'{source} lacks {name}, which every {NAMES[family]} has; copy the file again.')
        return len(tensor)

    num_anchors = 1
    if family.endswith('_rcnn'):
        num_labels = rows('roi_heads.box_predictor.cls_score.bias') - 1
        num_anchors = rows('rpn.head.cls_logits.bias')
    else:
        if family == 'retinanet':
            num_anchors = max(rows('head.regression_head.bbox_reg.bias') // 4, 1)
        num_labels = rows('head.classification_head.cls_logits.bias') // num_anchors
    if num_labels < 1:
        raise CheckpointError(f'{source} has no classes besides background; copy the file again.')
    return TorchvisionModel(
        family,
        second,
        _size(tensors, second, source),
        any(name.startswith('backbone.body.') and name.endswith(COUNTER) for name in tensors),
        num_anchors,
        num_labels,
        rows('roi_heads.keypoint_predictor.kps_score_lowres.bias') if family == 'keypoint_rcnn' else 0,
    )


def _size(tensors: Mapping[str, Tensor], second: bool, source: Path) -> str:
    if any(name.startswith('backbone.body.0.') for name in tensors):
        return 'mobilenet'
    blocks: list[set[str]] = [set(), set(), set(), set()]
    for name in tensors:
        parts = name.split('.')
        if len(parts) > 3 and parts[:2] == ['backbone', 'body'] and re.fullmatch('layer[1-4]', parts[2]):
            blocks[int(parts[2][-1]) - 1].add(parts[3])
    counts = tuple(map(len, blocks))
    size = _DEPTHS.get((counts, 'backbone.body.layer1.0.conv3.weight' in tensors))
    if size is None:
        raise CheckpointError(
            f'{source} has a backbone with {counts} blocks in its stages; detkit converts detectors on '
            f'{", ".join(_DEPTHS.values())} and MobileNetV3-Large.'
        )
    return f'{size}_v2' if second else size
