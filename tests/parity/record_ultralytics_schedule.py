"""Records how ultralytics 8.4.190 trains YOLO26 with ``optimizer='auto'``, into ultralytics_schedule.npz.

Run in an environment that has ultralytics 8.4.190 (it is no dependency of detkit):

    cd tests && python -m parity.record_ultralytics_schedule

The package's own trainers train YOLO26n with boxes and with masks for ``EPOCHS`` epochs on ``NUM_IMAGES`` grey images
of 32 pixels, ``BATCH_SIZE`` at a time, once as they are (AdamW) and once with their builder of optimisers asked for
more than 10,000 iterations (MuSGD). For each of these runs, ``<task>.<optimiser>``, the file holds

- ``.names`` and ``.groups``: the parameters' names, and the number of each one's group;
- ``.lr``, ``.momentum``, ``.weight_decay``: ``(iterations, groups)``, at the end of each iteration; 0 for none;
- ``.accumulate``: batches a step, ``(iterations,)``.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import cv2
import numpy as np
import ultralytics
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.models.yolo.segment import SegmentationTrainer

EPOCHS, NUM_IMAGES, BATCH_SIZE = 6, 20, 8
TASKS = {'det': (DetectionTrainer, 'yolo26n.yaml'), 'seg': (SegmentationTrainer, 'yolo26n-seg.yaml')}
OPTIMIZERS = {'AdamW': 9_000, 'MuSGD': 20_000}


def write_data(folder: Path) -> Path:
    for kind in ('images', 'labels'):
        (folder / kind).mkdir()
    for index in range(NUM_IMAGES):
        cv2.imwrite(str(folder / 'images' / f'{index}.png'), np.full((32, 32, 3), 90 + index, np.uint8))
        (folder / 'labels' / f'{index}.txt').write_text('0 0.2 0.2 0.8 0.2 0.8 0.8 0.2 0.8\n')
    (folder / 'data.yaml').write_text(f'path: {folder}\ntrain: images\nval: images\nnames: [a, b, c]\n')
    return folder / 'data.yaml'


def record(task: str, optimizer: str, data: Path, recorded: dict) -> None:
    parent, model = TASKS[task]

    class Trainer(parent):
        def build_optimizer(self, *args, **kwargs):
            return super().build_optimizer(*args, **{**kwargs, 'iterations': OPTIMIZERS[optimizer]})

        def validate(self):
            return {}, 0.0

        def save_model(self):
            return False

        def final_eval(self):
            pass

    own = dict(model=model, data=str(data), project=str(data.parent / 'runs'), epochs=EPOCHS, batch=BATCH_SIZE)
    trainer = Trainer(overrides={**own, 'imgsz': 32, 'workers': 0, 'device': 'cpu', 'plots': False, 'amp': False})
    rows: list[list[tuple[float, ...]]] = []
    accumulate: list[int] = []

    def end_of_batch(trainer: Trainer) -> None:
        groups = trainer.optimizer.param_groups
        rows.append([(group['lr'], group.get('momentum', 0), group['weight_decay']) for group in groups])
        accumulate.append(trainer.accumulate)

    trainer.add_callback('on_train_batch_end', end_of_batch)
    trainer.train()
    assert type(trainer.optimizer).__name__ == optimizer
    names = {id(parameter): name for name, parameter in trainer.model.named_parameters()}
    group_of = {names[id(p)]: i for i, group in enumerate(trainer.optimizer.param_groups) for p in group['params']}
    key = f'{task}.{optimizer}'
    recorded[f'{key}.names'] = np.array(list(group_of))
    recorded[f'{key}.groups'] = np.array(list(group_of.values()), np.int8)
    for column, value in zip(('lr', 'momentum', 'weight_decay'), np.array(rows).transpose(2, 0, 1), strict=True):
        recorded[f'{key}.{column}'] = value
    recorded[f'{key}.accumulate'] = np.array(accumulate)


def main() -> None:
    recorded = {'version': np.array(ultralytics.__version__)}
    with tempfile.TemporaryDirectory() as folder:
        data = write_data(Path(folder))
        for task in TASKS:
            for optimizer in OPTIMIZERS:
                record(task, optimizer, data, recorded)
    np.savez_compressed(Path(__file__).with_name('ultralytics_schedule.npz'), **recorded)


if __name__ == '__main__':
    main()
