"""``BaseHead``: the base of all heads, with what training needs to know about a head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from mmengine.model import BaseModule


class BaseHead(BaseModule):
    """Base of heads.

    Attributes:
        loss_reduction: 'sum' where the losses are sums over the images of a batch, 'mean' where they are means.
        nominal_batch_size: the losses are divided by it beside.
        class_rows: layers whose output channels belong to classes, beside convolutions and linear layers with 'cls' in
            their name: layer -> (number of groups of channels, channels at a group's beginning and at its end that all
            classes share). With it weights can be loaded into a model of other classes.
        takes: argument that holds a part -> the protocol that the part must follow, see ``detkit.protocols``.
        added_parts: children that a simpler head lacks, so that its checkpoints may lack them, too.
    """

    loss_reduction: str = 'sum'
    nominal_batch_size: int = 1
    class_rows: Mapping[str, tuple[int, int, int]] = {}
    added_parts: tuple[str, ...] = ()
    takes: ClassVar[Mapping[str, type]] = {}

    def loss_divisor(self, batch_size: int) -> float:
        """Return the number by which the losses are divided to be means over the images of a batch."""
        return 1 if self.loss_reduction == 'mean' else batch_size / self.nominal_batch_size
