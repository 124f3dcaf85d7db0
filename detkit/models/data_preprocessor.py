"""``DetDataPreprocessor``: moves a batch to the device and normalises its images."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detkit.protocols import DataPreprocessor
from detkit.registry import DATA_PREPROCESSORS
from detkit.structures.gt_batch import GtBatch
from detkit.structures.rotated_tensors import map_rbboxes
from detkit.utils.errors import ConfigError
from detkit.utils.rng import keyed_rng


class StepKey(NamedTuple):
    """Key of the random draws for a whole batch, which depends neither on the rank nor on where a run was resumed.

    Attributes:
        seed: seed of the run.
        iteration: number of batches before this one.
        step: number of optimiser steps before this batch.
    """

    seed: int = 0
    iteration: int = 0
    step: int = 0


@DATA_PREPROCESSORS.register_module()
class DetDataPreprocessor(nn.Module, DataPreprocessor):
    """Data preprocessor that moves, resizes and normalises: uint8 ``(B, 3, H, W)`` to float32 ``(B, 3, H', W')``.

    Args:
        mean, std: mean and standard deviation of the channels, in units of the uint8 image; the defaults divide by 255.
        zero_padding: set the pixels beyond an image's own size (``gt.img_shapes``) to 0 after normalising.
        channels_last: memory layout of the images, and of a detector's weights; faster on CPUs and on GPUs.
        multi_scale: in training, resize each batch by a factor between these two, e.g. ``(0.5, 1.5)``.
        multi_scale_interval: iterations between two draws of the factor; None draws one for each step of the optimiser,
            so that batches whose gradients are summed have one size.
        multi_scale_repeat: draw the longer side from the multiples of ``size_divisor`` in the range instead, the
            unscaled one counting so many times, as D-FINE and DEIM do; None for any factor.
        size_divisor: the resized batch's height and width are multiples of it.
        non_blocking: let copies to the device overlap with other work.
    """

    def __init__(
        self,
        mean: Sequence[float] = (0.0, 0.0, 0.0),
        std: Sequence[float] = (255.0, 255.0, 255.0),
        zero_padding: bool = False,
        channels_last: bool = True,
        multi_scale: tuple[float, float] | None = None,
        multi_scale_interval: int | None = 1,
        multi_scale_repeat: int | None = None,
        size_divisor: int = 32,
        non_blocking: bool = True,
    ) -> None:
        super().__init__()
        if len(mean) != len(std):
            raise ValueError(
                f'DetDataPreprocessor: {len(mean)} values in mean but {len(std)} in std'
                '; write as many numbers in both, three or one'
            )
        if len(mean) not in (1, 3):
            raise ValueError(
                f'DetDataPreprocessor: mean and std take one value or one for each channel, found {len(mean)}'
            )
        if min(std) <= 0:
            raise ValueError(f'DetDataPreprocessor: std must be above 0, found {tuple(std)}')
        if multi_scale_repeat is not None and multi_scale_repeat < 1:
            raise ValueError(f'DetDataPreprocessor: multi_scale_repeat must be at least 1, found {multi_scale_repeat}')
        if multi_scale is not None and not 0 < multi_scale[0] <= multi_scale[1]:
            raise ValueError(
                f'DetDataPreprocessor: multi_scale must be (lowest, highest) with 0 < lowest <= highest, found '
                f'{tuple(multi_scale)}'
            )
        self.register_buffer('mean', torch.tensor(mean, dtype=torch.float32).view(-1, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std, dtype=torch.float32).view(-1, 1, 1), persistent=False)
        self.has_mean = any(mean)
        # Dividing by a number takes half the time of dividing by a tensor.
        self.divisor = float(std[0]) if len(set(std)) == 1 else None
        self.zero_padding = zero_padding
        self.channels_last = channels_last
        self.multi_scale = multi_scale
        self.multi_scale_interval = multi_scale_interval
        self.multi_scale_repeat = multi_scale_repeat
        self.size_divisor = size_divisor
        self.non_blocking = non_blocking

    @property
    def device(self) -> torch.device:
        """The device that batches are moved to."""
        return self.mean.device

    def forward(self, data: dict, training: bool = False) -> dict:
        """Prepare a batch that ``collate`` made.

        Args:
            data: ``inputs`` uint8 ``(B, 3, H, W)``, and where there are any ``gt`` and ``data_samples``; in training
                ``step_key``, a ``StepKey``.
            training: whether multi-scale applies.

        Returns:
            ``inputs`` float32 ``(B, 3, H', W')``, or float64 in a model that was converted to it, ``gt`` on the device,
            ``data_samples`` unchanged.

        Raises:
            ConfigError: the model was converted to half precision, in which boxes are off by pixels.
        """
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        inputs = data['inputs'].to(self.device, non_blocking=self.non_blocking)
        inputs = inputs.to(self._checked_dtype(), memory_format=layout)
        gt = data.get('gt')
        if gt is not None:
            gt = gt.to(self.device, non_blocking=self.non_blocking)
        if training and self.multi_scale is not None:
            inputs, gt = self.rescale(inputs, gt, data.get('step_key', StepKey()))
        inputs = self._normalize_in_place(inputs, None if gt is None else gt.img_shapes)
        return dict(inputs=inputs, gt=gt, data_samples=data.get('data_samples'))

    def normalize(self, images: Tensor, img_shapes: Tensor | None = None) -> Tensor:
        """Return images ``(B, 3, H, W)``, from 0 to 255 in any type, as the network takes them, see ``forward``.

        Args:
            images: the images, which are not changed.
            img_shapes: ``(B, 2)`` (h, w) before padding, for ``zero_padding``; None where nothing is padded.
        """
        return self._normalize_in_place(images.to(self._checked_dtype(), copy=True), img_shapes)

    def _checked_dtype(self) -> torch.dtype:
        """Return the type of the weights, with which the preprocessor is converted."""
        dtype = self.mean.dtype
        if dtype.itemsize < 4:
            name = str(dtype).removeprefix('torch.')
            raise ConfigError(
                f'the model was converted to {name} as a whole (model.half(), model.bfloat16() or model.to(...)), in '
                f'which coordinates of boxes are off by pixels. Keep it in float32, to which model.float() takes it '
                f"back, and give amp='{'fp16' if dtype is torch.float16 else 'bf16'}' (fp16 on GPUs alone), by which "
                f'the network computes in that type and the boxes in float32'
            )
        return dtype

    def _normalize_in_place(self, inputs: Tensor, img_shapes: Tensor | None) -> Tensor:
        if self.has_mean:
            inputs.sub_(self.mean)
        inputs.div_(self.std if self.divisor is None else self.divisor)
        if self.zero_padding and img_shapes is not None:
            inputs.mul_(inside_images(img_shapes, inputs.shape[-2:])[:, None])
        return inputs

    @contextmanager
    def largest_scale(self) -> Iterator[float | None]:
        """Resize training batches by the largest factor of ``multi_scale``, which is given; None where there is none.

        Training needs the most memory there.
        """
        scales = self.multi_scale
        if scales is not None:
            self.multi_scale = (scales[1], scales[1])
        try:
            yield scales and scales[1]
        finally:
            self.multi_scale = scales

    def rescale(self, inputs: Tensor, gt: GtBatch | None, key: StepKey) -> tuple[Tensor, GtBatch | None]:
        """Resize a batch by the factor drawn for its step, boxes and masks with it."""
        interval = self.multi_scale_interval
        rng = keyed_rng(key.seed, key.step if interval is None else key.iteration // interval)
        old = inputs.shape[-2:]
        factor = self._draw_factor(rng, max(old))
        new = tuple(max(round(side * factor / self.size_divisor), 1) * self.size_divisor for side in old)
        if new == tuple(old):
            return inputs, gt
        inputs = F.interpolate(inputs, size=new, mode='bilinear', align_corners=False)
        return inputs, gt if gt is None else rescale_gt(gt, old, new)

    def _draw_factor(self, rng: np.random.Generator, side: int) -> float:
        """Return the factor of a batch whose longer side is ``side`` pixels."""
        low, high = self.multi_scale
        if self.multi_scale_repeat is None:
            return rng.uniform(low, high)
        base = max(side / self.size_divisor, 1)
        steps = range(math.ceil(base * low - 1e-6), math.floor(base * high + 1e-6) + 1)
        factors = [step / base for step in steps if step != base] + [1.0] * self.multi_scale_repeat
        return factors[int(rng.integers(len(factors)))]


def inside_images(img_shapes: Tensor, size: tuple[int, int]) -> Tensor:
    """Return which pixels of a padded batch belong to its images.

    Args:
        img_shapes: ``(B, 2)`` (h, w) before padding.
        size: (H, W) of the batch.

    Returns:
        ``(B, H, W)`` bool, False in the padding.
    """
    rows = torch.arange(size[0], device=img_shapes.device) < img_shapes[:, :1]  # (B, H)
    columns = torch.arange(size[1], device=img_shapes.device) < img_shapes[:, 1:]  # (B, W)
    return rows[:, :, None] & columns[:, None, :]


def rescale_gt(gt: GtBatch, old: tuple[int, int], new: tuple[int, int]) -> GtBatch:
    """Resize a batch's ground truth from ``old`` to ``new`` (h, w); masks by nearest neighbour."""
    # Filled on the device: a tensor made from a list would wait for the copy.
    scale_wh = gt.bboxes.new_ones(4)
    scale_wh[0::2].fill_(new[1] / old[1])
    scale_wh[1::2].fill_(new[0] / old[0])
    changed = dict(bboxes=gt.bboxes * scale_wh)
    changed['img_shapes'] = (gt.img_shapes * scale_wh[:2].flip(0)).round().to(gt.img_shapes.dtype)
    if gt.keypoints is not None:
        changed['keypoints'] = torch.cat((gt.keypoints[..., :2] * scale_wh[:2], gt.keypoints[..., 2:]), dim=-1)
    if gt.rbboxes is not None:
        changed['rbboxes'] = map_rbboxes(gt.rbboxes, torch.diag(F.pad(scale_wh[:2], (0, 1), value=1.0)))
    if gt.masks is not None:
        masks = gt.masks
        for dim, (before, after) in zip((-2, -1), zip(old, new, strict=True), strict=True):
            size = masks.shape[dim]
            target = size * after // before
            nearest = (torch.arange(target, device=masks.device) * 2 + 1) * size // (2 * target)
            masks = masks.index_select(dim, nearest)
        changed['masks'] = masks
    return replace(gt, **changed)
