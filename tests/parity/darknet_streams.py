"""Random Darknet models that two environments agree on: weights by the layers of a ``.cfg``, and an image.

numpy alone, and a reader of its own: what detkit reads of a ``.cfg`` is what is being tested. Only raw Philox words are
used, whose stream numpy guarantees to stay the same from release to release.
"""

from __future__ import annotations

from math import prod, sqrt
from pathlib import Path

import numpy as np

SEED = 53
IMAGE_SHAPE = (1, 3, 96, 128)
FAMILIES = ('yolov3', 'yolov3_spp', 'yolov3_tiny')
FOLDER = Path(__file__).with_name('darknet')
NUM_SAMPLES = 1000


def cfg_path(family: str) -> Path:
    return FOLDER / f'{family}.cfg'


def uniform(shape: tuple[int, ...], key: int) -> np.ndarray:
    """float64 in [0, 1)."""
    words = np.random.Philox(key=np.array([key, SEED], np.uint64)).random_raw(prod(shape))
    return ((words >> np.uint64(11)) * 2.0**-53).reshape(shape)


def seeded_image() -> np.ndarray:
    return uniform(IMAGE_SHAPE, 10_000).astype('<f4')


def read_layers(path: Path) -> list[tuple[str, dict[str, str]]]:
    """(kind, options) of every layer after ``[net]``."""
    layers: list[tuple[str, dict[str, str]]] = []
    for line in path.read_text().splitlines():
        if line.startswith('['):
            layers.append((line.strip('[]'), {}))
        elif line:
            key, value = line.split('=')
            layers[-1][1][key] = value
    return layers[1:]


def head_layers(path: Path) -> list[int]:
    """Indices of the convolutions that a ``yolo`` layer follows, coarse to fine."""
    return [index - 1 for index, (kind, _) in enumerate(read_layers(path)) if kind == 'yolo']


def seeded_stream(path: Path) -> np.ndarray:
    """The numbers of a ``.weights`` file, scaled so that activations neither vanish nor explode.

    Kernels have variance 2 / fan-in (a hundredth of it before a ``yolo`` layer, which takes exponentials), running
    variances lie around 1, scales around 0.9 and, where a shortcut adds the result, around 0.36.
    """
    widths, parts, layers = [], [], read_layers(path)
    before = IMAGE_SHAPE[1]
    for index, (kind, options) in enumerate(layers):
        if kind == 'route':
            sources = [int(item) for item in options['layers'].split(',')]
            before = sum(widths[i if i >= 0 else index + i] for i in sources)
        elif kind == 'convolutional':
            filters, size = int(options['filters']), int(options['size'])
            small = uniform((4, filters), 2 * index)
            biases, means, variances = small[0] * 0.4 - 0.2, small[1] * 0.4 - 0.2, small[2] + 0.5
            scales = (small[3] * 0.6 + 0.6) * (0.4 if layers[index + 1][0] == 'shortcut' else 1)
            normalised = options.get('batch_normalize') == '1'
            fan_in = before * size * size
            spread = (1 if normalised else 0.1) * 2 * sqrt(3) * sqrt(2 / fan_in)
            kernels = (uniform((filters * fan_in,), 2 * index + 1) - 0.5) * spread
            numbers = [biases, scales, means, variances, kernels] if normalised else [biases, kernels]
            parts += [part.astype('<f4') for part in numbers]
            before = filters
        widths.append(before)
    return np.concatenate(parts)


def write_weights(path: Path, values: np.ndarray) -> None:
    """A ``.weights`` file of version 0.2.5."""
    path.write_bytes(np.array([0, 2, 5, 0, 0], '<i4').tobytes() + values.tobytes())


def samples(array: np.ndarray) -> np.ndarray:
    """About ``NUM_SAMPLES`` numbers from all over an array, then its largest magnitude."""
    flat = np.asarray(array, np.float32).ravel()
    return np.append(flat[:: max(flat.size // NUM_SAMPLES, 1) | 1], np.abs(flat).max())
