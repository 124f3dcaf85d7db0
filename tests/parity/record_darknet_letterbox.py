"""Records the input that Darknet makes of real pictures that shrink, into darknet_letterbox.npz.

Run with a build of Darknet's functions for images (``src/image.c`` of https://github.com/pjreddie/darknet, commit
004c8b6) as a shared library, and with the folder of real pictures:

    cd tests && python -m parity.record_darknet_letterbox /path/to/libdarknet.so /path/to/data

For each picture of ``real_pictures.py``, decoded by OpenCV, the file holds ``<name>.samples``, 1024 evenly spread
numbers of what ``letterbox_image`` makes of it at ``DARKNET_SIZE``, in the order (h, w, RGB) and times 255, and
``<name>.sum``, that of all.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import cv2
import numpy as np
from parity.real_pictures import DARKNET_SIZE, OBB_PICTURES, PICTURES


class Image(ctypes.Structure):
    _fields_ = [('w', ctypes.c_int), ('h', ctypes.c_int), ('c', ctypes.c_int), ('data', ctypes.POINTER(ctypes.c_float))]


def main() -> None:
    letterbox = ctypes.CDLL(sys.argv[1]).letterbox_image
    letterbox.argtypes, letterbox.restype = [Image, ctypes.c_int, ctypes.c_int], Image
    recorded = {'opencv': np.array(cv2.__version__)}
    for picture in (*PICTURES, *OBB_PICTURES):
        img = cv2.imread(str(Path(sys.argv[2]) / picture))[..., ::-1]
        planes = np.ascontiguousarray(img.transpose(2, 0, 1).astype(np.float32) / 255)
        given = Image(img.shape[1], img.shape[0], 3, planes.ctypes.data_as(ctypes.POINTER(ctypes.c_float)))
        made = letterbox(given, DARKNET_SIZE, DARKNET_SIZE)
        boxed = np.ctypeslib.as_array(made.data, (3, DARKNET_SIZE, DARKNET_SIZE)).transpose(1, 2, 0) * 255
        flat = boxed.ravel()
        recorded[f'{Path(picture).stem}.samples'] = flat[np.linspace(0, len(flat) - 1, 1024).astype(np.int64)]
        recorded[f'{Path(picture).stem}.sum'] = np.array(flat.sum(dtype=np.float64))
        print(picture, img.shape, flat.sum(dtype=np.float64))
    np.savez_compressed(Path(__file__).with_name('darknet_letterbox.npz'), **recorded)


if __name__ == '__main__':
    main()
