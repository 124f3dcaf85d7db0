"""``YOLOv5Head``: anchors whose neighbouring cells learn a box as well."""

from __future__ import annotations

from collections.abc import Sequence

from detkit.registry import HEADS

from .anchor_head import AnchorHead, Gains

# Factor of each level's objectness, fine to coarse: coarse maps learn it faster.
_OBJ_LEVEL_WEIGHTS = {3: (4.0, 1.0, 0.4)}
_OTHER_LEVEL_WEIGHTS = (4.0, 1.0, 0.25, 0.06, 0.02)


@HEADS.register_module()
class YOLOv5Head(AnchorHead):
    """The head of YOLOv5 (https://doi.org/10.5281/zenodo.3908559).

    The arguments are those of ``AnchorHead``. The losses' weights are meant for three levels: with another number of
    levels each is multiplied by 3 / levels.
    """

    default_parts = {
        'assigner': dict(type='YOLOv5AnchorAssigner'),
        'bbox_coder': dict(type='YOLOv5BBoxCoder'),
        'loss_bbox': dict(type='IoULoss', mode='ciou', loss_weight=0.05),
        'loss_obj': dict(type='BinaryCrossEntropyLoss', loss_weight=1.0),
        'loss_cls': dict(type='BinaryCrossEntropyLoss', loss_weight=0.5),
    }
    GAIN_SIZE = 640
    GAIN_POWER = 2

    def _default_level_weights(self, num_levels: int) -> Sequence[float]:
        return _OBJ_LEVEL_WEIGHTS.get(num_levels, _OTHER_LEVEL_WEIGHTS[:num_levels])

    def _gains(self, img_size: float) -> Gains:
        return Gains(*(gain * 3 / len(self.strides) for gain in super()._gains(img_size)))
