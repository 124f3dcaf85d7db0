"""``DualHead``: a dense head that learns by two assignments, of which one makes suppression unnecessary."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import ClassVar

from torch import Tensor

from detkit.protocols import DualAssignmentHead, PointAssigner
from detkit.registry import ASSIGNERS
from detkit.structures.gt_batch import GtBatch

from ..postprocess.nms import Detections
from ..postprocess.top_k import TOP_KEYS, top_scores
from .yolov8_head import YOLOv8Head

_MANY = 'many_'


class DualHead(YOLOv8Head, DualAssignmentHead):
    """Base of heads with one-to-many and one-to-one branches (YOLOv10, https://arxiv.org/abs/2405.14458).

    ::

        feats ─┬──────────── one-to-many branches: several positives of a box, in training only
               └─ detached ─ one-to-one branches: one positive of a box, without duplicates in prediction

    A child lists this class before the head that it doubles, and names that head in ``single``. What is predicted once
    for an image is shared.

    Args:
        one_assigner: config of the assigner of the one-to-one branches; ``default_parts`` when left out.
        many_weight: weight a of the one-to-many losses; that of the others is 1 - a. ``LossShareHook`` changes it.
        num_classes, in_channels, strides, **kwargs: see the head that is doubled. ``test_cfg`` holds arguments of
            ``top_scores``.

    Attributes:
        single: the class of the head that is doubled.
        shared_parts: names of the modules that both have in common; the one-to-one branches refer to them.
    """

    takes = {**YOLOv8Head.takes, 'one_assigner': PointAssigner}
    default_parts = {
        **YOLOv8Head.default_parts,
        'one_assigner': dict(type='TaskAlignedAssigner', topk=7, keep=1),
    }
    TEST_KEYS = TOP_KEYS
    SUPPRESSION = 'none'
    MULTI_LABEL = True
    CAPPED_BY_PRIORS = True
    single: ClassVar[type[YOLOv8Head]]
    shared_parts: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
        one_assigner: dict | None = None,
        many_weight: float = 0.8,
        **kwargs,
    ) -> None:
        super().__init__(num_classes, in_channels, strides, **kwargs)
        self.many_weight = many_weight
        kwargs.pop('test_cfg', None)
        self.one_to_one = self.single(num_classes, in_channels, strides, **kwargs)
        self.one_to_one.assigner = self.build_part(ASSIGNERS, 'one_assigner', one_assigner)
        for name in self.shared_parts:
            delattr(self.one_to_one, name)
            self.one_to_one.__dict__[name] = getattr(self, name)  # not registered, so that it is saved once
        # Both begin with the same weights.
        for name in dict(self.one_to_one.named_children()):
            if name.endswith('_branches'):
                setattr(self.one_to_one, name, deepcopy(getattr(self, name)))

    @property
    def needs_gt(self) -> bool:
        """Whether ``gt`` has to say that losses are wanted, which in training they always are."""
        return not self.training

    def forward(
        self, feats: Sequence[Tensor], padding_mask: Tensor | None = None, gt: GtBatch | None = None
    ) -> dict[str, Tensor | list[Tensor]]:
        """Return the raw one-to-one predictions, and in training those of the other branches with the prefix ``many_``.

        Args:
            feats, padding_mask: see ``YOLOv8Head``.
            gt: the ground truth, where losses are wanted.
        """
        for_loss = self.training or gt is not None
        # Losses alone stop here; a class activation map follows the gradient of a prediction through the network.
        read = [feat.detach() for feat in feats] if for_loss else feats
        preds = {**self.one_to_one.cell_preds(read), **self.image_preds(feats, for_loss)}
        if for_loss:
            preds |= {f'{_MANY}{name}': levels for name, levels in self.cell_preds(feats).items()}
        return preds

    def loss(self, preds: dict[str, Tensor | list[Tensor]], gt: GtBatch) -> dict[str, Tensor]:
        """Return the losses of the head that is doubled, each a weighted mean over the two assignments."""
        many = {name.removeprefix(_MANY): value for name, value in preds.items() if name.startswith(_MANY)}
        one = {name: value for name, value in preds.items() if not name.startswith(_MANY)}
        if not many:
            raise ValueError(
                f'{type(self).__name__}: the predictions have no {_MANY}cls_logits, which are made in training, or '
                'where forward is given the ground truth'
            )
        many_losses = super().loss({**one, **many}, gt)
        one_losses = self.one_to_one.loss({**one, **self.detached(one)}, gt)
        share = self.many_weight
        return {name: share * value + (1 - share) * one_losses[name] for name, value in many_losses.items()}

    def detached(self, preds: dict[str, Tensor | list[Tensor]]) -> dict[str, Tensor]:
        """Return what is predicted once for an image, without a gradient."""
        return {name: value.detach() for name, value in preds.items() if isinstance(value, Tensor)}

    def _suppress(self, bboxes: Sequence[Tensor], scores: Sequence[Tensor]) -> list[Detections]:
        return top_scores(bboxes, scores, **self._options(TOP_KEYS))
