"""Records the input that DETR and transformers 5.24 make of real pictures that shrink, into detr_input.npz.

Run in an environment that has transformers and torchvision, with the folder of real pictures:

    cd tests && python -m parity.record_transformers_input /path/to/data

The pictures of ``real_pictures.py`` are resized to a shorter side of ``SHORT_SIDE`` pixels, the longer one at most
``MAX_SIZE``, by transformers' image processor, once with its backend of Pillow and once with that of torchvision.
DETR's own code takes torchvision's resize of a Pillow image, which is the former. For each picture and backend the file
holds the shape (h, w), the CRC-32 of the RGB bytes, and 1024 of them at evenly spread places.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import transformers
from parity.real_pictures import DETR_MAX_SIZE, DETR_SHORT_SIDE, OBB_PICTURES, PICTURES, digest
from PIL import Image


def main() -> None:
    recorded = {'version': np.array(transformers.__version__)}
    size = {'shortest_edge': DETR_SHORT_SIDE, 'longest_edge': DETR_MAX_SIZE}
    plain = dict(do_rescale=False, do_normalize=False, do_pad=False, size=size)
    backends = {'pillow': transformers.DetrImageProcessorPil, 'torchvision': transformers.DetrImageProcessor}
    for backend, kind in backends.items():
        processor = kind(**plain)
        for picture in (*PICTURES, *OBB_PICTURES):
            image = Image.open(Path(sys.argv[1]) / picture).convert('RGB')
            pixels = np.asarray(processor(image, return_tensors='np')['pixel_values'][0]).transpose(1, 2, 0)
            for key, value in digest(pixels.astype(np.uint8)).items():
                recorded[f'{backend}.{Path(picture).stem}.{key}'] = value
            print(backend, picture, image.size, pixels.shape, pixels.dtype)
    np.savez_compressed(Path(__file__).with_name('detr_input.npz'), **recorded)


if __name__ == '__main__':
    main()
