"""Records what ultralytics 8.4.190 computes for YOLOv8 classifiers with seeded weights, into classify_yolov8.npz.

Run in an environment that has ultralytics 8.4.190 (it is no dependency of detkit):

    cd tests && python -m parity.record_ultralytics_classify

Weights and images are made by ``seeded.py``, all in float64 (torch's default type too). For models n and m (1000
classes) the file holds, of a batch of ``SHAPE``:

- ``<model>.eval.logits``, ``<model>.eval.scores``, ``<model>.train.logits``: fingerprints of ``(B, 1000)``;
- ``<model>.loss``: of the model in training mode, for the labels ``LABELS``;
- ``<model>.grad.<parameter>``: a fingerprint (float32) of each parameter's gradient of it.

Dropout is 0 in the reference's own models, and so here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import ultralytics
from parity.seeded import fingerprint, seeded_state, seeded_tensor
from ultralytics.nn.tasks import ClassificationModel

SEED = 23
SHAPE = (3, 3, 64, 96)
LABELS = (7, 999, 7)


def record_model(name: str, model: torch.nn.Module, recorded: dict) -> None:
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    model.load_state_dict(seeded_state(shapes, SEED))
    image = seeded_tensor(SHAPE, 'image', SEED)
    with torch.no_grad():
        scores, logits = model.eval()(image)
    recorded[f'{name}.eval.scores'], recorded[f'{name}.eval.logits'] = fingerprint(scores), fingerprint(logits)
    logits = model.train()(image)
    recorded[f'{name}.train.logits'] = fingerprint(logits)
    loss, _ = model.init_criterion()(logits, dict(cls=torch.tensor(LABELS)))
    loss.backward()
    recorded[f'{name}.loss'] = np.array(loss.item())
    for key, parameter in model.named_parameters():
        recorded[f'{name}.grad.{key}'] = fingerprint(parameter.grad).astype(np.float32)
    print(name, loss.item(), float(logits.norm()))


def main() -> None:
    torch.set_default_dtype(torch.float64)
    recorded = {'version': ultralytics.__version__, 'seed': SEED, 'shape': SHAPE, 'labels': LABELS}
    for size in 'nm':
        model = ClassificationModel(f'yolov8{size}-cls.yaml', ch=3, nc=1000, verbose=False).double()
        record_model(f'cls_{size}', model, recorded)
    np.savez_compressed(Path(__file__).with_name('classify_yolov8.npz'), **recorded)


if __name__ == '__main__':
    main()
