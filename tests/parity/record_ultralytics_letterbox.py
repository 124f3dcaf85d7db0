"""Records the inputs that ultralytics 8.4.190 makes of images, for prediction and for validation, into letterbox.npz.

Run in an environment that has ultralytics 8.4.190 (it is no dependency of detkit):

    python tests/parity/record_ultralytics_letterbox.py

The images of ``SHAPES`` (h, w) are uniform noise made by ``seeded.py``, the least forgiving content, and stored without
loss. For each, and for each way in ``WAYS``, the file holds ``<way>.<h>x<w>.shape`` (h, w), ``.crc`` (CRC-32 of the RGB
bytes) and ``.samples`` (1024 bytes at evenly spread places); ``opencv`` is the version that resized. Ways:

- ``predict``: one resize, to 640 x 640; ``predict_rect``: the same, padded to multiples of 32 only;
- ``val``: as validation reads it, square; ``val_rect``: in a rectangular batch of its own;
- ``batch``: in one rectangular batch with all the others.
"""

from __future__ import annotations

import tempfile
import zlib
from pathlib import Path

import cv2
import numpy as np
import ultralytics
from seeded import seeded_array

SEED = 22
SIZE = 640
SHAPES = [(480, 640), (333, 517), (1280, 853), (719, 1277), (1080, 1920)]
NUM_SAMPLES = 1024


def noise_image(shape: tuple[int, int]) -> np.ndarray:
    """``(h, w, 3)`` uint8."""
    return (seeded_array((*shape, 3), f'noise {shape}', SEED) * 256).astype(np.uint8)


def digest(img: np.ndarray) -> dict[str, np.ndarray]:
    """What is stored of an RGB image."""
    flat = np.ascontiguousarray(img).ravel()
    samples = flat[np.linspace(0, len(flat) - 1, NUM_SAMPLES).astype(np.int64)]
    return {'shape': np.array(img.shape[:2]), 'crc': np.array(zlib.crc32(flat.tobytes())), 'samples': samples}


def main() -> None:
    from ultralytics.data.augment import LetterBox
    from ultralytics.data.dataset import YOLODataset

    recorded: dict[str, np.ndarray] = {
        'version': np.array(ultralytics.__version__),
        'seed': np.array(SEED),
        'opencv': np.array(cv2.__version__),
    }

    def keep(way: str, shape: tuple[int, int], img: np.ndarray) -> None:
        for name, value in digest(img).items():
            recorded[f'{way}.{shape[0]}x{shape[1]}.{name}'] = value

    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / 'images'
        (Path(folder) / 'labels').mkdir()
        images.mkdir()
        for shape in SHAPES:
            img = noise_image(shape)
            keep('predict', shape, LetterBox((SIZE, SIZE))(image=img))
            keep('predict_rect', shape, LetterBox((SIZE, SIZE), auto=True)(image=img))
            cv2.imwrite(str(images / f'{shape[0]}x{shape[1]}.png'), img[..., ::-1])
        for way, options in (
            ('val', dict(rect=False, batch_size=1)),
            ('val_rect', dict(rect=True, batch_size=1)),
            ('batch', dict(rect=True, batch_size=len(SHAPES))),
        ):
            dataset = YOLODataset(
                img_path=str(images),
                imgsz=SIZE,
                augment=False,
                pad=0.5,
                stride=32,
                task='detect',
                data={'names': {0: 'thing'}, 'channels': 3},
                **options,
            )
            for sample in dataset:
                shape = tuple(int(side) for side in Path(sample['im_file']).stem.split('x'))
                keep(way, shape, sample['img'].permute(1, 2, 0).numpy())
    np.savez_compressed(Path(__file__).with_name('letterbox.npz'), **recorded)


if __name__ == '__main__':
    main()
