"""``YOLOv5Head``: anchors whose neighbouring cells learn a box as well."""

from __future__ import annotations

from collections.abc import Sequence

from detkit.registry import HEADS

from .anchor_head import AnchorHead, Gains

# How much each level's objectness counts, fine to coarse: coarse maps learn it faster.
_OBJ_LEVEL_WEIGHTS = {3: (4.0, 1.0, 0.4)}
_OTHER_LEVEL_WEIGHTS = (4.0, 1.0, 0.25, 0.06, 0.02)


@HEADS.register_module()
class YOLOv5Head(AnchorHead):
    """The head of YOLOv5 (https://doi.org/10.5281/zenodo.3908559).

    Its losses' weights are those of three levels: with another number each is multiplied by 3 / levels.

    Args:
        assigner: config, ``YOLOv5AnchorAssigner`` by default.
        bbox_coder: config, ``YOLOv5BBoxCoder`` by default.
        loss_bbox: config, ``IoULoss`` of mode 'ciou' and weight .05 by default.
        loss_obj, loss_cls: configs, ``BinaryCrossEntropyLoss`` of weight 1 and .5 by default.
        obj_level_weights: 4, 1, .4 by default.
        num_classes, in_channels, strides, **kwargs: of ``AnchorHead``.
    """

    GAIN_SIZE = 640
    GAIN_POWER = 2

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
        assigner: dict | None = None,
        bbox_coder: dict | None = None,
        loss_bbox: dict | None = None,
        loss_obj: dict | None = None,
        loss_cls: dict | None = None,
        obj_level_weights: Sequence[float] | None = None,
        **kwargs,
    ) -> None:
        if obj_level_weights is None and strides is not None:
            num_levels = len(strides)
            obj_level_weights = _OBJ_LEVEL_WEIGHTS.get(num_levels, _OTHER_LEVEL_WEIGHTS[:num_levels])
        super().__init__(
            num_classes,
            in_channels,
            strides,
            assigner=assigner or dict(type='YOLOv5AnchorAssigner'),
            bbox_coder=bbox_coder or dict(type='YOLOv5BBoxCoder'),
            loss_bbox=loss_bbox or dict(type='IoULoss', mode='ciou', loss_weight=0.05),
            loss_obj=loss_obj or dict(type='BinaryCrossEntropyLoss', loss_weight=1.0),
            loss_cls=loss_cls or dict(type='BinaryCrossEntropyLoss', loss_weight=0.5),
            obj_level_weights=obj_level_weights,
            **kwargs,
        )

    def _gains(self, img_size: float) -> Gains:
        return Gains(*(gain * 3 / len(self.strides) for gain in super()._gains(img_size)))
