"""``GtBatch``: the ground truth of a batch as padded tensors, the argument of a head's ``loss``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor


@dataclass
class GtBatch:
    """Ground truth of B images, padded to the largest object count M of the batch (M may be 0).

    ``M`` and ``flat_index`` are known on the CPU before anything reaches a GPU, so that a loss need never ask
    the device for a count.

    Attributes:
        labels: ``(B, M)`` int64, -1 where padded.
        bboxes: ``(B, M, 4)`` float32 xyxy in pixels of the batch's images, 0 where padded.
        valid: ``(B, M)`` bool.
        flat_index: ``(N,)`` int64, the valid positions in the flattened ``B * M``, ascending.
        img_shapes: ``(B, 2)`` int64 (h, w) before padding to the batch's size.
        masks: either the overlap index map ``(B, h, w)`` uint8 or int16 (0 background, i + 1 the i-th box, smaller
            objects on top) or ``(B, M, h, w)`` bool; h and w are the image's divided by the pipeline's mask stride.
        keypoints: ``(B, M, K, 3)`` float32 x, y in pixels and visibility.
        rbboxes: ``(B, M, 5)`` float32.
        class_labels: ``(B,)`` int64, of whole images.
        values: by name, ``(B, M, …)`` of a user's own task, 0 where padded; see ``Annotations``.
    """

    labels: Tensor
    bboxes: Tensor
    valid: Tensor
    flat_index: Tensor
    img_shapes: Tensor
    masks: Tensor | None = None
    keypoints: Tensor | None = None
    rbboxes: Tensor | None = None
    class_labels: Tensor | None = None
    values: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def batch_size(self) -> int:
        return self.labels.shape[0]

    @property
    def max_instances(self) -> int:
        """M, the padded number of objects."""
        return self.labels.shape[1]

    @property
    def num_instances(self) -> int:
        """N, the number of real objects in the batch."""
        return self.flat_index.shape[0]

    def _map(self, function: Callable[[Tensor], Tensor]) -> GtBatch:
        values = {name: function(value) for name, value in self.values.items()}
        return replace(self, **{name: function(tensor) for name, tensor in self._tensors().items()}, values=values)

    def _tensors(self) -> dict[str, Tensor]:
        """Return all but the own values that there are, by name."""
        tensors = {f.name: getattr(self, f.name) for f in fields(self) if f.name != 'values'}
        return {name: tensor for name, tensor in tensors.items() if tensor is not None}

    def to(self, device: torch.device | str, non_blocking: bool = False) -> GtBatch:
        return self._map(lambda t: t.to(device, non_blocking=non_blocking))

    def select(self, images: slice) -> GtBatch:
        """Return the ground truth of some of the images, padded as before; for batches on the CPU."""
        rows = {name: tensor[images] for name, tensor in self._tensors().items() if name != 'flat_index'}
        values = {name: value[images] for name, value in self.values.items()}
        return replace(self, **rows, values=values, flat_index=rows['valid'].flatten().nonzero().squeeze(1))

    def padded_to(self, max_instances: int) -> GtBatch:
        """Return the same ground truth padded to ``max_instances`` objects an image, which is at least M."""
        more = max_instances - self.max_instances
        if not more:
            return self
        padded: dict[str, Any] = {
            name: _pad_objects(tensor, more, -1 if name == 'labels' else 0)
            for name, tensor in self._tensors().items()
            if name in ('labels', 'bboxes', 'valid', 'keypoints', 'rbboxes')
        }
        padded['values'] = {name: _pad_objects(value, more, 0) for name, value in self.values.items()}
        if self.masks is not None and self.masks.dim() == 4:
            padded['masks'] = _pad_objects(self.masks, more, 0)
        image = self.flat_index.div(max(self.max_instances, 1), rounding_mode='floor')
        return replace(self, **padded, flat_index=self.flat_index + image * more)

    def pin_memory(self) -> GtBatch:
        return self._map(lambda t: t.pin_memory())


def _pad_objects(tensor: Tensor, more: int, value: int) -> Tensor:
    """Return ``(B, M, ...)`` -> ``(B, M + more, ...)`` with ``value`` at the end."""
    return torch.cat((tensor, tensor.new_full((tensor.shape[0], more, *tensor.shape[2:]), value)), dim=1)
