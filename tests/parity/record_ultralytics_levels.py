"""Records what ultralytics 8.4.190 computes for YOLO26 with a level of stride 4 or 64, into yolo26_levels.npz.

Run in an environment that has ultralytics 8.4.190 (it is no dependency of detkit):

    cd tests && python -m parity.record_ultralytics_levels

Weights and what is recorded are those of ``record_ultralytics_yolo26.py``, for the models p2_n and p6_n (80
classes); images and ground truth are twice as large as there, as a stride of 64 needs.

In this release SPPF of the model with a stride of 64 has no shortcut; that of the other models has one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import ultralytics
from parity.levels_shapes import LEVELS, SHAPE
from parity.record_ultralytics_yolo11 import LABELS, SEED, reference_batch
from parity.record_ultralytics_yolo26 import packed, record_detector
from parity.seeded import seeded_tensor
from parity.shapes import loss_state
from ultralytics.cfg import get_cfg
from ultralytics.nn.tasks import DetectionModel


def batch() -> dict[str, torch.Tensor]:
    """The ground truth is relative to the image."""
    return reference_batch('det') | dict(img=seeded_tensor((3, 3, *SHAPE), 'image', SEED))


def main() -> None:
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double
    recorded = {'version': ultralytics.__version__, 'seed': SEED, 'labels': LABELS}
    for level in LEVELS:
        model = DetectionModel(f'yolo26n-{level}.yaml', ch=3, nc=80, verbose=False).double()
        model.load_state_dict(loss_state({key: tuple(v.shape) for key, v in model.state_dict().items()}, SEED))
        model.args = get_cfg()
        record_detector(f'{level}_n', 'det', model, recorded, batch())
    np.savez_compressed(Path(__file__).with_name('yolo26_levels.npz'), **packed(recorded))


if __name__ == '__main__':
    main()
