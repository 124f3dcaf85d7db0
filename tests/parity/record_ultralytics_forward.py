"""Records what ultralytics 8.4.190 computes for YOLOv8 models with seeded weights, into forward_yolov8.npz.

Run in an environment that has ultralytics 8.4.190 (it is no dependency of detkit):

    python tests/parity/record_ultralytics_forward.py

Weights and the input are made by ``seeded.py``, in float64. For models n, s and m, detection and segmentation
(80 classes), in training mode (normalisation by the batch) and evaluation mode (by the running statistics), the file
holds a fingerprint of each of: the three feature maps that enter the head (``feats.0`` …), ``boxes`` (B, 64, P) and
``scores`` (B, 80, P) with the levels' positions one after another, ``coefficients`` (B, 32, P), ``protos``
(B, 32, H/4, W/4), and, in evaluation mode, ``decoded`` (B, 4 + 80 [+ 32], P): boxes as centre, width and height in
pixels, scores, coefficients.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import ultralytics
from seeded import fingerprint, seeded_state, seeded_tensor
from ultralytics.nn.tasks import DetectionModel, SegmentationModel

SEED = 20
SHAPE = (2, 3, 96, 128)
MODELS = {
    'det_n': (DetectionModel, 'yolov8n.yaml'),
    'det_s': (DetectionModel, 'yolov8s.yaml'),
    'det_m': (DetectionModel, 'yolov8m.yaml'),
    'seg_n': (SegmentationModel, 'yolov8n-seg.yaml'),
    'seg_s': (SegmentationModel, 'yolov8s-seg.yaml'),
    'seg_m': (SegmentationModel, 'yolov8m-seg.yaml'),
}


def main() -> None:
    recorded = {'version': ultralytics.__version__, 'seed': SEED, 'shape': SHAPE}
    for name, (cls, yaml) in MODELS.items():
        model = cls(yaml, ch=3, nc=80, verbose=False).double()
        shapes = {key: tuple(value.shape) for key, value in model.state_dict().items() if '.dfl.' not in key}
        model.load_state_dict(seeded_state(shapes, SEED), strict=False)
        image = seeded_tensor(SHAPE, 'image', SEED)
        for mode in ('eval', 'train'):  # in this order, as training mode moves the running statistics
            model.train(mode == 'train')
            with torch.no_grad():
                output = model(image)
            if mode == 'eval':
                decoded, output = output
                recorded[f'{name}.eval.decoded'] = fingerprint(decoded[0] if isinstance(decoded, tuple) else decoded)
            tensors = {f'feats.{i}': feat for i, feat in enumerate(output['feats'])}
            tensors |= {'boxes': output['boxes'], 'scores': output['scores']}
            if 'proto' in output:
                tensors |= {'coefficients': output['mask_coefficient'], 'protos': output['proto']}
            for key, tensor in tensors.items():
                recorded[f'{name}.{mode}.{key}'] = fingerprint(tensor)
                print(f'{name}.{mode}.{key}: {tuple(tensor.shape)}, norm {tensor.norm():.4g}')
    np.savez_compressed(Path(__file__).with_name('forward_yolov8.npz'), **recorded)


if __name__ == '__main__':
    main()
