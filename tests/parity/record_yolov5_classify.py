"""Records what YOLOv5 7.0.14's layers compute as the weather classifier, with seeded weights, into classify_yolov5.npz.

Run in an environment that has the package yolov5 7.0.14 (it is no dependency of detkit):

    cd tests && python -m parity.record_yolov5_classify

The classifier is the convolution, C3 and SPPF layers of YOLOv5l's backbone, without repeats, and two linear layers.
Weights, by the names below, and images are made by ``seeded.py``, all in float64. The file holds, of a batch of
``SHAPE``:

- ``parameters``: their number;
- ``eval.logits``, ``train.logits``: fingerprints of ``(B, 4)``;
- ``loss``: cross entropy in training mode for the labels ``LABELS``;
- ``grad.<parameter>``: a fingerprint (float32) of each parameter's gradient of it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from parity.seeded import fingerprint, seeded_state, seeded_tensor
from torch import nn
from yolov5 import __version__
from yolov5.models.common import C3, SPPF, Conv

SEED = 37
SHAPE = (4, 3, 224, 224)
LABELS = (0, 3, 1, 2)


def build() -> nn.Module:
    backbone = [Conv(3, 64, 3, 2, 2)]
    for before, after in ((64, 128), (128, 256), (256, 512), (512, 1024)):
        backbone += [Conv(before, after, 3, 2), C3(after, after)]
    backbone.append(SPPF(1024, 1024, 5))
    classifier = [nn.Flatten(), nn.Linear(8 * 8 * 1024, 100), nn.ReLU(), nn.Linear(100, 4)]
    return nn.Sequential(*backbone, *classifier).double()  # 0 ... 8, 9 the SPPF, 11 and 13 the linear layers


def main() -> None:
    model = build()
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    model.load_state_dict(seeded_state(shapes, SEED))
    image = seeded_tensor(SHAPE, 'image', SEED)
    recorded = {
        'version': __version__,
        'seed': SEED,
        'shape': SHAPE,
        'labels': LABELS,
        'parameters': sum(param.numel() for param in model.parameters()),
    }
    with torch.no_grad():
        recorded['eval.logits'] = fingerprint(model.eval()(image))
    logits = model.train()(image)
    recorded['train.logits'] = fingerprint(logits)
    loss = nn.functional.cross_entropy(logits, torch.tensor(LABELS))
    loss.backward()
    recorded['loss'] = np.array(loss.item())
    for key, param in model.named_parameters():
        recorded[f'grad.{key}'] = fingerprint(param.grad).astype(np.float32)
    np.savez_compressed(Path(__file__).with_name('classify_yolov5.npz'), **recorded)
    print(recorded['parameters'], loss.item(), logits.detach().norm().item())


if __name__ == '__main__':
    main()
