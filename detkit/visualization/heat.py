"""Pictures of feature maps: heat over an image, channels side by side."""

from __future__ import annotations

import math

import cv2
import numpy as np

from detkit.visualization.sheets import grid, with_caption

_ALPHA = 0.75  # of the largest value
_GREY = 0.8  # how bright the image below the heat remains
_CELL = 160  # of a channel, at least
_SHEET_SIDE = 1920


def coloured(values: np.ndarray, name: str = 'viridis') -> np.ndarray:
    """Map ``(h, w)`` from 0 to 1 to ``(h, w, 3)`` uint8 RGB by one of matplotlib's colour maps."""
    import matplotlib  # only now: a model that predicts draws nothing

    return (matplotlib.colormaps[name](np.clip(values, 0, 1))[..., :3] * 255).round().astype(np.uint8)


def heat_over(img: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Draw a heat map over an image in grey.

    Args:
        img: ``(H, W, 3)`` uint8 RGB.
        heat: ``(H, W)`` from 0 to 1.
    """
    grey = cv2.cvtColor(cv2.cvtColor(img, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB) * _GREY
    alpha = _ALPHA * np.clip(heat, 0, 1)[..., None] ** 0.5
    return (grey * (1 - alpha) + coloured(heat, 'turbo') * alpha).round().astype(np.uint8)


def onto_image(
    heat: np.ndarray, input_shape: tuple[int, int], matrix: np.ndarray, ori_shape: tuple[int, int]
) -> np.ndarray:
    """Resize a feature map to the pixels of the original image.

    Args:
        heat: ``(h, w)`` over the network's whole input.
        input_shape: (H, W) of the input, padding included.
        matrix: transform of the original image's pixels to the input's.
        ori_shape: (h, w) of the original image.

    Returns:
        ``(h, w)`` float32; 0 outside the network's input.
    """
    height, width = heat.shape
    to_input = np.diag([input_shape[1] / width, input_shape[0] / height, 1.0])
    moved = np.linalg.inv(matrix) @ to_input
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]])  # OpenCV counts from centres of pixels
    moved = np.linalg.inv(half) @ moved @ half
    size_wh = ori_shape[1], ori_shape[0]
    drawn = cv2.warpAffine(
        heat.astype(np.float32), moved[:2], size_wh, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    corners = np.array([[0, 0, 1], [input_shape[1], input_shape[0], 1.0]]).T
    (x0, x1), (y0, y1), _ = np.linalg.inv(matrix) @ corners
    inside = np.zeros(ori_shape, np.float32)
    inside[max(round(y0), 0) : max(round(y1), 0), max(round(x0), 0) : max(round(x1), 0)] = 1
    return drawn * inside


def channel_sheet(
    activations: np.ndarray, title: str, img: np.ndarray | None = None, max_channels: int = 64
) -> np.ndarray:
    """Draw the channels of a feature map that vary most, in their order, each in its own range from dark to bright.

    Args:
        activations: ``(C, h, w)``.
        title: written above.
        img: the network's input, ``(H, W, 3)`` uint8 RGB, drawn first; then comes the mean magnitude of all channels.
        max_channels: number of channels to draw.
    """
    spread = activations.std((1, 2))
    chosen = np.sort(np.argsort(-spread, kind='stable')[:max_channels])
    cells = [_cell(activations[c], f'{c}: {activations[c].min():.3g} … {activations[c].max():.3g}') for c in chosen]
    if img is not None:
        side_wh = cells[0].shape[1], _cell_size(activations.shape[1:])[1]
        strength = np.abs(activations).mean(0)
        cells = [
            with_caption(cv2.resize(img, side_wh, interpolation=cv2.INTER_AREA), 'input'),
            _cell(strength, f'mean |x|: … {strength.max():.3g}', 'inferno'),
            *cells,
        ]
    columns = min(math.ceil(math.sqrt(len(cells))), max(1, _SHEET_SIDE // cells[0].shape[1]))
    shown = f'{len(chosen)} of {len(spread)} channels' if len(chosen) < len(spread) else f'{len(spread)} channels'
    return with_caption(grid(cells, columns), f'{title}: {shown} of {activations.shape[2]} x {activations.shape[1]}')


def _cell(values: np.ndarray, caption: str, colours: str = 'viridis') -> np.ndarray:
    low, high = float(values.min()), float(values.max())
    drawn = coloured((values - low) / ((high - low) or 1.0), colours)
    return with_caption(cv2.resize(drawn, _cell_size(values.shape), interpolation=cv2.INTER_NEAREST), caption)


def _cell_size(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return (w, h) of a cell, the longer side a multiple of the map's, or smaller if the map is large."""
    longest = max(shape)
    scale = math.ceil(_CELL / longest) if longest < _CELL else _CELL * 1.25 / longest
    return max(1, round(shape[1] * scale)), max(1, round(shape[0] * scale))
