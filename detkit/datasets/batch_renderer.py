"""``BatchRenderer``: draws the images of a whole batch where they are stored, on any device.

It computes what ``Render`` computes on a CPU, from the same matrices. With OpenCV 5 its images differ from those by a
grey level at most before colours are shifted, which may magnify it (by up to 9 levels were found); earlier versions of
OpenCV round positions to 1/32 of a pixel. Nothing in it waits for the device.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from detkit.structures.render_plan import RenderPlan
from detkit.utils.errors import ConfigError

__all__ = ['BatchRenderer', 'ImageElsewhere', 'ImageStore', 'area_weights', 'shift_hsv']

# OpenCV's integer arithmetic of 8-bit HSV: numbers are scaled by 2 ** 12.
_HSV_SHIFT = 12
# The images take at most this share of the memory that a GPU has left, as training needs the rest.
_LARGEST_SHARE = 0.5
# Pixels of the pinned memory through which images go to a GPU: two blocks of 48 MB, one is filled while one is sent.
_STAGED_PIXELS = 1 << 24


class ImageElsewhere:
    """The shape of an image whose pixels are in an ``ImageStore`` only; reading them here is an error.

    Attributes:
        shape: (h, w, 3).
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        raise TypeError(
            "render_on='device' keeps the pixels of images on the device, where a transform before Render cannot read "
            "them: leave the transform out, or use render_on='workers'"
        )

    def __getitem__(self, index: Any) -> np.ndarray:
        return np.asarray(self)[index]


class ImageStore:
    """Images ``(h, w, 3)`` uint8 of any sizes, in one block of memory.

    Attributes:
        pixels: ``(P, 3)`` uint8, the pixels of all images, row by row.
        sizes: (h, w) of each image, by path.
        offsets: index of each image's first pixel, by path.

    Args:
        images: the images by path.
        device: where they are kept.

    Raises:
        ConfigError: a GPU has too little memory for them.
    """

    def __init__(self, images: Mapping[str, np.ndarray], device: torch.device | str = 'cpu') -> None:
        self.sizes = {path: (img.shape[0], img.shape[1]) for path, img in images.items()}
        counts = [height * width for height, width in self.sizes.values()]
        _check_memory(3 * sum(counts), torch.device(device))
        self.offsets = dict(zip(images, np.cumsum([0, *counts]).tolist(), strict=False))
        self.pixels = torch.empty(sum(counts), 3, dtype=torch.uint8, device=device)
        rows = ((self.offsets[path], torch.from_numpy(images[path].copy()).view(-1, 3)) for path in images)
        if self.pixels.is_cuda:
            _send(rows, self.pixels)
        else:
            for first, pixels in rows:
                self.pixels[first : first + len(pixels)] = pixels

    def image(self, path: str) -> Tensor:
        """Return one image ``(h, w, 3)``, without a copy."""
        (height, width), first = self.sizes[path], self.offsets[path]
        return self.pixels[first : first + height * width].view(height, width, 3)


def _send(rows: Iterable[tuple[int, Tensor]], target: Tensor, staged: int = _STAGED_PIXELS) -> None:
    """Copy pixels to their places in ``target`` on a GPU, through two blocks of pinned memory."""
    blocks = [torch.empty(staged, 3, dtype=torch.uint8, pin_memory=target.is_cuda) for _ in range(2)]
    sent = [torch.cuda.Event() if target.is_cuda else None for _ in blocks]
    turn = 0
    for first, pixels in rows:
        for start in range(0, len(pixels), staged):
            part = pixels[start : start + staged]
            block, event = blocks[turn % 2], sent[turn % 2]
            if event is not None:
                event.synchronize()  # at once where nothing was recorded
            block[: len(part)] = part
            target[first + start : first + start + len(part)].copy_(block[: len(part)], non_blocking=True)
            if event is not None:
                event.record(torch.cuda.current_stream(target.device))
            turn += 1


def _check_memory(needed: int, device: torch.device) -> None:
    if device.type != 'cuda':
        return
    free = torch.cuda.mem_get_info(device)[0]
    if needed > _LARGEST_SHARE * free:
        raise ConfigError(
            f"train_dataloader.render_on='device' keeps all images decoded on {device}: {needed / 1e9:.1f} GB, but "
            f'{free / 1e9:.1f} GB are free, of which half at most is taken. Leave it out, so that workers draw images'
        )


class BatchRenderer:
    """Draw batches from a store.

    Args:
        store: the images.
        chunk: images of a batch that are drawn at a time, which bounds the memory: some 150 bytes a pixel of theirs.
    """

    def __init__(self, store: ImageStore, chunk: int = 16) -> None:
        self.store = store
        self.chunk = chunk

    @torch.no_grad()
    def __call__(self, plan: RenderPlan) -> Tensor:
        """Return the images ``(B, 3, H, W)`` uint8 of a plan that is on the store's device, channels last in memory."""
        batch, (height, width) = len(plan), plan.size
        drawn = torch.empty(batch, height, width, 3, dtype=torch.uint8, device=self.store.pixels.device)
        for first in range(0, batch, self.chunk):
            part = range(first, min(first + self.chunk, batch))
            drawn[part.start : part.stop] = self._draw(plan, part)
        return drawn.permute(0, 3, 1, 2)  # (B, H, W, 3) -> (B, 3, H, W)

    def _draw(self, plan: RenderPlan, part: range) -> Tensor:
        where, reduced = self._sources(plan, part)
        rows = slice(part.start, part.stop)
        num_layers = plan.weights.shape[1]
        layers = [self._draw_layer(plan, rows, layer, where, reduced) for layer in range(num_layers)]
        if num_layers == 1:
            image = layers[0]
        else:
            shares = plan.weights[rows, :, None, None, None].unbind(1)
            mixed = sum(share * layer for share, layer in zip(shares, layers, strict=True))
            image = mixed.round().clamp(0, 255)
        image = image.to(torch.uint8)
        return image if plan.hsv_tables is None else shift_hsv(image, plan.hsv_tables[rows])

    def _sources(self, plan: RenderPlan, part: range) -> tuple[Tensor, Tensor | None]:
        """Return ``(b, K, 2)`` int64, each tile's first pixel and row length, and the pixels of reduced images.

        The pixels of reduced images, ``(R, 3)`` or None, are counted on from those of the store.
        """
        table = np.zeros((len(part), plan.layers.shape[1], 2), np.int64)
        reduced, end = [], len(self.store.pixels)
        for row, b in enumerate(part):
            for k, path in enumerate(plan.paths[b]):
                table[row, k] = self.store.offsets[path], self.store.sizes[path][1]
                if (b, k) in plan.reductions:
                    small = _reduced(self.store.image(path), plan.reductions[b, k])
                    table[row, k] = end, small.shape[1]
                    reduced.append(small.reshape(-1, 3))
                    end += len(reduced[-1])
        where = torch.from_numpy(table).to(self.store.pixels.device, non_blocking=True)
        return where, torch.cat(reduced) if reduced else None

    def _draw_layer(self, plan: RenderPlan, rows: slice, layer: int, where: Tensor, reduced: Tensor | None) -> Tensor:
        """Return ``(b, H, W, 3)`` float32 of whole numbers."""
        height, width = plan.size
        device = self.store.pixels.device
        columns = torch.arange(width, device=device)
        lines = torch.arange(height, device=device)
        slots = torch.full((rows.stop - rows.start, height, width), -1, dtype=torch.int64, device=device)
        for k in range(plan.layers.shape[1]):
            first, end, gap, gap_end = plan.spans[rows, k].unsqueeze(-2).unbind(-1)  # four of (b, H, 1)
            inside = (columns >= first) & (columns < end) & ~((columns >= gap) & (columns < gap_end))  # (b, H, W)
            inside &= (plan.layers[rows, k] == layer)[:, None, None]
            for row in range(rows.start, rows.stop):
                if (row, k) in plan.masks:
                    inside[row - rows.start] &= plan.masks[row, k]
            slots = torch.where(inside, k, slots)
        chosen = slots.clamp(min=0)  # (b, H, W)
        xs, ys = _positions(plan.inverse[rows], chosen, columns, lines)
        bounds = plan.bounds[rows].unbind(-1)  # four of (b, K)
        x_low, y_low, x_high, y_high = (_of_slot(value, chosen) for value in bounds)
        start, stride = (_of_slot(value, chosen) for value in where.unbind(-1))
        x0, y0 = xs.floor(), ys.floor()
        x_share, y_share = (xs - x0).float()[..., None], (ys - y0).float()[..., None]
        left, top = x0.long(), y0.long()

        def read(line: Tensor, column: Tensor) -> Tensor:
            line = torch.minimum(torch.maximum(line, y_low), y_high - 1)
            column = torch.minimum(torch.maximum(column, x_low), x_high - 1)
            return self._read(start + line * stride + column, reduced).float()  # (b, H, W, 3)

        upper = torch.lerp(read(top, left), read(top, left + 1), x_share)
        lower = torch.lerp(read(top + 1, left), read(top + 1, left + 1), x_share)
        value = (torch.lerp(upper, lower, y_share) + 0.5).floor().clamp(0, 255)
        return torch.where((slots >= 0)[..., None], value, float(plan.fill))

    def _read(self, index: Tensor, reduced: Tensor | None) -> Tensor:
        pixels = self.store.pixels
        if reduced is None:
            return pixels[index]
        stored = index < len(pixels)
        return torch.where(
            stored[..., None],
            pixels[torch.where(stored, index, 0)],
            reduced[torch.where(stored, 0, index - len(pixels))],
        )


def _of_slot(values: Tensor, slots: Tensor) -> Tensor:
    """Return ``(b, H, W)``: the value ``(b, K)`` of the slot ``(b, H, W)`` of each pixel."""
    return values.gather(1, slots.flatten(1)).view(slots.shape)


def _positions(inverse: Tensor, slots: Tensor, columns: Tensor, lines: Tensor) -> tuple[Tensor, Tensor]:
    """Return x and y ``(b, H, W)`` float64 in the image of the tile that covers each pixel."""
    rows = []
    for row in range(3):
        by_x, by_y, shift = (_of_slot(inverse[:, :, row, axis], slots) for axis in range(3))
        rows.append(by_x * columns + by_y * lines[:, None] + shift)
    x, y, depth = rows
    return x / depth, y / depth


def _reduced(img: Tensor, reduction: tuple[int, int, int, int, int, int]) -> Tensor:
    """Return a rectangle of an image averaged to a size, ``(height, width, 3)`` uint8."""
    x0, y0, x1, y1, width, height = reduction
    view = img[y0:y1, x0:x1].float()
    columns, lines = area_weights(x1 - x0, width, img.device), area_weights(y1 - y0, height, img.device)
    mean = torch.einsum('hy,yxc,wx->hwc', lines, view, columns)
    return (mean + 0.5).floor().clamp(0, 255).to(torch.uint8)


def area_weights(source: int, target: int, device: torch.device | str = 'cpu') -> Tensor:
    """Return ``(target, source)`` float32: the share of each source pixel in each target pixel that covers it."""
    scale = source / target
    starts = torch.arange(target, device=device, dtype=torch.float64)[:, None] * scale
    pixels = torch.arange(source, device=device, dtype=torch.float64)
    overlap = torch.minimum(starts + scale, pixels + 1) - torch.maximum(starts, pixels)
    return (overlap.clamp(min=0) / scale).float()


def shift_hsv(images: Tensor, tables: Tensor) -> Tensor:
    """Change hue, saturation and value by tables.

    Args:
        images: ``(b, H, W, 3)`` uint8 RGB.
        tables: ``(b, 3, 256)`` uint8: the new value of each old one. Hue counts 180 steps round the circle, as in
            OpenCV's 8-bit images, whose integer arithmetic this follows.
    """
    red, green, blue = images.to(torch.int32).unbind(-1)
    value = torch.maximum(torch.maximum(red, green), blue)
    spread = value - torch.minimum(torch.minimum(red, green), blue)
    levels = torch.arange(256, device=images.device, dtype=torch.float64)
    shares = torch.where(levels > 0, (255 << _HSV_SHIFT) / levels.clamp(min=1), 0).round().to(torch.int32)
    sextants = torch.where(levels > 0, (180 << _HSV_SHIFT) / (6 * levels.clamp(min=1)), 0).round().to(torch.int32)
    half = 1 << (_HSV_SHIFT - 1)
    saturation = (spread * shares[value.long()] + half) >> _HSV_SHIFT
    side = torch.where(
        value == red, green - blue, torch.where(value == green, blue - red + 2 * spread, red - green + 4 * spread)
    )
    hue = (side * sextants[spread.long()] + half) >> _HSV_SHIFT
    hue = torch.where(hue < 0, hue + 180, hue)
    hue, saturation, value = (
        tables[:, channel].gather(1, old.clamp(0, 255).long().flatten(1)).view(old.shape).float()
        for channel, old in enumerate((hue, saturation, value))
    )
    # From HSV (a hexcone) to RGB: in each sextant one channel is the value, one the least, one in between.
    sextant = hue / 30
    share = saturation / 255
    channels = []
    for offset in (5, 3, 1):
        turn = torch.remainder(offset + sextant, 6)
        away = torch.minimum(turn, 4 - turn).clamp(0, 1)
        channels.append(value - value * share * away)
    return torch.stack(channels, -1).clamp(0, 255).to(torch.uint8)  # OpenCV cuts off fractions here
