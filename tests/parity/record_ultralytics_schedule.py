"""Records how ultralytics 8.4.190 trains YOLO26 with ``optimizer='auto'``, into ultralytics_schedule.npz.

Run in an environment that has ultralytics 8.4.190 (it is no dependency of detkit):

    cd tests && python -m parity.record_ultralytics_schedule

The package's own trainers train YOLO26n with boxes, with masks and as a classifier on ``NUM_IMAGES`` grey images of 32
pixels, ``BATCH_SIZE`` at a time, once as they are (AdamW) and once with their builder of optimisers asked for more than
10,000 iterations (MuSGD), for 6 epochs, and with boxes for 1, 2 and 3 epochs, too. For each of these runs,
``<task>.<optimiser>.<epochs>``, the file holds

- ``.lr``, ``.momentum``, ``.weight_decay``: ``(iterations, groups)``, at the end of each iteration; 0 for none;
- ``.accumulate``: batches a step, ``(iterations,)``;

and for each ``<task>.<optimiser>``

- ``.names`` and ``.groups``: the parameters' names, and the number of each one's group.

``<task>.choices``, ``(runs, 3)``, are batch sizes, nominal batch sizes and epochs of runs on the same images, with
``<task>.chosen``, the optimiser that they take.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import cv2
import numpy as np
import ultralytics
from ultralytics.models.yolo.classify import ClassificationTrainer
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.models.yolo.segment import SegmentationTrainer

NUM_IMAGES, BATCH_SIZE = 20, 8
TASKS = {
    'det': (DetectionTrainer, 'yolo26n.yaml'),
    'seg': (SegmentationTrainer, 'yolo26n-seg.yaml'),
    'cls': (ClassificationTrainer, 'yolo26n-cls.yaml'),
}
OPTIMIZERS = {'AdamW': 9_000, 'MuSGD': 20_000}
EPOCHS = {'det': (6, 1, 2, 3), 'seg': (6,), 'cls': (6,)}
CHOICES = [(4, 8, 3333), (4, 8, 3334), (8, 8, 3333), (8, 8, 3334), (16, 8, 5000), (16, 8, 5001), (2, 64, 10_001)]


class Chosen(Exception):
    pass


def write_data(folder: Path) -> dict[str, Path]:
    for index in range(NUM_IMAGES):
        image = np.full((32, 32, 3), 90 + index, np.uint8)
        for path in ('boxes/images', *(f'classes/{split}/{"abc"[index % 3]}' for split in ('train', 'val'))):
            (folder / path).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / path / f'{index}.png'), image)
        (folder / 'boxes' / 'labels').mkdir(exist_ok=True)
        (folder / 'boxes' / 'labels' / f'{index}.txt').write_text('0 0.2 0.2 0.8 0.2 0.8 0.8 0.2 0.8\n')
    data = folder / 'boxes' / 'data.yaml'
    data.write_text(f'path: {folder}/boxes\ntrain: images\nval: images\nnames: [a, b, c]\n')
    return {'det': data, 'seg': data, 'cls': folder / 'classes'}


def make(task: str, data: Path, batch_size: int, epochs: int, iterations: int | None = None, **overrides):
    parent, model = TASKS[task]

    class Trainer(parent):
        def build_optimizer(self, *args, **kwargs):
            built = super().build_optimizer(*args, **{**kwargs, 'iterations': iterations or kwargs['iterations']})
            if iterations is None:
                raise Chosen(type(built).__name__)
            return built

        def validate(self):
            return {}, 0.0

        def save_model(self):
            return False

        def final_eval(self):
            pass

    own = dict(model=model, data=str(data), project=str(data.parent / 'runs'), epochs=epochs, batch=batch_size)
    own.update(imgsz=32, workers=0, device='cpu', plots=False, amp=False, **overrides)
    return Trainer(overrides=own)


def record(task: str, optimizer: str, epochs: int, data: Path, recorded: dict) -> None:
    trainer = make(task, data, BATCH_SIZE, epochs, OPTIMIZERS[optimizer])
    rows: list[list[tuple[float, ...]]] = []
    accumulate: list[int] = []

    def end_of_batch(trainer) -> None:
        groups = trainer.optimizer.param_groups
        rows.append([(group['lr'], group.get('momentum', 0), group['weight_decay']) for group in groups])
        accumulate.append(trainer.accumulate)

    trainer.add_callback('on_train_batch_end', end_of_batch)
    trainer.train()
    assert type(trainer.optimizer).__name__ == optimizer
    names = {id(parameter): name for name, parameter in trainer.model.named_parameters()}
    group_of = {names[id(p)]: i for i, group in enumerate(trainer.optimizer.param_groups) for p in group['params']}
    recorded[f'{task}.{optimizer}.names'] = np.array(list(group_of))
    recorded[f'{task}.{optimizer}.groups'] = np.array(list(group_of.values()), np.int8)
    key = f'{task}.{optimizer}.{epochs}'
    for column, value in zip(('lr', 'momentum', 'weight_decay'), np.array(rows).transpose(2, 0, 1), strict=True):
        recorded[f'{key}.{column}'] = value
    recorded[f'{key}.accumulate'] = np.array(accumulate)


def choose(task: str, data: Path, batch_size: int, nominal: int, epochs: int) -> str:
    try:
        make(task, data, batch_size, epochs, nbs=nominal).train()
    except Chosen as chosen:
        return str(chosen)
    raise AssertionError('no optimiser was built')


def main() -> None:
    recorded = {'version': np.array(ultralytics.__version__)}
    with tempfile.TemporaryDirectory() as folder:
        data = write_data(Path(folder))
        for task in TASKS:
            for optimizer in OPTIMIZERS:
                for epochs in EPOCHS[task]:
                    record(task, optimizer, epochs, data[task], recorded)
        for task in ('det', 'cls'):
            recorded[f'{task}.choices'] = np.array(CHOICES)
            recorded[f'{task}.chosen'] = np.array([choose(task, data[task], *choice) for choice in CHOICES])
    np.savez_compressed(Path(__file__).with_name('ultralytics_schedule.npz'), **recorded)


if __name__ == '__main__':
    main()
