"""Records the masks that ultralytics 8.4.190 makes of prototypes and coefficients, into ultralytics_masks.npz.

Run in an environment that has ultralytics 8.4.190 (it is no dependency of detkit):

    cd tests && python -m parity.record_ultralytics_masks

Prototypes are one smooth wave each, drawn from a seeded generator; boxes are drawn too, a third of them with sides of
2 to 10 pixels and a third of them cut by the border. ``SHAPES`` names (h, w) of the input, the original image, and the
padding at its top and left, whole prototype pixels, as those of ``yolo predict`` with ``retina_masks``. Recorded are

- ``<name>.shapes``: these three;
- ``<name>.<field>``: ``coeffs (N, D)``, ``protos (D, h, w)`` and ``bboxes (N, 4)`` xyxy in original pixels;
- ``<name>.native``: ``process_mask_native`` for the original image, ``<name>.input``: ``process_mask`` with
  ``upsample=True`` for the network's input; packed bits.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import ultralytics
from ultralytics.utils import ops

SHAPES = {
    'enlarged': ((64, 96), (64, 96), (0, 0)),
    'shrunk': ((64, 96), (128, 192), (0, 0)),
    'padded': ((96, 96), (112, 224), (24, 0)),
    'tall': ((128, 64), (64, 24), (0, 8)),
}
COUNT, DIM = 18, 4


def drawn(rng: np.random.Generator, img_shape: tuple[int, int], ori_shape: tuple[int, int]) -> tuple[np.ndarray, ...]:
    rows, columns = np.mgrid[: img_shape[0] // 4, : img_shape[1] // 4]
    waves, phases = rng.uniform(-0.9, 0.9, (DIM, 2, 1, 1)), rng.uniform(0, 6, (DIM, 1, 1))
    protos = np.sin(waves[:, 0] * rows + waves[:, 1] * columns + phases)
    limit = np.array(ori_shape[::-1])
    sides = rng.uniform(0.2, 0.8, (COUNT, 2)) * limit
    sides[::3] = rng.uniform(2, 10, (len(sides[::3]), 2))
    centres = rng.uniform(0, 1, (COUNT, 2)) * limit
    centres[1::3, 0] = rng.choice([0, limit[0]], len(centres[1::3]))
    bboxes = np.concatenate([centres - sides / 2, centres + sides / 2], 1).clip(0, np.tile(limit, 2))
    return tuple(value.astype(np.float32) for value in (rng.normal(size=(COUNT, DIM)), protos, bboxes))


def main() -> None:
    rng, recorded = np.random.default_rng(7), {'version': np.array(ultralytics.__version__)}
    for name, (img_shape, ori_shape, (top, left)) in SHAPES.items():
        coeffs, protos, bboxes = values = drawn(rng, img_shape, ori_shape)
        scale = (img_shape[0] - 2 * top) / ori_shape[0]
        moved = bboxes * np.float32(scale) + np.array([left, top, left, top], np.float32)
        coeffs, protos, bboxes, moved = map(torch.from_numpy, (coeffs, protos, bboxes, moved))
        native = ops.process_mask_native(protos, coeffs, bboxes, ori_shape).numpy()
        at_input = ops.process_mask(protos, coeffs, moved, img_shape, upsample=True).numpy()
        recorded[f'{name}.shapes'] = np.array(SHAPES[name])
        recorded |= {
            f'{name}.{field}': value for field, value in zip(('coeffs', 'protos', 'bboxes'), values, strict=True)
        }
        recorded |= {f'{name}.native': np.packbits(native), f'{name}.input': np.packbits(at_input)}
        print(name, native.any((1, 2)).sum(), native.mean(), at_input.mean())
    np.savez_compressed(Path(__file__).with_name('ultralytics_masks.npz'), **recorded)


if __name__ == '__main__':
    main()
