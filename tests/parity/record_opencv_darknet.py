"""Records what OpenCV's Darknet importer computes for the YOLOv3 family with seeded weights, into opencv_darknet.npz.

Run in an environment that has OpenCV 4 and numpy (OpenCV 5 no longer has the importer):

    python tests/parity/record_opencv_darknet.py

The models are the ``.cfg`` files in ``darknet/``, which detkit's writer made (test_darknet_parity.py checks that it
still makes them). Weights and the image come from ``darknet_streams.py``. For each model and level, coarse to fine,
the file holds samples of the raw output of the last convolution ``(255, h, w)``, and of what the ``yolo`` layer makes
of it: ``(h * w * 3, 85)`` centre, width and height as fractions of the image, objectness, class scores times
objectness, 0 up to a threshold.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import cv2
import numpy as np
from darknet_streams import FAMILIES, cfg_path, head_layers, samples, seeded_image, seeded_stream, write_weights


def main() -> None:
    recorded = {'version': cv2.__version__}
    image = seeded_image()
    for family in FAMILIES:
        path = cfg_path(family)
        with tempfile.TemporaryDirectory() as folder:
            weights = Path(folder) / 'seeded.weights'
            write_weights(weights, seeded_stream(path))
            net = cv2.dnn.readNetFromDarknet(str(path), str(weights))
        net.setInput(image)
        heads = head_layers(path)
        names = [f'conv_{index}' for index in heads] + [f'yolo_{index + 1}' for index in heads]
        outputs = net.forward(names)
        for level in range(len(heads)):
            for kind, output in (('raw', outputs[level]), ('yolo', outputs[len(heads) + level])):
                recorded[f'{family}.{level}.{kind}'] = samples(output)
                print(f'{family}.{level}.{kind}: {output.shape}, largest {np.abs(output).max():.4g}')
    np.savez_compressed(Path(__file__).with_name('opencv_darknet.npz'), **recorded)


if __name__ == '__main__':
    main()
