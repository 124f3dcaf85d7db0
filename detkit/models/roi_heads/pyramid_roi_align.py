"""RoIAlign on a CPU as sums of a table's rows, from all maps of a pyramid at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

# Regions whose indices and weights are made at once: 6 KiB each for 7 x 7 cells of 2 x 2 points.
_CHUNK = 2048


def pyramid_roi_align(
    feats: Sequence[Tensor], regions: Tensor, level: Tensor, out_size: int, strides: Sequence[int], sampling_ratio: int
) -> Tensor:
    """Return the features ``(R, C, out_size, out_size)`` of regions, in channels_last memory.

    It computes what ``torchvision.ops.roi_align`` does (``aligned=False``). A cell's value is the mean over its points
    of four cells of the map each, by bilinear interpolation, so that it is a weighted sum of rows of the map
    ``(B * h * w, C)``, and the gradient of a row of the map a weighted sum of cells' gradients. PyTorch has a fast
    kernel for such sums, that of embedding bags, while torchvision's gradient is computed by one thread, number by
    number.

    Args:
        feats: a ``(B, C, h_i, w_i)`` map for each level.
        regions: ``(R, 5)``: number of the image, and xyxy in pixels of the network's input; they get no gradient.
        level: ``(R,)`` int64, the map that each region is taken from.
        out_size: sides of the result, in cells.
        strides: those of the levels.
        sampling_ratio: points along each side of a cell, at least 1.
    """
    return _PyramidRoIAlign.apply(regions, level, out_size, tuple(strides), sampling_ratio, *feats)


class _PyramidRoIAlign(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, regions: Tensor, level: Tensor, out_size: int, strides: tuple, sampling_ratio: int, *feats: Tensor
    ) -> Tensor:
        ctx.save_for_backward(regions, level)
        ctx.shapes, ctx.settings = [feat.shape for feat in feats], (out_size, strides, sampling_ratio)
        tables = [_rows(feat) for feat in feats]
        width = tables[0].shape[1]
        features = tables[0].new_empty(len(regions), out_size * out_size * width)
        for number, (chosen, shape, stride) in enumerate(_by_level(level, ctx.shapes, strides)):
            for some in chosen.split(_CHUNK):
                index, weight = _taps(regions[some], shape, stride, out_size, sampling_ratio, features.dtype)
                sums = F.embedding_bag(index, tables[number], mode='sum', per_sample_weights=weight)
                features[some] = sums.view(len(some), features.shape[1])
        return features.view(len(regions), out_size, out_size, width).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        regions, level = ctx.saved_tensors
        out_size, strides, sampling_ratio = ctx.settings
        table = _rows(grad)  # (R * cells, C)
        cells, grads = out_size * out_size, []
        for number, (chosen, shape, stride) in enumerate(_by_level(level, ctx.shapes, strides)):
            batch, channels, height, width = shape
            if not ctx.needs_input_grad[5 + number]:
                grads.append(None)
                continue
            index, weight = _taps(regions[chosen], shape, stride, out_size, sampling_ratio, table.dtype)
            rows, order = index.flatten().sort(stable=True)
            every_row = torch.arange(batch * height * width, dtype=rows.dtype, device=rows.device)
            first = torch.searchsorted(rows, every_row)
            tap = order // index.shape[1]  # of all cells of the chosen regions
            tap = (chosen[tap // cells] * cells + tap % cells).to(index.dtype)
            sums = F.embedding_bag(
                tap, table, first.to(index.dtype), mode='sum', per_sample_weights=weight.flatten()[order]
            )
            grads.append(sums.view(batch, height, width, channels).permute(0, 3, 1, 2))
        return None, None, None, None, None, *grads


def _rows(maps: Tensor) -> Tensor:
    """Return ``(B * h * w, C)`` of maps ``(B, C, h, w)``, without a copy in channels_last memory."""
    return maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1])


def _by_level(level: Tensor, shapes: Sequence[torch.Size], strides: Sequence[int]) -> list[tuple]:
    """Return for each level the indices of its regions, the shape of its map and its stride."""
    return [
        ((level == number).nonzero().squeeze(1), shape, stride)
        for number, (shape, stride) in enumerate(zip(shapes, strides, strict=True))
    ]


def _taps(
    regions: Tensor, shape: torch.Size, stride: int, out_size: int, sampling_ratio: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Return which rows of a map's table make up the cells of regions ``(R, 5)``, and their weights.

    Returns:
        Indices, int32, and weights of ``dtype``, both ``(R * out_size ** 2, 4 * sampling_ratio ** 2)``.
    """
    _, _, height, width = shape
    corners = regions[:, 1:] * (1 / stride)
    x_index, x_weight = _axis_taps(corners[:, 0], corners[:, 2], width, out_size, sampling_ratio)
    y_index, y_weight = _axis_taps(corners[:, 1], corners[:, 3], height, out_size, sampling_ratio)
    y_index = (y_index + regions[:, :1].to(torch.int32).unsqueeze(-1) * height) * width
    # (R, out, 1, taps, 1) and (R, 1, out, 1, taps)
    index = y_index[:, :, None, :, None] + x_index[:, None, :, None, :]
    weight = y_weight[:, :, None, :, None] * x_weight[:, None, :, None, :]
    taps = (2 * sampling_ratio) ** 2
    return index.reshape(-1, taps), weight.to(dtype).reshape(-1, taps)


def _axis_taps(start: Tensor, end: Tensor, length: int, out_size: int, sampling_ratio: int) -> tuple[Tensor, Tensor]:
    """Return the cells of a map along one axis that make up the regions' cells, and their shares.

    Args:
        start, end: ``(R,)``, in cells of the map.
        length: of the map.

    Returns:
        Indices, int32, and weights, both ``(R, out_size, 2 * sampling_ratio)``.
    """
    count = out_size * sampling_ratio
    step = (end - start).clamp(min=1) / out_size
    points = torch.arange(count, device=start.device, dtype=start.dtype)
    cell, point = points.div(sampling_ratio, rounding_mode='floor'), points % sampling_ratio
    places = start.unsqueeze(1) + cell * step.unsqueeze(1) + (point + 0.5) * (step / sampling_ratio).unsqueeze(1)
    inside = (places >= -1) & (places <= length)
    places = places.clamp(0, length - 1)
    low = places.floor()
    share = places - low  # of the next cell; that behind the last one has none
    weight = torch.stack([1 - share, share], -1) * (inside.to(share.dtype) / sampling_ratio).unsqueeze(-1)
    low = low.to(torch.int32).clamp(0, length - 1)  # what is no number makes the weight so, and not the index
    index = torch.stack([low, (low + 1).clamp(max=length - 1)], -1)
    shape = len(start), out_size, 2 * sampling_ratio
    return index.view(shape), weight.view(shape)
